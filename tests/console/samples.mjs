// Signs every sample of the page of receivers, as the page does in a browser, and delivers it to a service that has a
// receiver of each kind (hooks.json).
//
//     node samples.mjs <address> <hooks.json>

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

const [address, hooks] = process.argv.slice(2);
const configured = JSON.parse(readFileSync(hooks, "utf8"));

/** A module as the service gives it to browsers. */
async function served(name) {
  const source = await (await fetch(`${address}/docs/console/${name}`)).text();
  return import(`data:text/javascript,${encodeURIComponent(source)}`);
}

const { PROVIDERS, fresh } = await served("providers.js");
const { signed, fill } = await served("signing.js");

/** The private keys to the public ones of hooks.json: RFC 8032, section 7.1, and RFC 6979, section A.2.5. */
const PRIVATE = {
  discord: "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
  sendgrid: '{"kty": "EC", "crv": "P-256", "x": "YP7UuiVanTHJYet0xjVtaMBJuJI7Yfps5mliLmDyn7Y", "y": "eQP-EAi4vJmkGunpVii8ZPLxsgwtfp9Rd6PClNRGIpk", "d": "ya-p2EW6dRZrXCFXZ7HWk05Qw9s26JsSe4piKxIPZyE"}',
};

async function deliver(receiver, sample, secret, now) {
  const { target, ...request } = await signed(receiver, sample, secret, now);
  const headers = { ...request.headers, prefer: "return=minimal" };
  const answer = await fetch(address + target, { method: "POST", ...request, headers });
  return { status: answer.status, refused: answer.headers.get("sekali-refused"), text: await answer.text() };
}

const receivers = await (await fetch(`${address}/hooks`)).json();
assert.deepEqual(receivers.map(({ kind }) => kind).sort(), Object.keys(PROVIDERS).sort(), "each kind has its samples");
for (const receiver of receivers) {
  const { name } = receiver;
  const secret = PRIVATE[name] ?? configured[name].secrets?.[0];
  for (const [title, make] of Object.entries(PROVIDERS[receiver.kind].samples)) {
    const sample = make(fresh());
    const what = `${name}, ${title}`;
    const first = await deliver(receiver, sample, secret);
    if (title.endsWith("the handshake")) {
      assert.ok([200, 204].includes(first.status) && !first.text.includes("total_received"), `${what}: ${first.text}`);
      continue;
    }
    const again = await deliver(receiver, sample, secret, Date.now() + 2000);
    const receipt = ({ status, text }) => ({ status, ...(({ stored, duplicates, conflicts }) => ({ stored, duplicates, conflicts }))(JSON.parse(text)) });
    const count = JSON.parse(first.text).total_received;
    assert.ok(count > 0, `${what}: ${first.text}`);
    assert.deepEqual(receipt(first), { status: 200, stored: count, duplicates: 0, conflicts: 0 }, what);
    assert.deepEqual(receipt(again), { status: 200, stored: 0, duplicates: count, conflicts: 0 }, `${what}, again`);
    if (receiver.signature) {
      const forged = await deliver(receiver, make(fresh()), undefined);
      assert.deepEqual([forged.status, forged.refused], [401, "no-match"], `${what}, forged: ${forged.text}`);
    }
    // The type is found: where a provider has types, the topic is more than the receiver's name.
    const topics = (await (await fetch(`${address}/stats`)).json()).topics.filter((topic) => topic === name || topic.startsWith(`${name}.`));
    assert.ok(topics.every((topic) => (topic === name) === !receiver.type), `${what}: ${topics}`);
  }
}

assert.equal(fill("{a|b}-{{{c|}}}", (name) => ({ b: "x" })[name]), "x-{}");
assert.throws(() => fill("{a}", () => undefined), /nothing for \{a\}/);

// The form that signs and sends a sample, so that one sees a receiver work before its provider does.

import { ask, Refusal } from "./api.js";
import { at, make, number } from "./page.js";
import { fresh, PROVIDERS } from "./providers.js";
import { hasPrivateKey, headerOf, signed } from "./signing.js";

let receiver = null; // the one that it delivers to
let headers = {}; // those of the sample, before it is signed
let sentOnce = () => {}; // called after every answer

/** Says whom to tell that something may have been stored, or refused. */
export const onSent = (callback) => { sentOnce = callback; };

/** Shows the form for a receiver. */
export function showSamples(wanted) {
  receiver = wanted;
  const isSigned = Boolean(receiver.signature);
  at("sample").replaceChildren(...Object.keys(PROVIDERS[receiver.kind].samples).map((name) => make("option", {}, name)));
  at("try").querySelector(".secret").hidden = !isSigned;
  at("try").querySelector("[type=submit]").textContent = isSigned ? "Sign and send" : "Send";
  at("secret-label").textContent = hasPrivateKey(receiver) ? "Private key" : "Secret";
  at("about-secret").textContent = aboutSecret(receiver);
  [at("secret").value, at("forged").checked] = ["", false];
  at("about-try").textContent = aboutForm();
  at("outcome").replaceChildren();
  at("sent").hidden = true;
  at("try").querySelector("[type=submit]").disabled = !crypto.subtle;
  renew();
}

function aboutForm() {
  if (!crypto.subtle) return "Browsers sign only on pages that come by https, or from this machine: open this one so to send a sample.";
  return "This sends a delivery as the provider would. Send it twice to see that the second is dropped as a duplicate.";
}

function aboutSecret({ algorithm, kind }) {
  if (hasPrivateKey({ algorithm })) {
    return "Only the provider has the private key to the public one of this receiver. With a pair of your own, whose public key is among its secrets, you can sign here: PKCS #8 in PEM or base64, or a JWK"
      + `${algorithm === "ed25519" ? ", or 32 bytes in hexadecimal" : ""}. It stays in this page.`;
  }
  if (algorithm === "plain") return `${kind === "basic" ? "As user:password. " : ""}The provider sends it with each delivery, and so does this page. It is not kept.`;
  return "It signs in this page, is not sent and is not kept.";
}

/** Another delivery of the chosen sample. */
function renew() {
  if (!crypto.subtle) return;
  const sample = PROVIDERS[receiver.kind].samples[at("sample").value](fresh());
  ({ headers } = sample);
  at("sample-body").value = sample.body;
}

function outcome(quality, ...content) {
  at("outcome").replaceChildren(...content);
  at("outcome").className = quality;
}

async function send() {
  const isForged = Boolean(receiver.signature) && at("forged").checked;
  const secret = isForged ? undefined : at("secret").value;
  const { target, ...request } = await signed(receiver, { headers, body: at("sample-body").value }, secret);
  at("sent").hidden = false;
  at("sent").querySelector("pre").textContent = shown(target, request);
  const kind = receiver.signature ? null : "publish"; // a signature is the permission to deliver
  // Some receivers answer their providers without a body; who prefers one gets the receipt.
  const answer = await ask(target, { kind, method: "POST", ...request, headers: { ...request.headers, prefer: "return=minimal" } });
  const text = await answer.text();
  const isReceipt = (answer.headers.get("content-type") ?? "").startsWith("application/json") && text.includes('"total_received"');
  if (isReceipt) outcome(...ofReceipt(JSON.parse(text)));
  else outcome("good", `A handshake: the answer is ${answer.status}${text ? `, ${text}` : ""}. Nothing is stored.`);
}

/** A request as it is on the way, but for a secret that is sent as it is. */
function shown(target, request) {
  const secret = receiver.algorithm === "plain" ? receiver.signature : {};
  const lines = Object.entries(request.headers).map(([name, value]) => `${name}: ${name === headerOf(secret) ? "…" : value}`);
  return [`POST ${secret.query ? receiver.path : target}`, ...lines, "", secret.json ? "…" : request.body].join("\n");
}

function ofReceipt({ total_received: total, stored, duplicates, conflicts }) {
  const verified = receiver.signature ? "Verified. " : "";
  if (stored) return ["good", `${verified}${total === 1 ? "Stored" : `${number(stored)} of ${number(total)} events stored`}. Send it again: a redelivery changes nothing.`];
  if (conflicts) return ["bad", `${verified}A conflict: this id is stored already, with other content. The stored event stays as it is.`];
  return ["soft", `${verified}${duplicates === 1 ? "A duplicate, which was" : `${number(duplicates)} duplicates, which were`} dropped and counted.`];
}

at("try").addEventListener("submit", async (submit) => {
  submit.preventDefault();
  const button = at("try").querySelector("[type=submit]");
  button.disabled = true;
  try {
    await send();
  } catch (error) {
    const help = error.page ? make("a", { href: error.page }, "What this means") : "";
    outcome("bad", error instanceof Refusal ? `Refused with ${error.status}: ${error.message} ` : `${error.message} `, help);
  } finally {
    button.disabled = false;
    sentOnce();
  }
});
at("sample").addEventListener("change", renew);
at("new-sample").addEventListener("click", renew);

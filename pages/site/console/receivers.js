// The page of receivers: what to tell each provider, what came of it, what was refused, and a sample to try.

import { ask, eventOf } from "./api.js";
import { onTokens } from "./access.js";
import { addressOf } from "./address.js";
import { entryOf } from "./entry.js";
import { at, copying, make, moment, number, pause, say } from "./page.js";
import { PROVIDERS } from "./providers.js";
import { onSent, showSamples } from "./sample.js";
import { samplesOf } from "./service.js";
import { isLocked, showConnected, showFault } from "./state.js";

const REFRESH_MS = 2000;
const SHOWN = 10;
const COUNTS = ["received", "unique_processed", "duplicate_dropped", "conflicts"];

const REASONS = {
  "no-signature": "no signature",
  "no-time": "no signed time",
  "no-match": "signature of no secret",
  "too-old": "signed too long ago",
  "too-new": "signed for the future",
};

let receivers = null; // those of /hooks, once they are known
let chosen = null;
let refusedAtFirst = null; // what was refused when the page was opened

/** The topics of a receiver as a filter takes them; none if its template begins with a value of the delivery. */
function topicsOf({ name, topic, type }) {
  const template = topic.replaceAll("{hook}", name);
  // A template whose value is not there makes no topic: the receiver's name stands in.
  if (template.includes("{type}") && !type) return [name];
  if (!template.includes("{")) return [template];
  const start = template.slice(0, template.indexOf("{"));
  return start.endsWith(".") ? [name, `${start}*`] : [];
}

const isOf = (topics, topic) => topics.some((wanted) => (wanted.endsWith(".*") ? topic.startsWith(wanted.slice(0, -1)) : topic === wanted));

/** The filter of the list of events, which has one topic: one that ends in `.*` is for all below it. */
const filterOf = (topics) => (topics.length ? { topic: topics.at(-1) } : {});

// The table.

async function load() {
  receivers = await (await ask("/hooks")).json();
  at("receivers-table").hidden = !receivers.length;
  at("receivers").tBodies[0].replaceChildren(...receivers.map(({ name, kind }) =>
    make("tr", { "data-name": name }, make("th", { scope: "row" }, make("a", { href: `#/${name}` }, name)), make("td", {}, kind), ...[...COUNTS, "refused", "last"].map(() => make("td", {}, "–")))));
  say(at("receivers-note"), receivers.length ? "" : "No receivers yet. The variable hooks has them, each with a kind and the secret that the provider shows you, such as "
    + '{"stripe": {"kind": "stripe", "secrets": ["whsec_..."]}}.');
  choose();
}

/** Shows the receiver that the address names, or the first. */
function choose() {
  const wanted = location.hash.slice("#/".length);
  chosen = receivers.find(({ name }) => name === wanted) ?? receivers[0] ?? null;
  for (const row of at("receivers").tBodies[0].rows) {
    const link = row.querySelector("a");
    if (row.dataset.name === chosen?.name) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
  for (const section of document.querySelectorAll(".of-receiver")) section.hidden = !chosen;
  if (!chosen) return;
  showProvider(chosen);
  showSamples(chosen);
  at("deliveries").replaceChildren();
  delete at("deliveries").dataset.text;
  say(at("deliveries-note"), "Loading");
  at("all-deliveries").href = addressOf(filterOf(topicsOf(chosen)));
}

function showCounts(accounts, refused) {
  receivers.forEach((receiver, index) => {
    const topics = topicsOf(receiver);
    const own = accounts.filter(({ topic }) => isOf(topics, topic));
    const cells = [...at("receivers").tBodies[0].rows[index].cells].slice(2);
    COUNTS.forEach((count, column) => say(cells[column], topics.length ? number(own.reduce((sum, account) => sum + account[count], 0)) : "–"));
    say(cells[COUNTS.length], refused ? number(sum(refused.get(receiver.name))) : "–");
    const last = own.map((account) => account.last_received_at).sort().at(-1);
    if (last && cells.at(-1).firstChild?.getAttribute?.("datetime") !== last) cells.at(-1).replaceChildren(moment(last));
  });
}

// What to tell the provider.

function showProvider(receiver) {
  const { where, events } = PROVIDERS[receiver.kind];
  const url = receiver.public_url ?? location.origin + receiver.path;
  const own = receiver.public_url ? "" : " It is the address of this page: where the provider reaches the service by another name, use that, with the same path.";
  const rows = [["Paste it at", where], ["Choose", events]];
  at("provider").replaceChildren(
    make("div", { class: "with-button" }, make("code", { id: "url" }, url), copying("Copy", url)),
    make("p", { class: "note" }, `The provider sends its webhooks there.${own}`),
    make("dl", { class: "facts" }, ...rows.map(fact)),
    make("details", {}, make("summary", {}, "How deliveries are read"), make("dl", { class: "facts" }, ...reading(receiver).map(fact))));
}

const fact = ([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value));

function reading({ signature, signed, algorithm, signed_at: time, each, topic, event_id, type, timestamp, source, volatile, handshake }) {
  const place = (of) => ["header", "query", "json", "field"].filter((kind) => of[kind]).map((kind) => `${kind} ${of[kind]}`).join(", ");
  const tolerance = time?.tolerance ?? 300;
  const rows = [
    ["Signature", signature ? `${algorithm}, ${place(signature)}` : "none: the token to publish is asked for"],
    ["Signed", signature && algorithm !== "twilio" && algorithm !== "plain" ? signed : undefined],
    ["Signed time", time && `${place(time)}, ${tolerance ? `${number(tolerance)} s early or late` : "not checked"}`],
    ["Handshake", handshake],
    ["Events in", each === undefined ? undefined : each === "lines" ? "each line" : `the array at ${each || "the top"}`],
    ["Topic", topic], ["Event id", event_id], ["Type", type], ["Event time", timestamp], ["Source", source],
    ["May differ", volatile?.join(", ")],
  ];
  return rows.filter(([, value]) => value).map(([name, value]) => [name, make("code", {}, value)]);
}

// What came.

async function showDeliveries(receiver) {
  const topics = topicsOf(receiver);
  if (!topics.length) return say(at("deliveries-note"), "Its template of topics begins with a value of the delivery: look among all events.");
  const query = new URLSearchParams([...topics.map((topic) => ["topic", topic]), ["order", "desc"], ["limit", SHOWN]]);
  const text = await (await ask(`/events?${query}`, { headers: { accept: "application/x-ndjson" } })).text();
  if (receiver !== chosen) return undefined;
  const list = at("deliveries");
  if (text !== list.dataset.text && !list.contains(document.activeElement)) {
    list.dataset.text = text;
    list.replaceChildren(...text.split("\n").filter(Boolean).map((line) => entryOf(eventOf(line), filterOf(topics))));
  }
  return say(at("deliveries-note"), text ? "" : "Nothing has come yet. Send a sample, or let the provider send a test event.");
}

// What was refused.

const sum = (counts) => [...(counts?.values() ?? [])].reduce((total, count) => total + count, 0);

/** What each receiver refused, by reason; nothing where the host does not count. */
function refusedOf(metrics) {
  const samples = samplesOf(metrics);
  if (!samples.has("sekali_http_requests_in_flight")) return null;
  const refused = new Map();
  for (const [name, count] of samples) {
    const label = (wanted) => new RegExp(`[{,]${wanted}="([^"]*)"`).exec(name)?.[1];
    if (!name.startsWith("sekali_receiver_refused_total{")) continue;
    const receiver = label("receiver");
    refused.set(receiver, (refused.get(receiver) ?? new Map()).set(label("reason"), count));
  }
  return refused;
}

function showRefused({ name }, refused) {
  if (!refused) {
    at("refused").replaceChildren();
    return say(at("refused-note"), `This host does not count what is refused. Its log has a line with /hooks/${name} and the reason.`);
  }
  // After a restart the counters begin anew.
  if (!refusedAtFirst || sum(refused.get(name)) < sum(refusedAtFirst.get(name))) refusedAtFirst = refused;
  const row = ([reason, count]) => {
    const since = count - (refusedAtFirst.get(name)?.get(reason) ?? 0);
    const lately = since === count ? ", since this page was opened" : since ? `, ${number(since)} of them since this page was opened` : "";
    return [REASONS[reason] ?? reason, number(count) + lately];
  };
  const rows = [...(refused.get(name) ?? [])].map(row);
  const isSame = at("refused").textContent === rows.flat().join("");
  if (!isSame) at("refused").replaceChildren(...rows.map(fact));
  return say(at("refused-note"), rows.length ? "Since the host was started. Refused deliveries are not stored, and are in the log." : "Nothing since the host was started.");
}

// Again and again.

async function refresh() {
  try {
    if (!receivers) await load();
    const [stats, metrics] = await Promise.all([ask(`/stats?${new URLSearchParams(receivers.flatMap(topicsOf).slice(0, 100).map((topic) => ["topic", topic]))}`).then((answer) => answer.json()), ask("/metrics").then((answer) => answer.text())]);
    const refused = refusedOf(metrics);
    showCounts(stats.by_topic, refused);
    if (chosen) {
      showRefused(chosen, refused);
      await showDeliveries(chosen);
    }
    showConnected();
  } catch (error) {
    showFault(error);
    if (!receivers) say(at("receivers-note"), isLocked(error) ? "Reading needs a token." : "The receivers are not known.");
  }
}

async function keepRefreshing() {
  for (;;) {
    if (!document.hidden) await refresh();
    await pause(REFRESH_MS);
  }
}

addEventListener("hashchange", () => {
  if (!receivers) return;
  choose();
  refresh();
});
onTokens(() => {
  receivers = null;
  refresh();
});
onSent(refresh);
keepRefreshing();

// The page of consumers: where each stands, who holds its events, what failed; and how one is made, moved and deleted.

import { ask, send } from "./api.js";
import { onTokens } from "./access.js";
import { act, confirmed, onAct } from "./act.js";
import { curlToMake } from "./curl.js";
import { showFailed } from "./failed.js";
import { caption, chart, keep, lagOf } from "./lag.js";
import { at, copying, countOf, duration, make, moment, number, pause, say } from "./page.js";
import { consequence, placeFields, placeIn, prospect } from "./place.js";
import { isLocked, showConnected, showFault } from "./state.js";

const REFRESH_MS = 2000;
const COUNTS = ["parked", "waiting", "dead"];
const ORDERS = { topic: "later ones of its topic", total: "all later ones", none: "none" };

let consumers = null; // those of /consumers, once they are known
let chosen = null;

// The table.

function showConsumers() {
  const body = at("consumers").tBodies[0];
  const names = consumers.map(({ name }) => name);
  if (body.dataset.names !== names.join()) {
    body.dataset.names = names.join();
    body.replaceChildren(...names.map((name) => make("tr", { "data-name": name }, make("th", { scope: "row" }, make("a", { href: `#/${name}` }, name)),
      make("td"), make("td"), make("td", { class: "spark" }), make("td"), ...COUNTS.map(() => make("td")))));
  }
  consumers.forEach((consumer, index) => {
    const [head, position, lag, lately, behind, ...counts] = body.rows[index].cells;
    const link = head.firstChild;
    if (consumer.name === chosen.name) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
    if (consumer.blocked !== head.childNodes.length > 1) head.replaceChildren(link, ...(consumer.blocked ? [" ", make("span", { class: "badge bad" }, "blocked")] : []));
    say(position, number(consumer.position));
    say(lag, lagOf(consumer));
    lately.replaceChildren(chart(consumer, 90, 20));
    say(behind, duration(consumer.behind_seconds));
    COUNTS.forEach((count, column) => say(counts[column], number(consumer[count])));
  });
  at("consumers-table").hidden = !consumers.length;
  say(at("consumers-note"), consumers.length ? "" : "No consumers yet. This line makes one, and so does the form:");
  at("first").hidden = consumers.length > 0;
  if (!consumers.length) showFirst();
}

function showFirst() {
  const line = curlToMake("my-consumer", { topics: ["orders"], from: "start" });
  if (at("first").firstChild?.textContent !== line) at("first").replaceChildren(make("pre", { tabindex: "0" }, line), make("div", { class: "buttons" }, copying("Copy", line)));
}

/** The consumer that the address names, or the first. */
function choose() {
  const wanted = location.hash.slice("#/".length);
  chosen = consumers.find(({ name }) => name === wanted) ?? consumers[0] ?? null;
  for (const section of document.querySelectorAll(".of-consumer")) section.hidden = !chosen;
}

// The consumer that is chosen.

function showChosen(consumer) {
  const { name, position, settled, specification: { topics, sources, order, workers, lease, attempts, dead } } = consumer;
  say(at("chosen-heading"), name);
  at("blocked").hidden = !consumer.blocked;
  at("lag").replaceChildren(chart(consumer, 600, 60));
  say(at("about-lag"), caption(consumer));
  const rows = [
    ["Position", number(position)], ["Nothing comes again up to", number(settled)],
    ["Topics", topics.join(", ") || "all"], ["Sources", sources.join(", ") || "all"], ["Wait for a failed event", ORDERS[order]],
    ["Workers", number(workers)], ["Lease", duration(lease)], ["Attempts", attempts ? number(attempts) : "without end"], ["Topic of dead events", dead],
    ["Given out", countOf(consumer.delivered)], ["Given out again", countOf(consumer.redelivered)],
  ];
  if (at("chosen").textContent !== rows.flat().join("")) {
    at("chosen").replaceChildren(...rows.map(([fact, value]) => make("div", {}, make("dt", {}, fact), make("dd", {}, value))));
  }
  showClaims(consumer.claims);
}

function showClaims(claims) {
  at("claims-table").hidden = !claims.length;
  say(at("claims-note"), claims.length ? "" : "Nobody holds a claim.");
  at("claims").tBodies[0].replaceChildren(...claims.map(({ holder, kind, from, to, attempt, expires_at: until }) => make("tr", {},
    make("th", { scope: "row" }, holder), make("td", {}, kind === "retry" ? "failed events" : "new events"), make("td", {}, `${number(from + 1)} to ${number(to)}`),
    make("td", {}, number(attempt)), make("td", {}, moment(until)))));
}

// What people do with it.

at("seek").prepend(...placeFields("seek", "Go on"));
at("seek").addEventListener("submit", (submit) => {
  submit.preventDefault();
  const [consumer, to] = [chosen, placeIn("seek")];
  act("seek-outcome", async () => {
    const { name, claims } = consumer;
    const lost = COUNTS.filter((count) => consumer[count]).map((count) => `${number(consumer[count])} ${count}`).join(", ");
    const ends = `${claims.length ? " Its claims end, and what their holders have not committed is refused." : ""}${lost ? ` The list of failed events (${lost}) is emptied.` : ""}`;
    if (!await confirmed(`Move ${name}?`, await consequence(consumer, to) + ends, "Move it")) return "";
    const { position } = await (await send("POST", `/consumers/${name}/seek`, { to })).json();
    return `It goes on behind seq ${number(position)}.`;
  });
});

at("delete").addEventListener("click", () => {
  const { name } = chosen;
  act("delete-outcome", async () => {
    const text = "Its position and its list of failed events are forgotten, and its workers are refused. The events stay in the log. This cannot be undone.";
    if (!await confirmed(`Delete ${name}?`, text, "Delete it")) return "";
    await ask(`/consumers/${name}`, { method: "DELETE" });
    return `${name} is deleted.`;
  });
});

at("order").addEventListener("change", () => { at("workers").disabled = at("order").value !== "none"; });
at("topics").after(...placeFields("from", "Begin"));
at("make").addEventListener("submit", (submit) => {
  submit.preventDefault();
  const [name, from] = [at("name").value, placeIn("from")];
  const topics = at("topics").value.split("\n").map((topic) => topic.trim()).filter(Boolean);
  const order = at("order").value;
  const specification = { topics, order, workers: order === "none" ? Number(at("workers").value) : 1, attempts: Number(at("attempts").value) };
  act("make-outcome", async () => {
    if (consumers?.some((consumer) => consumer.name === name)) throw new Error(`There is a consumer ${name} already.`);
    if (!await confirmed(`Make ${name}?`, await prospect({ ...specification, sources: [], dead: `dead.${name}` }, from), "Make it")) return "";
    await send("PUT", `/consumers/${name}`, { ...specification, from });
    location.hash = `#/${name}`;
    return `${name} is there: its workers claim at ${location.origin}/consumers/${name}/claim.`;
  });
});

// Again and again.

async function refresh() {
  try {
    consumers = await (await ask("/consumers")).json();
    keep(consumers);
    choose();
    showConsumers();
    if (chosen) {
      showChosen(chosen);
      await showFailed(chosen);
    }
    showConnected();
  } catch (error) {
    showFault(error);
    if (!consumers) say(at("consumers-note"), isLocked(error) ? "Reading needs a token." : "The consumers are not known.");
  }
}

async function keepRefreshing() {
  for (;;) {
    if (!document.hidden) await refresh();
    await pause(REFRESH_MS);
  }
}

addEventListener("hashchange", refresh);
onTokens(refresh);
onAct(refresh);
keepRefreshing();

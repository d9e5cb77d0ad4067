// The table of topics: sorted, searched, each with a chart of its last minutes.

import { ask } from "./api.js";
import { addressOf } from "./address.js";
import { at, make, moment, number, say } from "./page.js";
import { spark } from "./spark.js";

const SHOWN = 100;
const POINTS = 60;
const FIELDS = ["received", "unique_processed", "duplicate_dropped", "conflicts"];

const table = at("topics");
const body = table.tBodies[0];
const rows = new Map(); // by topic
const histories = new Map(); // by topic: how many were received between one answer and the next
let topics = []; // the latest account of each
let found = []; // those that only a search has brought
let total = 0;
let offered = ""; // the topics that the search for events offers
let sorting = { by: "last_received_at", descending: true };

/** Shows the topics of /stats. */
export function showTopics(stats) {
  const before = new Map(topics.map((topic) => [topic.topic, topic.received]));
  topics = stats.by_topic;
  total = stats.topics_total ?? topics.length;
  for (const { topic, received } of topics) {
    const history = histories.get(topic) ?? [];
    if (before.has(topic)) history.push(Math.max(0, received - before.get(topic)));
    if (history.length > POINTS) history.shift();
    histories.set(topic, history);
  }
  const names = topics.slice(0, SHOWN).map(({ topic }) => topic).sort();
  // An open list of choices would close.
  if (names.join("\n") !== offered) {
    offered = names.join("\n");
    at("known-topics").replaceChildren(...names.map((topic) => make("option", { value: topic })));
  }
  render();
}

/** The names of the topics that are known here. */
export const knownTopics = () => topics.map(({ topic }) => topic);

function sorted(listed) {
  const { by, descending } = sorting;
  const compare = by === "topic"
    ? (a, b) => a.topic.localeCompare(b.topic)
    : by === "last_received_at"
      ? (a, b) => Date.parse(a[by] ?? 0) - Date.parse(b[by] ?? 0)
      : (a, b) => a[by] - b[by];
  return [...listed].sort((a, b) => (descending ? compare(b, a) : compare(a, b)) || a.topic.localeCompare(b.topic));
}

function render() {
  const searched = at("topic-search").value.trim().toLowerCase();
  const known = new Set(topics.map(({ topic }) => topic));
  const all = [...topics, ...found.filter(({ topic }) => !known.has(topic))];
  const matching = sorted(searched ? all.filter(({ topic }) => topic.toLowerCase().includes(searched)) : all);
  const shown = matching.slice(0, SHOWN);
  const wanted = shown.map((topic) => row(topic));
  // Nothing moves under the focus or the pointer, unless there are other rows: then the new order waits.
  const isUsed = body.contains(document.activeElement) || body.matches(":hover");
  const isInPlace = (made, index) => (isUsed ? made.parentElement === body : made === body.rows[index]);
  if (wanted.length !== body.rows.length || !wanted.every(isInPlace)) body.replaceChildren(...wanted);
  const names = new Set(shown.map(({ topic }) => topic));
  for (const name of rows.keys()) if (!names.has(name)) rows.delete(name);
  for (const name of histories.keys()) if (!known.has(name)) histories.delete(name);
  say(at("topics-note"), note(searched, matching.length, shown.length));
}

function note(searched, matching, shown) {
  if (!total) return "No topics yet: a topic begins with its first event.";
  if (searched && !matching) return total > topics.length ? "None of the known topics. Press Enter to ask for one of this name." : "No topic has this in its name.";
  const hidden = matching - shown;
  const beyond = total > topics.length ? ` The ${number(topics.length)} that were active last of ${number(total)} are known here; search for another by its whole name and Enter.` : "";
  return `${hidden > 0 ? `${number(shown)} of ${number(matching)} are shown.` : `${number(shown)} ${shown === 1 ? "topic" : "topics"}.`}${beyond}`;
}

function row(topic) {
  let made = rows.get(topic.topic);
  if (!made) {
    made = make("tr", {}, make("th", { scope: "row" }, make("a", { href: addressOf({ topic: topic.topic }) }, topic.topic)), make("td", { class: "spark" }),
      ...FIELDS.map(() => make("td")), make("td"));
    rows.set(topic.topic, made);
  }
  const cells = made.cells;
  cells[1].replaceChildren(chart(histories.get(topic.topic) ?? []));
  FIELDS.forEach((field, index) => say(cells[index + 2], number(topic[field])));
  const last = cells[cells.length - 1];
  if (last.firstChild?.getAttribute?.("datetime") !== topic.last_received_at) last.replaceChildren(moment(topic.last_received_at));
  return made;
}

/** A line of what was received lately. */
const chart = (history) => spark(history.map((value, index) => [POINTS - history.length + index, value]), POINTS, 90, 20);

for (const header of table.tHead.querySelectorAll("th[data-by]")) {
  header.querySelector("button").addEventListener("click", () => {
    const by = header.dataset.by;
    sorting = { by, descending: sorting.by === by ? !sorting.descending : by !== "topic" };
    for (const other of table.tHead.querySelectorAll("th[data-by]")) {
      other.setAttribute("aria-sort", other === header ? (sorting.descending ? "descending" : "ascending") : "none");
    }
    render();
  });
}

at("topic-search").addEventListener("input", render);
at("topic-search").addEventListener("keydown", async (key) => {
  const name = at("topic-search").value.trim();
  if (key.key !== "Enter" || !name) return;
  try {
    found = (await (await ask(`/stats?${new URLSearchParams({ topic: name })}`)).json()).by_topic;
    render();
    if (!found.length) say(at("topics-note"), `There is no topic ${name}.`);
  } catch (error) {
    say(at("topics-note"), error.message);
  }
});

// Places in the log, where a consumer begins or goes on, and the events that lie between two of them.

import { ask } from "./api.js";
import { at, countOf, make, toUtc } from "./page.js";

const COUNTED = 1000; // events that are counted: the rest is taken to be as dense as these
const COUNTED_CHARACTERS = 4_000_000;
const CHOICES = { start: "at the oldest event", now: "behind the newest event", seq: "behind a seq", time: "at a time" };

/** The fields of a place: a choice, and the input that it needs. */
export function placeFields(prefix, label) {
  const choice = make("select", { id: `${prefix}-to` }, ...Object.entries(CHOICES).map(([value, name]) => make("option", { value }, name)));
  const inputs = [
    ["seq", "Seq", make("input", { id: `${prefix}-seq`, inputmode: "numeric", pattern: "[0-9]+", title: "a whole number", required: true })],
    ["time", "Event time", make("input", { id: `${prefix}-time`, type: "datetime-local", step: 1, required: true })],
  ].map(([kind, name, input]) => ({ kind, input, row: make("div", {}, make("label", { for: input.id }, name), input) }));
  const show = () => {
    for (const { kind, input, row } of inputs) {
      row.hidden = kind !== choice.value;
      input.disabled = row.hidden; // what nobody sees is not asked for
    }
  };
  choice.addEventListener("change", show);
  show();
  return [make("label", { for: choice.id }, label), choice, ...inputs.map(({ row }) => row)];
}

/** The place in these fields, as the service takes it. */
export function placeIn(prefix) {
  const choice = at(`${prefix}-to`).value;
  return { seq: () => at(`${prefix}-seq`).value, time: () => toUtc(at(`${prefix}-time`).value) }[choice]?.() ?? choice;
}

/** What is needed to count the events of a specification: how they are found, and how many there are of all; and the place asked for. */
async function look({ topics, sources, dead }, to) {
  const filter = [...topics.map((topic) => ["topic", topic]), ...sources.map((source) => ["source", source])];
  const stats = await (await ask(`/stats?${new URLSearchParams(filter.filter(([name]) => name === "topic"))}`)).json();
  const readable = stats.unique_processed - stats.expired - stats.erased;
  // A consumer of all topics is not given what tells of its own failures.
  return { filter, leftOut: topics.length ? null : dead, readable, newest: stats.last_seq, seq: await seqOf(to, stats.last_seq) };
}

/** The seq behind which a place is. */
async function seqOf(to, newest) {
  if (to === "start") return 0;
  if (to === "now") return newest;
  if (/^[0-9]+$/.test(to)) return Number(to);
  // By all topics, as the service does.
  const [first] = await (await ask(`/events?${new URLSearchParams({ since: to, limit: 1 })}`)).json();
  return first ? first.seq - 1 : newest;
}

/** How many events of a specification are behind one seq, up to another: exactly, or about so many. */
async function count({ filter, leftOut, readable }, after, through) {
  if (after >= through) return { events: 0, isExact: true };
  const query = new URLSearchParams([...filter, ["after", after], ["limit", COUNTED]]);
  const { body } = await ask(`/events?${query}`, { headers: { accept: "application/x-ndjson" } });
  let [events, characters, first, last, seen] = [0, 0, null, 0, 0];
  for await (const line of lines(body)) {
    const { seq, topic } = JSON.parse(line);
    if (seq > through) return { events, isExact: true };
    first ??= seq;
    [last, seen, characters] = [seq, seen + 1, characters + line.length];
    if (topic !== leftOut) events += 1;
    if (characters > COUNTED_CHARACTERS) break;
  }
  const isAll = seen < COUNTED && characters <= COUNTED_CHARACTERS;
  if (isAll || last === through) return { events, isExact: true };
  const density = events / (last - first + 1);
  return { events: Math.max(events, Math.min(readable, Math.round(density * (through - first + 1)))), isExact: false };
}

/** The lines of a body, which end with a newline each. Whoever has read enough ends the answer. */
async function* lines(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (let rest = ""; ;) {
      const { done, value } = await reader.read();
      if (done) return;
      const found = (rest + value).split("\n");
      rest = found.pop();
      yield* found;
    }
  } finally {
    reader.cancel();
  }
}

const told = ({ events, isExact }) => (isExact ? "" : "About ") + countOf(events);

/** What it means that a consumer goes on elsewhere, in a sentence. */
export async function consequence({ specification, position }, to) {
  const log = await look(specification, to);
  const isBack = log.seq < position;
  const between = await count(log, ...(isBack ? [log.seq, position] : [position, log.seq]));
  if (!between.events) return "No event comes again, and none is passed over.";
  const [text, one] = [told(between), between.events === 1];
  return isBack ? `${text} ${one ? "comes" : "come"} again.` : `${text} ${one ? "is" : "are"} passed over: it is not given ${one ? "it" : "them"}.`;
}

/** What a new consumer is given, in a sentence. */
export async function prospect(specification, to) {
  const log = await look(specification, to);
  const stored = await count(log, log.seq, log.newest);
  return stored.events ? `${told(stored)} of the log, and whatever is published from now on.` : "It is given what is published from now on.";
}

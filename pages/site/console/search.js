// What is looked for, and how it is asked for.

import { ask, eventOf } from "./api.js";
import { pathOf } from "./address.js";
import { number } from "./page.js";
import { knownTopics } from "./topics.js";

/** Events of a page. */
export const PAGE = 50;

const SEARCHED_TOPICS = 100;
const FILTERS = ["topic", "source", "since", "until", "conflicts"];
const SEARCHES = [...FILTERS, "id", "older", "newer"];

/** The part of a view that says what is looked for. */
export const searchOf = (wanted) => Object.fromEntries(SEARCHES.filter((field) => wanted[field]).map((field) => [field, wanted[field]]));

/** True if two searches, of which the first may be missing, look for the same. */
export const isSame = (a, b) => a && SEARCHES.every((field) => a[field] === b[field]);

/** The filters of a search as the service takes them. */
export const queryOf = (search) => new URLSearchParams(FILTERS.filter((field) => search[field]).map((field) => [field, search[field]]));

/** True if a search follows what comes: the others look into the past. */
export const isLive = (search) => !SEARCHES.some((field) => search[field] && !["topic", "source"].includes(field));

/** True if a search is for everything. */
export const isEverything = (search) => !SEARCHES.some((field) => search[field]);

/** A page of matches, newest first, and the positions of the pages around it. */
export async function page(search, signal) {
  const query = queryOf(search);
  const isForward = Boolean(search.newer);
  query.set("limit", PAGE);
  query.set("order", isForward ? "asc" : "desc");
  if (search.newer ?? search.older) query.set("after", search.newer ?? search.older);
  const answer = await ask(`/events?${query}`, { headers: { accept: "application/x-ndjson" }, signal });
  const hasMore = (answer.headers.get("link") ?? "").includes('rel="next"');
  const events = (await answer.text()).split("\n").filter(Boolean).map(eventOf);
  signal.throwIfAborted();
  if (isForward) events.reverse();
  return {
    events,
    newer: events.length && (isForward ? hasMore : search.older) ? events[0].seq : null,
    older: events.length && (isForward || hasMore) ? events.at(-1).seq : null,
    newest: search.newer ?? search.older,
  };
}

/** The events of an id, in the topic that is given or in those that are known. */
export async function byId({ topic, id, source, since, until, conflicts }, signal) {
  const topics = topic ? [topic] : await searchedTopics(signal);
  const found = (await Promise.all(topics.map((name) => one(name, id, signal)))).filter(Boolean);
  const matches = (event) => (!conflicts || event.conflicts > 0) && (!source || event.source === source) && (!since || Date.parse(event.timestamp) >= Date.parse(since)) && (!until || Date.parse(event.timestamp) < Date.parse(until));
  return found.filter((event) => event.gone || matches(event));
}

async function searchedTopics(signal) {
  const names = knownTopics().length ? knownTopics() : (await (await ask("/stats", { signal })).json()).topics;
  if (names.length > SEARCHED_TOPICS) throw new Error(`There are ${number(names.length)} topics: say in which one to look for the id.`);
  return names;
}

async function one(topic, id, signal) {
  try {
    return eventOf(await (await ask(pathOf({ topic, event_id: id }), { signal })).text());
  } catch (error) {
    if (error.status === 410) return { topic, event_id: id, gone: error.message };
    if (error.status === 404) return null;
    throw error;
  }
}

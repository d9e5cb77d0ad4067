// The list of events: live, or a page of what is looked for.

import { eventOf, follow, Refusal, Unreachable } from "./api.js";
import { addressOf, go, onView, view } from "./address.js";
import { entryOf } from "./entry.js";
import { at, countOf, number, pause, say, toLocal, toUtc } from "./page.js";
import { byId, isEverything, isLive, isSame, PAGE, page, queryOf, searchOf } from "./search.js";

const PAINT_MS = 250;
const RETRY_MS = 2000;

const list = at("events");

let shown = null; // the search that the list is of
let running = null; // ends the present search
let lastSeq = 0; // the last event that came to a live list
let arrived = []; // events that are not in the list yet, oldest first
let missed = 0; // how many came that are no longer among them
let isPointed = false;
let isConnected = false; // a live stream is open
let hasFailed = false; // the list could not be loaded, by no fault of the request

/** Loads the list again, for example with other tokens. */
export function reload() {
  shown = null;
  show(view());
}

/** Loads the list again if it could not be loaded. */
export function retry() {
  if (hasFailed) reload();
}

function show(wanted) {
  const search = searchOf(wanted);
  refreshLinks(); // an open event is part of the address of each link
  if (isSame(shown, search)) return;
  if (!isSame(filled, search)) fillForm(search);
  shown = search;
  running?.abort();
  running = new AbortController();
  const { signal } = running;
  begin([]);
  links({});
  [lastSeq, hasFailed] = [0, false];
  at("pause").hidden = !isLive(search);
  label("");
  say(at("events-note"), "Loading");
  (isLive(search) ? keepFollowing : load)(search, signal).catch((error) => {
    if (!signal.aborted) fail(error);
  });
}

const entry = (event, kind) => entryOf(event, searchOf(shown), kind);

/** Begins the list anew. */
function begin(events) {
  [arrived, missed] = [[], 0];
  at("arrived").hidden = true;
  list.replaceChildren(...events.map((event) => entry(event)));
  list.scrollTop = 0;
}

/** What the list is: live, paused, reconnecting, history, or nothing yet. */
function label(text) {
  isConnected = ["Live", "Paused"].includes(text);
  say(at("live"), text);
  at("live").dataset.state = text.toLowerCase();
}

let filled = null; // the search that the form was filled with: what somebody types stays when the list is loaded again

function fillForm(search) {
  filled = search;
  for (const [field, id] of [["topic", "find-topic"], ["id", "find-id"], ["source", "find-source"]]) at(id).value = search[field] ?? "";
  at("find-since").value = toLocal(search.since);
  at("find-until").value = toLocal(search.until);
  at("find-conflicts").checked = search.conflicts === "true";
  at("find-clear").hidden = isEverything(search);
}

function fail(error) {
  hasFailed = error instanceof Unreachable || (error instanceof Refusal && error.status >= 500);
  begin([]);
  links({});
  label("");
  const isLocked = error instanceof Refusal && error.status === 401;
  say(at("events-note"), isLocked ? "Reading needs a token: enter it under Tokens." : error.message);
}

// One page of history, or one event.

async function load(search, signal) {
  const { events, ...around } = search.id ? { events: await byId(search, signal) } : await page(search, signal);
  signal.throwIfAborted();
  begin(events);
  links(around);
  say(at("events-note"), events.length ? countOf(events.length) : nothing(search));
  label("History");
}

function nothing(search) {
  if (search.id) return `No event has the id ${search.id}${search.topic ? ` in the topic ${search.topic}` : " in the topics that are known here"}.`;
  if (!isEverything(search)) return "No event matches.";
  return "No events yet. Publish the first one, or start the demo traffic, and watch it arrive here.";
}

let positions = {};

function links(found) {
  positions = found;
  refreshLinks();
}

function refreshLinks() {
  const filters = Object.fromEntries([...queryOf(view())]);
  for (const name of ["newer", "older", "newest"]) {
    at(name).hidden = !positions[name];
    at(name).href = addressOf(name === "newest" ? filters : { ...filters, [name]: positions[name] });
  }
  at("pages").hidden = !["newer", "older", "newest"].some((name) => positions[name]);
}

// The live list.

async function keepFollowing(search, signal) {
  while (!signal.aborted) {
    const look = whileVisible(signal);
    try {
      await newest(search, look.signal);
      await follow(queryOf(search), lastSeq, { arrive, signal: look.signal, connected: () => { label("Live"); paint(); } });
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      if (look.signal.aborted) {
        label("Paused while hidden");
        await visible();
        continue;
      }
      // What is wrong with the request stays wrong; a fault of the service passes.
      if (error instanceof Refusal && [400, 401, 403, 421].includes(error.status)) throw error;
      label("Reconnecting");
      if (!list.children.length) say(at("events-note"), error.message);
    }
    look.abort();
    await pause(RETRY_MS);
  }
}

/** Ends with a signal, and when the page is hidden: a browser opens six connections to a host for all its tabs. */
function whileVisible(signal) {
  const look = new AbortController();
  const end = () => {
    if (signal.aborted || document.hidden) look.abort();
  };
  signal.addEventListener("abort", end, { signal: look.signal });
  document.addEventListener("visibilitychange", end, { signal: look.signal });
  end();
  return look;
}

/** Waits until the page is not hidden. */
function visible() {
  if (!document.hidden) return undefined;
  return new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
}

/** Begins the list, or adds what came while there was no connection. */
async function newest(search, signal) {
  const { events, ...around } = await page(search, signal);
  const isBack = events.length === 0 || events[0].seq < lastSeq; // a store from an older backup
  if (!lastSeq || isBack) {
    begin(events);
    links(around);
    lastSeq = events[0]?.seq ?? 0;
    say(at("events-note"), events.length ? "" : nothing(search));
  } else {
    events.reverse().forEach(enqueue);
    if (!isHeld() && arrived.length) put(); // also while no stream can be opened
  }
}

const arrive = (text) => enqueue(eventOf(text));

function enqueue(event) {
  if (event.seq <= lastSeq) return;
  lastSeq = event.seq;
  arrived.push(event);
  if (arrived.length > PAGE) {
    arrived.shift();
    missed += 1;
  }
}

const isPressed = () => at("pause").getAttribute("aria-pressed") === "true";

/** True while somebody reads: then nothing moves under the eyes, the pointer or the focus. */
const isReading = () => isPointed || list.contains(document.activeElement) || list.scrollTop > 4 || Boolean(document.querySelector("dialog[open]"));

const isHeld = () => isPressed() || isReading();

function paint() {
  if (!isConnected) return;
  label(isHeld() ? "Paused" : "Live");
  const count = arrived.length + missed;
  at("arrived").hidden = !isHeld() || !count;
  if (isHeld() && count) say(at("arrived"), `${number(count)} new: show ${count === 1 ? "it" : "them"}`);
  if (!isHeld() && count) put();
}

/** Moves what has arrived into the list. */
function put() {
  list.prepend(...arrived.reverse().map((event) => entry(event, "new")));
  while (list.children.length > PAGE) list.lastChild.remove();
  if (list.children.length === PAGE) links({ older: list.lastChild.dataset.seq });
  [arrived, missed] = [[], 0];
  at("arrived").hidden = true;
  say(at("events-note"), "");
}

setInterval(paint, PAINT_MS);
list.addEventListener("pointerenter", (pointer) => { isPointed = pointer.pointerType === "mouse"; });
list.addEventListener("pointerleave", () => { isPointed = false; });
at("pause").addEventListener("click", () => {
  at("pause").setAttribute("aria-pressed", String(!isPressed()));
  paint();
});
at("arrived").addEventListener("click", () => {
  put();
  list.scrollTop = 0;
  list.querySelector("a")?.focus();
});

// The form.

at("find").addEventListener("submit", (submit) => {
  submit.preventDefault();
  go({
    topic: at("find-topic").value.trim(),
    id: at("find-id").value.trim(),
    source: at("find-source").value.trim(),
    since: toUtc(at("find-since").value),
    until: toUtc(at("find-until").value),
    conflicts: at("find-conflicts").checked ? "true" : "",
  });
});

onView(show);

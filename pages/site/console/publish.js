// Publishing by hand: a form, raw JSON or NDJSON, and the same again, to see what becomes of it.

import { ask } from "./api.js";
import { addressOf, nameOf } from "./address.js";
import { at, make, number, randomId } from "./page.js";

let published = () => {}; // called after every answer
let sent = null; // the last request that was answered: its body, media type and events

/** Says whom to tell that something may have been stored. */
export const onPublished = (callback) => { published = callback; };

function newId() {
  at("event_id").value = randomId();
}

function outcome(quality, ...content) {
  at("outcome").replaceChildren(...content);
  at("outcome").className = quality;
}

/** The body of the form. The payload goes as it was typed: JavaScript would change numbers that it cannot represent. */
function fromForm() {
  const payload = at("payload").value.trim();
  if (payload) JSON.parse(payload);
  const event = { topic: at("topic").value, event_id: at("event_id").value };
  if (at("source").value) event.source = at("source").value;
  const body = JSON.stringify(event);
  return { body: payload ? `${body.slice(0, -1)},"payload":${payload}}` : body, type: "application/json", events: [event] };
}

/** The body of the raw text: one JSON text, or else one event a line. */
function fromRaw() {
  const body = at("raw").value;
  try {
    const events = [JSON.parse(body)].flat();
    return { body, type: "application/json", events };
  } catch (error) {
    const lines = body.split("\n").filter((line) => line.trim());
    if (lines.length < 2) throw error;
    return { body, type: "application/x-ndjson", events: lines.map((line) => JSON.parse(line)) };
  }
}

async function send({ body, type, events }) {
  const headers = { "content-type": type };
  const response = await ask("/publish", { kind: "publish", method: "POST", body, headers });
  const answer = await response.json();
  sent = { body, type, events };
  at("again").hidden = false;
  const { total_received: total, stored, duplicates, conflicts } = answer;
  const ignored = response.headers.get("sekali-ignored");
  const tell = (quality, ...content) => outcome(ignored ? "bad" : quality, ...content, ...(ignored ? [`\nIgnored, because no event has such a field: ${ignored}`] : []));
  const link = events.length === 1 ? make("a", { href: addressOf({ open: nameOf(events[0]) }) }, "Look at it") : "";
  if (total === 1 && stored) return tell("good", "Stored. ", link);
  if (total === 1 && conflicts) return tell("bad", "A conflict: this id is stored already, with other content. The stored event stays as it is, and the delivery is counted. ", link);
  if (total === 1) return tell("soft", "A duplicate: the very same event is stored already, so it was dropped, and counted. Producers may send again as often as they like. ", link);
  return tell(conflicts ? "bad" : "good",
    `Of ${number(total)}: ${number(stored)} stored, ${number(duplicates)} dropped as duplicates${conflicts ? `, ${number(conflicts)} of them conflicts, which came with other content` : ""}.`);
}

/** Runs one of the ways to send, with its button disabled meanwhile. */
async function attempt(button, compose) {
  let request;
  try {
    request = compose();
  } catch (error) {
    return outcome("bad", `This is not JSON: ${error.message}`);
  }
  button.disabled = true;
  try {
    await send(request);
    published();
  } catch (error) {
    const help = error.page ? make("a", { href: error.page }, "What this means") : "Sending it again is safe.";
    outcome("bad", `${error.message} `, help);
  } finally {
    button.disabled = false;
  }
}

/** The same ids with another payload. */
function changed() {
  const events = sent.events.map((event) => ({ ...event, payload: { changed: new Date().toISOString() } }));
  return { body: JSON.stringify(events.length === 1 ? events[0] : events), type: "application/json", events };
}

for (const [form, compose] of [["publish-form", fromForm], ["publish-raw", fromRaw]]) {
  at(form).addEventListener("submit", (submit) => {
    submit.preventDefault();
    attempt(at(form).querySelector("[type=submit]"), compose);
  });
}
at("send-again").addEventListener("click", () => attempt(at("send-again"), () => sent));
at("send-changed").addEventListener("click", () => attempt(at("send-changed"), changed));
at("new-id").addEventListener("click", newId);
newId();

// The tabs, by the pattern of the ARIA Authoring Practices: arrows change them.

const tabs = [at("tab-form"), at("tab-raw")];

function choose(chosen) {
  for (const tab of tabs) {
    tab.setAttribute("aria-selected", String(tab === chosen));
    tab.tabIndex = tab === chosen ? 0 : -1;
    at(tab.getAttribute("aria-controls")).hidden = tab !== chosen;
  }
}

for (const tab of tabs) {
  tab.addEventListener("click", () => choose(tab));
  tab.addEventListener("keydown", (key) => {
    if (key.key !== "ArrowLeft" && key.key !== "ArrowRight") return;
    const other = tabs.find((candidate) => candidate !== tab);
    choose(other);
    other.focus();
  });
}

"use strict";

const REFRESH_MS = 2000;
const RETRY_MS = 3000;
const PAINT_MS = 250;
const SHOWN_EVENTS = 50;
const SHOWN_TOPICS = 200;

const at = (id) => document.getElementById(id);
const number = (value) => Number(value).toLocaleString();

/** Makes an element with a text, which is never parsed as markup. */
function element(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}

/** A time of the service, shown in the reader's time zone. */
function moment(text) {
  if (!text) return element("span", "-");
  const date = new Date(text);
  const made = element("time", Number.isNaN(date.getTime()) ? text : date.toLocaleString());
  made.dateTime = text;
  return made;
}

/** The token is kept for this tab only. */
const token = (kind) => sessionStorage.getItem(`sekali.${kind}_token`) ?? "";

function headers(kind, others = {}) {
  return token(kind) ? { ...others, authorization: `Bearer ${token(kind)}` } : others;
}

/** The text of a problem document (RFC 9457), or the status if there is none. */
async function reason(response) {
  const problem = await response.json().catch(() => ({}));
  const errors = (problem.errors ?? []).map((error) => `${error.field ?? ""} ${error.message}`.trim());
  return [problem.detail ?? `The service answered ${response.status}.`, ...errors].join("\n");
}

// The account.

let noticeOf = { stats: "", feed: "" };

function notice(from, text) {
  noticeOf[from] = text;
  const all = [...new Set(Object.values(noticeOf).filter(Boolean))].join(" ");
  if (at("notice").textContent !== all) at("notice").textContent = all;
  at("notice").hidden = !all;
}

function duration(seconds) {
  const [days, hours, minutes] = [seconds / 86400, (seconds / 3600) % 24, (seconds / 60) % 60].map(Math.floor);
  if (days) return `${number(days)} d ${hours} h`;
  if (hours) return `${hours} h ${minutes} min`;
  return minutes ? `${minutes} min ${seconds % 60} s` : `${seconds} s`;
}

function showAccount(stats) {
  for (const field of ["received", "unique_processed", "duplicate_dropped", "conflicts"]) {
    at(field).textContent = number(stats[field]);
  }
  at("uptime").textContent = duration(stats.uptime);
  const rows = stats.by_topic.slice(0, SHOWN_TOPICS).map((topic) => {
    const row = document.createElement("tr");
    row.append(element("td", topic.topic));
    for (const field of ["received", "unique_processed", "duplicate_dropped", "conflicts"]) {
      row.append(element("td", number(topic[field])));
    }
    const last = document.createElement("td");
    last.append(moment(topic.last_received_at));
    row.append(last);
    return row;
  });
  if (rows.length) at("topics").replaceChildren(...rows);
  const more = stats.by_topic.length - rows.length;
  at("more").hidden = more <= 0;
  at("more").textContent = `and ${number(more)} more in /stats`;
}

async function refresh() {
  try {
    const response = await fetch("/stats", { headers: headers("read"), cache: "no-store" });
    if (response.ok) {
      showAccount(await response.json());
      notice("stats", "");
    } else {
      notice("stats", response.status === 401 ? "This service requires a token to read: enter it below." : await reason(response));
    }
  } catch {
    notice("stats", "The service cannot be reached.");
  }
}

async function keepRefreshing() {
  for (;;) {
    if (!document.hidden) await refresh();
    await new Promise((resolve) => setTimeout(resolve, REFRESH_MS));
  }
}

// The live feed.

let lastSeq = 0;
let arrived = []; // events that are not on the page yet, oldest first
let following = null; // ends the present connection

function entry(event) {
  const item = document.createElement("li");
  const what = document.createElement("div");
  what.className = "what";
  const when = document.createElement("span");
  when.append(moment(event.received_at));
  what.append(element("strong", event.topic), element("span", event.event_id), element("span", `#${event.seq}`), when);
  const payload = JSON.stringify(event.payload) ?? "";
  item.append(what, element("code", payload.length > 300 ? `${payload.slice(0, 300)}…` : payload));
  return item;
}

function arrive(text) {
  const event = JSON.parse(text);
  if (event.seq <= lastSeq) return; // the newest events are fetched again when tokens are submitted
  lastSeq = event.seq;
  arrived.push(event);
  if (arrived.length > SHOWN_EVENTS) arrived.shift();
}

function paint() {
  if (!arrived.length || at("pause").getAttribute("aria-pressed") === "true") return;
  const feed = at("feed");
  feed.prepend(...arrived.splice(0).reverse().map(entry));
  while (feed.children.length > SHOWN_EVENTS) feed.lastChild.remove();
}

const feedState = (text) => { at("feed-state").textContent = text; };

/** Follows without a token, by the browser's EventSource. */
function followOpen(signal) {
  return new Promise((_, reject) => {
    const source = new EventSource(`/events?after=${lastSeq}`);
    source.onopen = () => feedState("Live");
    source.onmessage = (message) => arrive(message.data);
    source.onerror = () => {
      source.close(); // keepFollowing connects again, after the last event that we have
      reject(new Error("connection lost"));
    };
    signal.addEventListener("abort", () => { source.close(); reject(signal.reason); });
  });
}

/** Follows with a token, which an EventSource cannot send. */
async function followWithToken(signal) {
  const response = await fetch(`/events?after=${lastSeq}`, {
    headers: headers("read", { accept: "text/event-stream" }), cache: "no-store", signal,
  });
  if (!response.ok) throw new Error(await reason(response));
  feedState("Live");
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) throw new Error("connection lost");
    const messages = (text + value).split(/\r?\n\r?\n/);
    text = messages.pop();
    for (const message of messages) {
      const data = message.split(/\r?\n/).filter((line) => line.startsWith("data:"));
      if (data.length) arrive(data.map((line) => line.slice(5).trimStart()).join("\n"));
    }
  }
}

/** Fetches the newest events, which the feed begins with. */
async function newest() {
  const response = await fetch(`/events?order=desc&limit=${SHOWN_EVENTS}`, { headers: headers("read"), cache: "no-store" });
  if (!response.ok) throw new Error(await reason(response));
  for (const event of (await response.json()).reverse()) arrive(JSON.stringify(event));
}

async function keepFollowing(signal) {
  let begun = false;
  while (!signal.aborted) {
    try {
      if (!begun) await newest();
      begun = true;
      paint();
      await (token("read") ? followWithToken(signal) : followOpen(signal));
    } catch (error) {
      if (signal.aborted) return;
      feedState(`Not connected: ${error.message}`);
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

function follow() {
  following?.abort();
  following = new AbortController();
  keepFollowing(following.signal);
}

// The forms.

function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(8));
  at("event_id").value = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function outcome(text, isBad) {
  at("outcome").textContent = text;
  at("outcome").classList.toggle("bad", isBad);
}

async function publish() {
  const payload = at("payload").value.trim();
  try {
    if (payload) JSON.parse(payload);
  } catch (error) {
    return outcome(`The payload is not JSON: ${error.message}`, true);
  }
  const event = { topic: at("topic").value, event_id: at("event_id").value };
  if (at("source").value) event.source = at("source").value;
  let body = JSON.stringify(event);
  // The payload is sent as it was typed, because JavaScript would change numbers that it cannot represent.
  if (payload) body = `${body.slice(0, -1)},"payload":${payload}}`;
  const response = await fetch("/publish", {
    method: "POST", body, headers: headers("publish", { "content-type": "application/json" }),
  });
  if (!response.ok) return outcome(await reason(response), true);
  const { stored, conflicts } = await response.json();
  if (stored) outcome("Stored.", false);
  else if (conflicts) outcome("Dropped: this id is stored already, with another payload.", true);
  else outcome("Dropped as a duplicate: it is stored already.", false);
  await refresh();
}

at("publish").addEventListener("submit", async (submit) => {
  submit.preventDefault();
  const button = submit.submitter ?? at("publish").querySelector("[type=submit]");
  button.disabled = true;
  try {
    await publish();
  } catch {
    outcome("The service cannot be reached. Sending the event again is safe.", true);
  }
  button.disabled = false;
});

at("access").addEventListener("submit", (submit) => {
  submit.preventDefault();
  for (const kind of ["read", "publish"]) sessionStorage.setItem(`sekali.${kind}_token`, at(`${kind}_token`).value);
  refresh();
  follow();
});

at("new-id").addEventListener("click", newId);
at("pause").addEventListener("click", () => {
  const paused = at("pause").getAttribute("aria-pressed") !== "true";
  at("pause").setAttribute("aria-pressed", String(paused));
  at("pause").textContent = paused ? "Paused" : "Pause";
  paint();
});

for (const kind of ["read", "publish"]) at(`${kind}_token`).value = token(kind);
newId();
setInterval(paint, PAINT_MS);
keepRefreshing();
follow();

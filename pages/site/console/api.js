// Requests to the service, and how they end: an answer, a refusal that says why, or nothing.

const LONGEST_MS = 30_000; // the service answers or refuses sooner

/** Tokens are kept for this tab only. */
export const tokens = {
  get: (kind) => sessionStorage.getItem(`sekali.${kind}_token`) ?? "",
  set: (kind, value) => sessionStorage.setItem(`sekali.${kind}_token`, value.trim()),
};

/** The service answered, and did not do it: a problem of RFC 9457. */
export class Refusal extends Error {
  constructor(status, problem) {
    const errors = (problem.errors ?? []).map(({ index, field, message }) =>
      [index === undefined ? "" : `event ${index}:`, field, message].filter(Boolean).join(" "));
    super([problem.detail ?? `The service answered ${status}.`, ...errors].join("\n"));
    this.status = status;
    this.kind = (problem.type ?? "").replace("/problems/", "");
    this.page = problem.type;
  }
}

/** There was no answer. */
export class Unreachable extends Error {
  constructor() {
    super("The service cannot be reached.");
  }
}

/** Sends a request with the token of its kind, if it has one, and returns the answer if it is a success. */
export async function ask(path, { kind = "read", headers = {}, signal, isStream = false, ...options } = {}) {
  const token = kind && tokens.get(kind);
  if (token) headers = { ...headers, authorization: `Bearer ${token}` };
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(new Unreachable()), LONGEST_MS);
  let response;
  try {
    response = await fetch(path, { cache: "no-store", headers, signal: AbortSignal.any([limit.signal, ...(signal ? [signal] : [])]), ...options });
    if (isStream) clearTimeout(timer);
  } catch (error) {
    throw error.name === "AbortError" ? error : new Unreachable();
  }
  if (!response.ok) throw new Refusal(response.status, await response.json().catch(() => ({})));
  return response;
}

/** Sends a body of JSON, as `ask` does. */
export const send = (method, path, body) => ask(path, { method, headers: { "content-type": "application/json" }, body: JSON.stringify(body) });

/** An event from the service's text of it, which it keeps: there the payload has every digit as it was sent. */
export const eventOf = (text) => ({ ...JSON.parse(text), text });

/** The payload of an event, as it was sent. */
export function payloadOf({ text: whole }) {
  const text = withoutRival(whole);
  const from = text.indexOf('"payload":') + '"payload":'.length;
  return text.slice(from, text.lastIndexOf(',"received_at":'));
}

/** The text of an event up to what was refused for it, which is any JSON. */
function withoutRival(text) {
  for (let end = text.indexOf(',"rival":'); end >= 0; end = text.indexOf(',"rival":', end + 1)) {
    try {
      const before = `${text.slice(0, end)}}`;
      if ("conflicts" in JSON.parse(before)) return before;
    } catch { /* it stands within the payload */ }
  }
  return text;
}

/** Calls `arrive` with each event after a seq, until the signal or the end of the connection, which is an error. */
export async function follow(query, after, { arrive, connected, signal }) {
  const parameters = new URLSearchParams(query);
  parameters.set("after", after);
  const path = `/events?${parameters}`;
  await (tokens.get("read") ? followWithToken : followOpen)(path, { arrive, connected, signal });
}

/** Follows without a token, by the browser's EventSource. */
function followOpen(path, { arrive, connected, signal }) {
  return new Promise((_, reject) => {
    signal.throwIfAborted();
    const source = new EventSource(path);
    const timer = setTimeout(() => end(new Unreachable()), LONGEST_MS);
    const end = (reason) => {
      clearTimeout(timer);
      source.close();
      signal.removeEventListener("abort", abort);
      reject(reason);
    };
    const abort = () => end(signal.reason);
    signal.addEventListener("abort", abort);
    source.onopen = () => {
      clearTimeout(timer);
      connected();
    };
    source.onmessage = (message) => arrive(message.data);
    source.onerror = () => end(new Unreachable()); // whoever follows connects again, after the last event that arrived
  });
}

/** Follows with a token, which an EventSource cannot send. */
async function followWithToken(path, { arrive, connected, signal }) {
  const response = await ask(path, { headers: { accept: "text/event-stream" }, signal, isStream: true });
  connected();
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read().catch(() => ({ done: true }));
    if (done) throw signal.aborted ? signal.reason : new Unreachable();
    const messages = (text + value).split(/\r?\n\r?\n/);
    text = messages.pop();
    for (const message of messages) {
      const data = message.split(/\r?\n/).filter((line) => line.startsWith("data:"));
      if (data.length) arrive(data.map((line) => line.slice(5).trimStart()).join("\n"));
    }
  }
}

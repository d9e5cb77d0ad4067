// Follows the events of a Sekali that asks for a token, which a browser's EventSource cannot send: by fetch and a stream
// reader, in a browser or in Node.js 20 and newer. A page of another origin needs it in `cors_origins`.
//
//   import { follow } from "./follow.mjs";
//   await follow("https://inbox.example.org", { token, after: position, handle: async (event) => { ... } });
//
//   SEKALI_TOKEN=... node examples/follow.mjs http://127.0.0.1:3000 [AFTER]     prints an event a line

/** Milliseconds of silence after which a stream is taken for dead: a comment comes every 15 seconds. */
const SILENCE = 45_000;

/** Milliseconds until the next attempt. */
const PAUSE = 1_000;

/** The service refuses to be followed: another attempt would end the same way. */
export class Refused extends Error {}

/**
 * Calls `handle` with each event after the seq `after`, and with its text, in which numbers have all their digits: one at
 * a time and in their order, until `signal` aborts it.
 *
 * The position moves when `handle` is done, never before: after a broken connection or a restart, an event whose effect
 * was not finished comes again. Keep the seq of the last event with its effect, and pass it as `after` the next time.
 */
export async function follow(url, { token, query = {}, after = 0, handle, signal }) {
  for (;;) {
    const address = `${url}/events?${new URLSearchParams({ ...query, after })}`;
    for await (const text of events(address, token, signal)) {
      const event = JSON.parse(text);
      await handle(event, text);
      after = event.seq;
    }
    signal?.throwIfAborted();
    await new Promise((resolve) => setTimeout(resolve, PAUSE));
  }
}

/** The texts of the events of one connection, until it ends. */
async function* events(address, token, signal) {
  const connection = new AbortController();
  const abort = () => connection.abort();
  signal?.addEventListener("abort", abort);
  let silence;
  const listen = () => {
    clearTimeout(silence);
    silence = setTimeout(abort, SILENCE);
  };
  try {
    listen();
    const headers = { accept: "text/event-stream", ...(token && { authorization: `Bearer ${token}` }) };
    const response = await attempt(fetch(address, { headers, cache: "no-store", signal: connection.signal }));
    if (!response || response.status >= 500) return; // it may be better in a moment
    if (!response.ok) throw new Refused(`${response.status}: ${await response.text()}`);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let text = ""; ; ) {
      const part = await attempt(reader.read());
      if (!part || part.done) return;
      const messages = (text + part.value).split("\n\n");
      text = messages.pop();
      for (const message of messages) {
        const data = message.split("\n").find((line) => line.startsWith("data: "));
        clearTimeout(silence); // while an event is handled, nothing is read
        if (data) yield data.slice("data: ".length);
      }
      listen();
    }
  } finally {
    clearTimeout(silence);
    signal?.removeEventListener("abort", abort);
    abort();
  }
}

/** What a promise gives, or nothing where the connection failed. */
const attempt = (promise) => promise.catch(() => undefined);

if (typeof process !== "undefined" && process.argv[1] === new URL(import.meta.url).pathname) {
  const [url, after = 0] = process.argv.slice(2);
  await follow(url, { token: process.env.SEKALI_TOKEN, after, handle: (_, text) => console.log(text) });
}

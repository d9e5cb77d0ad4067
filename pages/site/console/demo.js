// Traffic to look at: a few events a second, of which three in ten were sent before and one in fifty was changed.

import { ask } from "./api.js";
import { at, pause, randomId, say } from "./page.js";

const BATCH = 5;
const PAUSE_MS = 600;
const REMEMBERED = 200;

const TOPICS = {
  "demo.orders": () => ({ order: random(9000) + 1000, items: random(5) + 1, total: `${random(200)}.${random(90) + 10}` }),
  "demo.payments": () => ({ method: pick(["card", "transfer", "wallet"]), amount: random(50_000) }),
  "demo.signups": () => ({ plan: pick(["free", "team", "company"]), country: pick(["ID", "DE", "BR", "JP"]) }),
};

const random = (below) => Math.floor(Math.random() * below);
const pick = (list) => list[random(list.length)];

let running = null;

function event(remembered) {
  if (remembered.length && Math.random() < 0.3) {
    const again = pick(remembered);
    return Math.random() < 0.07 ? { ...again, payload: { changed: true } } : again;
  }
  const topic = pick(Object.keys(TOPICS));
  const made = { topic, event_id: randomId(), source: "console", payload: TOPICS[topic]() };
  remembered.push(made);
  if (remembered.length > REMEMBERED) remembered.shift();
  return made;
}

async function run(signal) {
  const remembered = [];
  while (!signal.aborted) {
    const body = JSON.stringify(Array.from({ length: BATCH }, () => event(remembered)));
    const headers = { "content-type": "application/json", prefer: "return=minimal" };
    await ask("/publish", { kind: "publish", method: "POST", body, headers, signal });
    await pause(PAUSE_MS);
  }
}

function show(isRunning) {
  say(at("demo"), isRunning ? "Stop demo traffic" : "Start demo traffic");
}

at("demo").addEventListener("click", async () => {
  if (running) return running.abort();
  running = new AbortController();
  show(true);
  try {
    await run(running.signal);
  } catch (error) {
    if (error.name !== "AbortError") {
      at("outcome").replaceChildren(`The demo has ended: ${error.message}`);
      at("outcome").className = "bad";
    }
  }
  running = null;
  show(false);
});

// Publishes orders, each once, however often an attempt fails and however often this runs.
//
//   node examples/produce.mts http://127.0.0.1:3000 <orders     Node.js 22.18 or newer; before that, compile it with tsc
//   {"id": 1001, "paid_at": "2026-11-21T08:00:00+07:00", "total": "12.50"}     an order a line; SEKALI_TOKEN may be set
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";

type Order = { id: number; paid_at: string; total: string };
type Event = { topic: string; event_id: string; timestamp: string; source: string; payload: unknown };
type Answer = { stored: number; duplicates: number; conflicts: number };

/** Another attempt would end the same way. */
class Refused extends Error {}

// The id says what happened, so every attempt and every run gives it the same one. A random id would have to be stored
// with the order before the first attempt. The time is that of the order too, and not of the attempt.
const eventOf = (order: Order): Event =>
  ({ topic: "orders", event_id: `order-${order.id}-paid`, timestamp: order.paid_at, source: "shop", payload: order });

/** Milliseconds that Retry-After asks for: a number or a date. A proxy may say anything: 5 minutes at most. */
function asked(value: string | null): number {
  const wait = /^\d+$/.test(value ?? "") ? Number(value) * 1000 : Date.parse(value ?? "") - Date.now();
  return Math.min(Math.max(wait || 0, 0), 300_000);
}

/** Tries until the event is stored, or refused for a reason that another attempt would meet again. */
async function publish(url: string, event: Event): Promise<string> {
  const token = process.env.SEKALI_TOKEN;
  const headers = { "content-type": "application/json", ...(token && { authorization: `Bearer ${token}` }) };
  const body = JSON.stringify(event);
  for (let attempt = 0; ; attempt++) {
    let wait = 0;
    let why: unknown;
    try {
      // Without a timeout, a connection that died silently would be waited for, for ever.
      const signal = AbortSignal.timeout(30_000);
      const response = await fetch(`${url}/publish`, { method: "POST", headers, body, signal });
      if (response.ok) {
        const answer = (await response.json()) as Answer;
        // A duplicate is a success: an earlier attempt was stored, and its answer was lost on the way. A conflict is not
        // repaired by sending it again: the id belongs to other content, which stays.
        return answer.conflicts ? "conflict" : answer.stored ? "stored" : "duplicate";
      }
      why = `${response.status} ${await response.text()}`;
      const isForNow = response.status >= 500 || [408, 429].includes(response.status);
      if (!isForNow) throw new Refused(`${event.event_id} is refused: ${why}`);
      wait = asked(response.headers.get("retry-after"));
    } catch (error) {
      if (error instanceof Refused) throw error;
      why = error; // no answer, or half of one: the event may be stored, and its id makes it safe to ask again
    }
    // Twice as long each time, so that a busy service recovers; and at random, so that producers do not come together.
    wait += Math.random() * Math.min(30_000, 200 * 2 ** attempt);
    console.error(`${event.event_id}: again in ${(wait / 1000).toFixed(1)} s: ${why}`);
    await sleep(wait);
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const event = eventOf(JSON.parse(line));
  console.log(`${event.event_id}: ${await publish(process.argv[2]!, event)}`);
}

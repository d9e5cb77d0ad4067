// Charges the customers of orders, each order once and in their order, however often this is killed.
//
//   npm install postgres
//   node examples/consume.mts http://127.0.0.1:3000 postgres://shop@localhost/shop     Node.js 22.18 or newer; else by tsc
//   {"topic": "orders.web", "event_id": "order-1001", "payload": {"customer": "ann", "cents": 1250}}
import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import postgres from "postgres";

type Event = { seq: number; topic: string; event_id: string; payload: { customer: string; cents: number } };
type Claim = { claim: string; from: number; to: number; events: Event[] };
type Made = { specification: { lease: number } };
type Failed = { seq: number; reason?: string };

const [url, database] = process.argv.slice(2);
const consumer = `${url}/consumers/ledger`;
const sql = postgres(database!, { onnotice: () => {} });
const token = process.env.SEKALI_TOKEN;
const headers = { "content-type": "application/json", ...(token && { authorization: `Bearer ${token}` }) };
// Each process has one of its own, and keeps it when it starts anew: then what it had claimed is its own at once.
const holder = process.env.HOLDER || hostname();

/** The JSON of an answer, if it has one. Every request here may be repeated, so it is asked until there is one. */
async function call(method: string, url: string, body: unknown): Promise<unknown> {
  for (;;) {
    let wait = 1;
    let why: unknown;
    try {
      const signal = AbortSignal.timeout(60_000);
      const response = await fetch(url, { method, headers, body: JSON.stringify(body), signal });
      why = await response.text();
      if (response.ok) return why ? JSON.parse(why as string) : undefined;
      // The claim has run out, and its events are given to others, which will find done what is done.
      if ((why as string).includes("/problems/claim-lost")) return undefined;
      // 409: another holder has the claim, and this one stands by.
      if (response.status < 500 && ![408, 409, 429].includes(response.status)) {
        console.error(`${method} ${url} is refused: ${response.status} ${why}`);
        process.exit(1);
      }
      wait = Math.min(Number(response.headers.get("retry-after") ?? 1), 5);
    } catch (error) {
      why = error;
    }
    console.error(`again in ${wait} s: ${why}`);
    await sleep(wait * 1000);
  }
}

/** Charges an order. The position moves in the transaction of the effect: an event that comes again lies behind it. */
const charge = ({ seq, payload: { customer, cents } }: Event) =>
  sql.begin(async (sql) => {
    const moved = await sql`update inbox_position set seq = ${seq} where consumer = 'ledger' and seq < ${seq}`;
    if (moved.count === 0) return;
    const charged = await sql`update accounts set owed = owed + ${cents} where customer = ${customer}`;
    if (charged.count === 0) throw new Error(`there is no account of ${customer}`);
  });

/** True if the database is not there, or cannot now. That is no failure of an event: all of them would fail. */
const isAway = (error: unknown) => /^(08|53|57P|CONNECT|E[A-Z_]+$)/.test((error as { code?: string }).code ?? "");

await sql`create table if not exists accounts (customer text primary key, owed bigint not null default 0)`;
await sql`create table if not exists inbox_position (consumer text primary key, seq bigint not null)`;
await sql`insert into inbox_position values ('ledger', 0) on conflict do nothing`;
// A position needs that no event passes another one, and that none is given up: it would lie behind the position.
const made = (await call("PUT", consumer, { topics: ["orders.*"], order: "total", attempts: 0 })) as Made;
const { lease } = made.specification;
for (;;) {
  const claim = (await call("POST", `${consumer}/claim`, { holder, limit: 10, wait: 20 })) as Claim | undefined;
  if (!claim) continue; // nothing came for 20 seconds
  const failed: Failed[] = [];
  let upto = claim.from;
  let away: unknown;
  let extended = Date.now();
  for (const event of claim.events) {
    // An event may take two thirds of a lease, and a claim as long as it likes.
    if (Date.now() - extended > (lease * 1000) / 3) {
      extended = Date.now();
      if (!(await call("POST", `${consumer}/commit`, { claim: claim.claim }))) break; // it is another's
    }
    // Behind one that failed, no other is tried: all of them wait for it.
    if (failed.length > 0) failed.push({ seq: event.seq });
    else
      try {
        await charge(event);
      } catch (error) {
        if (isAway(error)) {
          away = error;
          break;
        }
        failed.push({ seq: event.seq, reason: String(error) });
      }
    upto = event === claim.events.at(-1) ? claim.to : event.seq;
  }
  await call("POST", `${consumer}/commit`, { claim: claim.claim, upto, failed, release: Boolean(away) });
  if (away) {
    console.error(`again in 5 s: ${away}`);
    await sleep(5000);
  }
}

// An EventSource client follows, loses its server, and resumes where it was: nothing missed, nothing twice.

import { EventSource } from "eventsource";

const url = process.argv[2];
const wanted = Number(process.argv[3]);
const seen = [];
const source = new EventSource(`${url}/events?after=0&topic=followed`);
source.onmessage = (message) => {
    const event = JSON.parse(message.data);
    if (String(event.seq) !== message.lastEventId) throw new Error(`id ${message.lastEventId} of seq ${event.seq}`);
    seen.push(event.event_id);
    if (seen.length === 1) console.log("following");
    if (seen.length < wanted) return;
    const expected = Array.from({ length: wanted }, (_, n) => `${n}`);
    if (JSON.stringify(seen) !== JSON.stringify(expected)) throw new Error(`saw ${seen}`);
    console.log("ok: an EventSource client across a restart of the server");
    process.exit(0);
};
setTimeout(() => {
    console.error(`saw only ${seen.length} of ${wanted} events`);
    process.exit(1);
}, 30_000);

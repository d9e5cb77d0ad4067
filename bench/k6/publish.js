// The workload of scripts/stress-test for users of k6: unique events and a known share of duplicates in mixed order, then
// a check of the account.
//
//   k6 run bench/k6/publish.js
//   k6 run -e URL=https://inbox.example.org -e TOKEN=... -e READ_TOKEN=... bench/k6/publish.js
//
// EVENTS, DUPLICATES (the share of all deliveries), CLIENTS and TOPICS change its size. Unlike the stress test, it
// sends no conflicts and does not read the events back, and one failed request fails the run.

import http from 'k6/http';
import exec from 'k6/execution';
import { check } from 'k6';

const url = __ENV.URL || 'http://127.0.0.1:3000';
const events = Number(__ENV.EVENTS || 20000);
const duplicates = Number(__ENV.DUPLICATES || 0.3);
const topics = Number(__ENV.TOPICS || 10);
const deliveries = Math.round(events / (1 - duplicates));

const bearer = (token) => (token ? { authorization: `Bearer ${token}` } : {});
const writer = { ...bearer(__ENV.TOKEN), 'content-type': 'application/json' };
const reader = bearer(__ENV.READ_TOKEN || __ENV.TOKEN);

export const options = {
  scenarios: {
    publish: {
      executor: 'shared-iterations',
      vus: Number(__ENV.CLIENTS || 64),
      iterations: deliveries,
      maxDuration: '30m',
    },
  },
  thresholds: { checks: ['rate==1'] },
  summaryTrendStats: ['med', 'p(90)', 'p(99)', 'p(99.9)', 'max'],
};

export function setup() {
  return { run: `k6-${Date.now().toString(36)}` }; // topics that no other run has
}

export default function ({ run }) {
  const delivery = exec.scenario.iterationInTest;
  // Steps of a prime mix the order, so that the duplicate of an event may come before the event itself.
  const place = (delivery * 1000003) % deliveries;
  const number = place < events ? place : ((place - events) * 7919) % events;
  const event = {
    topic: `${run}-${number % topics}`,
    event_id: `${number}`,
    source: 'k6',
    payload: { number, note: 'the same each time it is delivered' },
  };
  const answer = http.post(`${url}/publish`, JSON.stringify(event), { headers: writer });
  check(answer, {
    'published: 200': ({ status }) => status === 200,
    'published: one event, no conflict': (answer) =>
      answer.status === 200 && answer.json('total_received') === 1 && answer.json('conflicts') === 0,
  });
}

export function teardown({ run }) {
  const stats = http.get(`${url}/stats`, { headers: reader });
  const own = stats.json('by_topic').filter(({ topic }) => topic.startsWith(`${run}-`));
  const sum = (field) => own.reduce((total, topic) => total + topic[field], 0);
  check(null, {
    'account: received as sent': () => sum('received') === deliveries,
    'account: unique as sent': () => sum('unique_processed') === events,
    'account: duplicates as sent': () => sum('duplicate_dropped') === deliveries - events,
    'account: no conflicts': () => sum('conflicts') === 0,
  });
}

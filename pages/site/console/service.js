// The state of the service, from /readyz and /metrics.

import { ask, Refusal } from "./api.js";
import { at, bytes, duration, make, number, rate, say } from "./page.js";

let before = null; // the samples of the last answer, and when it came

/** Asks for the state, and shows it. */
export async function refreshService(uptime) {
  const [readiness, metrics] = await Promise.all([ready(), ask("/metrics").then((answer) => answer.text()).catch(() => "")]);
  const samples = samplesOf(metrics);
  const now = performance.now() / 1000;
  // After a restart the counters begin anew.
  const counted = "sekali_http_request_seconds_count";
  const sum = (all) => [...all].filter(([name]) => name.startsWith(counted)).reduce((total, [, value]) => total + value, 0);
  if (before && sum(samples) < sum(before.samples)) before = null;
  const rows = [["State", readiness.text, readiness.isReady ? "good" : "bad"], ["Up for", uptime === undefined ? null : duration(uptime)]];
  const backlog = samples.get("sekali_retention_backlog_events");
  if (backlog) rows.push(["Too many events", `${number(backlog)}, which retention is taking away`]);
  rows.push(...described(samples, now));
  at("service").replaceChildren(...rows.filter(([, value]) => value !== null && value !== undefined)
    .map(([name, value, quality]) => make("div", {}, make("dt", {}, name), make("dd", { class: quality }, value))));
  const isTold = samples.has("sekali_http_requests_in_flight");
  say(at("service-note"), isTold || !metrics ? "" : "This host does not tell latency, commits and sizes.");
  if (metrics) before = { samples, now };
}

async function ready() {
  try {
    const { risks = [], read_only } = await (await ask("/readyz")).json();
    if (read_only) return { text: "ready to read: the database is a replica", isReady: false };
    return risks.length ? { text: `ready, but ${risks.join(", ")}`, isReady: false } : { text: "ready", isReady: true };
  } catch (error) {
    return { text: error instanceof Refusal ? error.message : "unreachable", isReady: false };
  }
}

/** The samples of Prometheus' text format, by name and labels as they stand there. */
export function samplesOf(text) {
  const lines = text.split("\n").filter((line) => line && !line.startsWith("#"));
  return new Map(lines.map((line) => {
    const end = line.lastIndexOf(" ");
    return [line.slice(0, end), Number(line.slice(end + 1))];
  }));
}

function described(samples, now) {
  const value = (name) => samples.get(name) ?? 0;
  if (!samples.has("sekali_http_requests_in_flight")) return [];
  const since = (name) => value(name) - (before?.samples.get(name) ?? 0);
  const seconds = before ? now - before.now : Infinity;
  const groups = since("sekali_write_rows_count");
  const requests = [...samples.keys()].filter((name) => name.startsWith("sekali_http_requests_total{"));
  return [
    ["Requests a second", before ? rate(requests.reduce((sum, name) => sum + since(name), 0) / seconds) : null],
    ["Publishing, 50 %", quantile(samples, 0.5)],
    ["Publishing, 99 %", quantile(samples, 0.99)],
    ["Commits a second", before ? rate(groups / seconds) : null],
    ["Events a commit", groups > 0 ? rate(since("sekali_write_rows_sum") / groups) : null],
    ["Followers", number(value("sekali_followers")) + (value("sekali_followers_blocked") ? `, ${number(value("sekali_followers_blocked"))} of them behind` : "")],
    ["Database", samples.has("sekali_database_bytes") ? bytes(value("sekali_database_bytes")) : null],
    ["Write-ahead log", samples.has("sekali_wal_bytes") ? bytes(value("sekali_wal_bytes")) : null],
    ["Free disk", samples.has("sekali_free_disk_bytes") ? bytes(value("sekali_free_disk_bytes")) : null],
  ];
}

/** The bound below which this share of the publish requests since the last answer stayed, else of all so far. */
function quantile(samples, share) {
  const pattern = /^sekali_http_request_seconds_bucket\{(?=.*route="publish").*le="([^"]+)"/;
  const buckets = [...samples].map(([name, count]) => [pattern.exec(name)?.[1], name, count]).filter(([bound]) => bound)
    .map(([bound, name, count]) => ({ bound: bound === "+Inf" ? Infinity : Number(bound), count, since: count - (before?.samples.get(name) ?? 0) }))
    .sort((a, b) => a.bound - b.bound);
  if (!buckets.length || !buckets.at(-1).count) return null;
  const field = buckets.at(-1).since ? "since" : "count";
  const bound = buckets.find((bucket) => bucket[field] >= share * buckets.at(-1)[field])?.bound;
  return bound === Infinity ? `over ${buckets.at(-2).bound} s` : `within ${bound < 1 ? `${bound * 1000} ms` : `${bound} s`}`;
}

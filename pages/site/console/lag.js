// The lag of each consumer since the page was opened: the service knows where a consumer is, and not where it was.

import { clock, duration, number, rate } from "./page.js";
import { spark } from "./spark.js";

const MOST_SECONDS = 600;
const LEAST_SECONDS = 60; // the chart shows no less
const PACE_SECONDS = 60; // the time over which a pace is taken
const KNOWN_SECONDS = 10; // sooner, nothing is said of it

const histories = new Map(); // by consumer: times and lags

const now = () => Date.now() / 1000;

/** Keeps what an answer has told. */
export function keep(consumers) {
  const names = new Set(consumers.map(({ name }) => name));
  for (const name of histories.keys()) if (!names.has(name)) histories.delete(name);
  for (const { name, lag } of consumers) {
    const before = (histories.get(name) ?? []).filter(([time]) => time > now() - MOST_SECONDS);
    histories.set(name, [...before, [now(), lag]]);
  }
}

/** The lag in words: above a thousand events of some topics, the service estimates it. */
export const lagOf = ({ lag, specification: { topics, sources } }) => (lag > 1000 && topics.length + sources.length ? "about " : "") + number(lag);

/** A chart of the lag of a consumer. */
export function chart({ name }, width, height) {
  const history = histories.get(name);
  const from = Math.min(history[0][0], now() - LEAST_SECONDS);
  return spark(history.map(([time, lag]) => [time - from, lag]), now() - from, width, height);
}

/** What the chart shows, in words. */
export function caption(consumer) {
  const history = histories.get(consumer.name);
  const most = Math.max(...history.map(([, lag]) => lag));
  const present = consumer.lag ? `It is ${lagOf(consumer)} ${consumer.lag === 1 ? "event" : "events"} behind${pace(history)}.` : "It has been given everything.";
  return most > consumer.lag ? `${present} At most ${number(most)} since ${clock(history[0][0])}, when this page was opened.` : present;
}

function pace(history) {
  const [time, lag] = history.at(-1);
  const [before, lagBefore] = history.find(([earlier]) => earlier >= time - PACE_SECONDS);
  const fewer = (lagBefore - lag) / (time - before);
  if (time - before < KNOWN_SECONDS) return "";
  if (fewer > 0) return `, ${rate(fewer)} fewer each second: it catches up in about ${duration(lag / fewer)}`;
  return fewer < 0 ? `, ${rate(-fewer)} more each second` : ", no fewer than before";
}

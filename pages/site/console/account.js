// The totals, and their rates over the last day or the last minutes.

import { at, clock, number, rate, say } from "./page.js";

const COUNTERS = { received: "received", stored: "unique_processed", duplicates: "duplicate_dropped", conflicts: "conflicts" };
const NAMES = Object.keys(COUNTERS);
const DAY_SECONDS = 24 * 3600;
const LATEST_SECONDS = 300; // the last minutes, of which every answer is kept; before them, one a minute
const LEAST_SECONDS = 60;
const MINUTE_SECONDS = 60;
const STEP_SECONDS = 1; // an answer that comes sooner makes no point: a rate of so little time says nothing
const CHART_HEIGHT = 120;

/** The totals by time, oldest first: those that the service has kept, and those of each answer since. */
let points = [];
let shownSeconds = DAY_SECONDS;

/** True where this page does not know the last minute: it was opened just now, was hidden, or had no answer. */
export const isBehind = () => !points.length || Date.now() / 1000 - points.at(-1).time > MINUTE_SECONDS;

/**
 * The totals of each minute that the service has kept. A minute in which nothing was written has none, so what was counted
 * between two that are far apart came in the minute after the first.
 */
function kept(history, last) {
  const minutes = history.map((totals) => point(Date.parse(totals.at) / 1000, totals));
  return [...minutes, last].flatMap((next, index) => {
    const before = minutes[index - 1];
    const isFar = before && next.time - before.time > 2 * MINUTE_SECONDS;
    return isFar ? [{ ...next, time: before.time + MINUTE_SECONDS }, next] : [next];
  });
}

const point = (time, totals) => ({ time, counters: NAMES.map((name) => totals[COUNTERS[name]]) });

/** Leaves out what is older than a day and, before the last minutes, all but one point a minute. */
function thinned(now) {
  let minute = -Infinity;
  return points.filter(({ time }) => {
    if (time < now - DAY_SECONDS || (time < now - LATEST_SECONDS && time - minute < MINUTE_SECONDS)) return false;
    minute = time;
    return true;
  });
}

/** Shows the totals of /stats, and adds a point to the chart. */
export function showAccount(stats) {
  for (const field of Object.values(COUNTERS)) say(at(field), number(stats[field]));
  say(at("readable"), number(stats.unique_processed - (stats.expired ?? 0) - (stats.erased ?? 0)));
  const now = Date.now() / 1000;
  const last = point(now, stats);
  if (stats.history) points = kept(stats.history, last);
  else if (now - points.at(-1).time < STEP_SECONDS) return;
  else points = [...thinned(now), last];
  draw();
}

const append = (columns, row) => row.forEach((value, column) => columns[column].push(value));

/** The times of the points that are shown, and the rates of each counter since the point before. */
function rates() {
  const columns = [[], ...NAMES.map(() => [])];
  const from = Date.now() / 1000 - shownSeconds;
  for (let index = 1; index < points.length; index += 1) {
    const [before, { time, counters }] = [points[index - 1], points[index]];
    if (time < from) continue;
    const grown = counters.map((counter, name) => (counter - before.counters[name]) / Math.max(STEP_SECONDS, time - before.time));
    // Where the counters are those of another store, nothing is known.
    const isKnown = grown.every((value) => value >= 0);
    const row = isKnown ? grown : grown.map(() => null);
    if (!columns[0].length) append(columns, [Math.max(from, before.time), ...row]); // one point alone makes no line
    append(columns, [time, ...row]);
  }
  return columns;
}

// The chart.

let plot = null;
let pointed = null; // the index of the sample under the pointer
let samples = rates();

function legend() {
  const index = pointed ?? samples[0].length - 1;
  const time = samples[0][index];
  say(at("rate-when"), pointed === null || !time ? "Events a second, now" : `Events a second at ${clock(time)}`);
  NAMES.forEach((name, column) => {
    const value = samples[column + 1][index];
    say(at(`rate-${name}`), value === undefined || value === null ? "–" : rate(value));
  });
}

/** The time that is shown, or as much of it as is known, and at least the last minute. */
function shownTime() {
  const now = Date.now() / 1000;
  return [Math.min(now - LEAST_SECONDS, Math.max(now - shownSeconds, samples[0][0] ?? now)), now];
}

function options(width) {
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(name).trim();
  const axis = { stroke: color("--soft"), grid: { stroke: color("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
  const series = (name, dash) => ({ label: name, stroke: color(`--${name}`), width: 2, dash, points: { show: false } });
  return {
    width,
    height: CHART_HEIGHT,
    legend: { show: false },
    cursor: { y: false, points: { size: 6 } },
    scales: { x: { time: true, range: shownTime }, y: { range: (_, __, most) => [0, Math.max(1, most * 1.1)] } },
    axes: [{ ...axis, space: 80, values: (_, times) => times.map(clock) }, { ...axis, size: 56, values: (_, values) => values.map(rate) }],
    series: [{}, series("received"), series("stored"), series("duplicates", [6, 3]), series("conflicts", [2, 3])],
    hooks: { setCursor: [(drawn) => { pointed = drawn.cursor.idx ?? null; legend(); }] },
  };
}

function draw() {
  const place = at("chart");
  samples = rates();
  if (!plot) {
    plot = new uPlot(options(place.clientWidth), samples, place);
  } else if (!document.hidden) {
    plot.setData(samples);
  }
  legend();
}

new ResizeObserver(() => plot?.setSize({ width: at("chart").clientWidth, height: CHART_HEIGHT })).observe(at("chart"));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  plot?.destroy();
  plot = null;
  draw();
});

for (const [id, seconds] of [["show-day", DAY_SECONDS], ["show-minutes", LATEST_SECONDS]]) {
  at(id).addEventListener("click", () => {
    shownSeconds = seconds;
    for (const button of [at("show-day"), at("show-minutes")]) button.setAttribute("aria-pressed", String(button === at(id)));
    draw();
  });
}

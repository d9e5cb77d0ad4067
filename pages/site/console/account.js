// The totals, and their rates over the last minutes.

import { at, clock, number, rate, say } from "./page.js";

const COUNTERS = { received: "received", stored: "unique_processed", duplicates: "duplicate_dropped", conflicts: "conflicts" };
const NAMES = Object.keys(COUNTERS);
const SHOWN_SECONDS = 300;
const LEAST_SECONDS = 60;
const GAP_SECONDS = 15;
const STEP_SECONDS = 1; // an answer that comes sooner makes no point: a rate of so little time says nothing
const CHART_HEIGHT = 120;
const KEPT = "sekali.rates";

/** The times of the samples, and the rates of each counter from the sample before. A missing rate is null. */
let samples = restored();
let last = null; // the counters of the last answer, and when it came

function restored() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(KEPT));
    if (Array.isArray(kept) && kept.length === 5 && kept.every((column) => column.length === kept[0].length)) return kept;
  } catch { /* nothing is kept, or something else */ }
  return [[], [], [], [], []];
}

function add(now, rates) {
  samples[0].push(now);
  NAMES.forEach((_, index) => samples[index + 1].push(rates ? rates[index] : null));
  const outdated = samples[0].findIndex((time) => time > now - SHOWN_SECONDS);
  if (outdated > 0) samples.forEach((column) => column.splice(0, outdated));
  sessionStorage.setItem(KEPT, JSON.stringify(samples));
}

/** True while the chart has nothing to show. */
export const isEmpty = () => !samples[0].length && !last;

/** Begins the chart with the totals of each minute that the service has kept, and those of now. */
function begin(history, now, counters) {
  const points = [...history.map((totals) => [Date.parse(totals.at) / 1000, NAMES.map((name) => totals[COUNTERS[name]])]), [now, counters]];
  for (let index = 1; index < points.length; index += 1) {
    const [[before, old], [time, fresh]] = [points[index - 1], points[index]];
    const rates = fresh.map((counter, name) => Math.max(0, counter - old[name]) / Math.max(1, time - before));
    if (index === 1) add(before, rates);
    add(time, rates);
  }
}

/** Shows the totals of /stats, and adds a point to the chart. */
export function showAccount(stats) {
  for (const field of Object.values(COUNTERS)) say(at(field), number(stats[field]));
  say(at("readable"), number(stats.unique_processed - (stats.expired ?? 0) - (stats.erased ?? 0)));
  const now = Date.now() / 1000;
  if (last && now - last.now < STEP_SECONDS) return;
  const counters = NAMES.map((name) => stats[COUNTERS[name]]);
  if (last) {
    const seconds = now - last.now;
    const rates = counters.map((counter, index) => (counter - last.counters[index]) / seconds);
    // After a pause, or where the counters are those of another store, nothing is known.
    add(now, seconds < GAP_SECONDS && rates.every((value) => value >= 0) ? rates : null);
  } else if (samples[0].length) {
    add(now, null);
  } else {
    begin(stats.history ?? [], now, counters);
  }
  last = { now, counters };
  draw();
}

// The chart.

let plot = null;
let pointed = null; // the index of the sample under the pointer

function legend() {
  const index = pointed ?? samples[0].length - 1;
  const time = samples[0][index];
  say(at("rate-when"), pointed === null || !time ? "Events a second, now" : `Events a second at ${clock(time)}`);
  NAMES.forEach((name, column) => {
    const value = samples[column + 1][index];
    say(at(`rate-${name}`), value === undefined || value === null ? "–" : rate(value));
  });
}

/** The last minutes, or at first the last minute. */
function shownTime() {
  const now = Date.now() / 1000;
  return [Math.min(now - LEAST_SECONDS, Math.max(now - SHOWN_SECONDS, samples[0][0] ?? now)), now];
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

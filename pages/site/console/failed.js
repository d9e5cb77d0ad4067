// What failed at a consumer: each event with its reason, and what people decide about it.

import { ask, send } from "./api.js";
import { act, confirmed } from "./act.js";
import { addressOf, nameOf } from "./address.js";
import { at, countOf, make, moment, number, say } from "./page.js";

const SHOWN = 100;
const STATES = ["parked", "waiting", "dead"];

let consumer = null; // the one whose events are listed
let state = ""; // the only one that is listed, if one is chosen
let after = 0; // the seq behind which the list begins
let shown = ""; // the answer that is listed

/** Lists what failed at a consumer. Nothing moves while somebody uses the list. */
export async function showFailed(wanted) {
  if (wanted.name !== consumer?.name) begin("");
  consumer = wanted;
  showButtons();
  const query = new URLSearchParams([...(state ? [["state", state]] : []), ["after", after], ["limit", SHOWN]]);
  const path = `/consumers/${wanted.name}/failed?${query}`;
  const has = STATES.some((one) => wanted[one]);
  const text = has ? await (await ask(path)).text() : '{"failed":[],"next_after":null}';
  if (wanted !== consumer || path + text === shown || at("failed").contains(document.activeElement)) return;
  shown = path + text;
  const { failed, next_after: next } = JSON.parse(text);
  at("failed").replaceChildren(...failed.map(entry));
  at("failed-first").hidden = !after;
  at("failed-next").hidden = next === null;
  at("failed-next").dataset.after = next;
  say(at("failed-note"), failed.length ? "" : after ? "No more." : "None.");
}

function begin(wantedState, wantedAfter = 0) {
  [state, after, shown] = [wantedState, wantedAfter, ""];
  at("failed").replaceChildren();
  say(at("failed-outcome"), "");
  say(at("failed-note"), "Loading");
}

function showButtons() {
  for (const button of at("states").children) {
    button.setAttribute("aria-pressed", String(button.dataset.state === state));
    if (button.dataset.state) say(button.lastChild, number(consumer[button.dataset.state]));
  }
  for (const button of at("all-failed").children) button.hidden = !consumer[button.dataset.state];
}

function entry({ seq, topic, event_id, state: own, attempts, reason, first_failed_at: first, last_failed_at: last, due_at: due }) {
  const what = make("div", { class: "what" }, make("span", { class: "topic" }, topic), make("a", { href: addressOf({ open: nameOf({ topic, event_id }) }), class: "id" }, event_id),
    make("span", { class: own === "dead" ? "badge bad" : "badge" }, own), make("span", { class: "seq" }, `#${seq}`));
  const times = make("p", { class: "note" });
  if (own === "waiting") times.append("Waits for an event before it that failed.");
  else times.append(`${number(attempts)} ${attempts === 1 ? "attempt" : "attempts"}, failed `, moment(last), ...(first === last ? [] : [", first ", moment(first)]), ...(own === "dead" ? [": comes no more by itself."] : [": comes again ", moment(due), "."]));
  const button = (step, name) => make("button", { type: "button", "data-step": step, "aria-label": `${name} ${event_id}` }, name);
  const buttons = make("div", { class: "buttons" }, ...(own === "waiting" ? [] : [button("retry", "Retry")]), button("drop", "Drop"));
  return make("li", { "data-seq": seq }, what, ...(reason ? [make("code", {}, reason)] : []), times, buttons);
}

const STEPS = {
  retry: { done: (changed) => `${countOf(changed)} ${changed === 1 ? "comes" : "come"} again at once.` },
  drop: {
    ask: (what) => confirmed(`Drop ${what}?`, "To this consumer it counts as done, and does not come again unless its place is moved back. What waits for it goes on. The events stay in the log.", "Drop"),
    done: (changed) => `${countOf(changed)} dropped.`,
  },
};

/** Takes a step with some events, which `what` names, after it was confirmed where that is asked for. */
function take(step, what, selected) {
  const { name } = consumer;
  return act("failed-outcome", async () => {
    if (STEPS[step].ask && !await STEPS[step].ask(what)) return "";
    const { changed } = await (await send("POST", `/consumers/${name}/${step}`, selected)).json();
    at("failed-heading").focus(); // the button may go
    return STEPS[step].done(changed);
  });
}

at("failed").addEventListener("click", ({ target }) => {
  const { step } = target.dataset;
  if (!step) return;
  const item = target.closest("li");
  take(step, item.querySelector(".id").textContent, { seqs: [Number(item.dataset.seq)] });
});

at("states").append(...["", ...STATES].map((one) => make("button", { type: "button", "data-state": one }, one ? `${one[0].toUpperCase()}${one.slice(1)} ` : "All", ...(one ? [make("span")] : []))));
at("states").addEventListener("click", ({ target }) => {
  const button = target.closest("button");
  if (!button) return;
  begin(button.dataset.state);
  showFailed(consumer);
});

for (const [step, wanted, name] of [["retry", "parked", "Retry all parked"], ["retry", "dead", "Retry all dead"], ["drop", "dead", "Drop all dead"]]) {
  const button = make("button", { type: "button", "data-state": wanted }, name);
  button.addEventListener("click", () => take(step, `${countOf(consumer[wanted])} that ${consumer[wanted] === 1 ? "is" : "are"} ${wanted}`, { state: wanted }));
  at("all-failed").append(button);
}

for (const [id, place] of [["failed-first", () => 0], ["failed-next", () => Number(at("failed-next").dataset.after)]]) {
  at(id).addEventListener("click", () => {
    begin(state, place());
    showFailed(consumer);
  });
}

// An event in a list.

import { payloadOf } from "./api.js";
import { addressOf, nameOf } from "./address.js";
import { make, moment, number } from "./page.js";

const PREVIEW = 240;

/** The entry of an event, which is opened in this search. */
export function entryOf(event, search, kind) {
  const { topic, event_id: id, seq } = event;
  const name = make("a", { href: addressOf({ ...search, open: nameOf(event) }), class: "id" }, id);
  const head = make("div", { class: "what" }, make("span", { class: "topic" }, topic), name);
  if (event.gone) return make("li", {}, head, make("p", { class: "note" }, event.gone));
  if (event.conflicts) head.append(make("span", { class: "badge bad" }, `${number(event.conflicts)} ${event.conflicts === 1 ? "conflict" : "conflicts"}`));
  if (event.deliveries > 1) head.append(make("span", { class: "badge" }, `delivered ${number(event.deliveries)} times`));
  head.append(make("span", { class: "seq" }, `#${seq}`), moment(event.received_at));
  const payload = payloadOf(event);
  const preview = payload.length > PREVIEW ? `${payload.slice(0, PREVIEW)}…` : payload;
  return make("li", { class: kind, "data-seq": seq }, head, make("code", {}, preview));
}

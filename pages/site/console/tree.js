// A JSON value as a tree that opens and closes.

import { make, number } from "./page.js";

const OPEN_DEPTH = 3;
const SHOWN_CHILDREN = 200;

/** A number that JavaScript cannot hold, as it was written. */
class Digits {
  constructor(text) { this.text = text; }
}

/** Parses JSON, and keeps the digits of numbers where the browser tells them. */
export const parse = (text) => JSON.parse(text, (_, value, context) =>
  (typeof value === "number" && context?.source !== undefined && String(value) !== context.source ? new Digits(context.source) : value));

/** The elements of a value that `parse` has made. What is deeper than the first levels is made when it is opened. */
export function tree(value, depth) {
  if (value instanceof Digits) return make("span", { class: "number" }, value.text);
  if (value === null || typeof value !== "object") return make("span", { class: value === null ? "null" : typeof value }, JSON.stringify(value) ?? "");
  const isList = Array.isArray(value);
  const children = Object.entries(value);
  if (!children.length) return make("span", {}, isList ? "[ ]" : "{ }");
  const summary = isList ? `[ ${number(children.length)} ]` : `{ ${number(children.length)} }`;
  const made = make("details", { open: depth < OPEN_DEPTH }, make("summary", {}, summary));
  const items = make("ul");
  const fill = (from) => {
    for (const [key, child] of children.slice(from, from + SHOWN_CHILDREN)) {
      items.append(make("li", {}, make("span", { class: "key" }, isList ? key : JSON.stringify(key)), ": ", tree(child, depth + 1)));
    }
    if (children.length <= from + SHOWN_CHILDREN) return;
    const more = make("button", { type: "button" }, `${number(children.length - from - SHOWN_CHILDREN)} more`);
    more.addEventListener("click", () => { more.parentElement.remove(); fill(from + SHOWN_CHILDREN); });
    items.append(make("li", {}, more));
  };
  const isOpen = depth < OPEN_DEPTH;
  if (isOpen) fill(0);
  else made.addEventListener("toggle", () => { if (!items.children.length) fill(0); });
  made.append(items);
  return made;
}

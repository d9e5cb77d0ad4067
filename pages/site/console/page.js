// What all parts of the page are made of: elements, numbers, times.

export const at = (id) => document.getElementById(id);

/** Makes an element. Texts are never parsed as markup. */
export function make(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null && value !== false) made.setAttribute(attribute, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

/** A button that copies a text. */
export function copying(name, text) {
  const button = make("button", { type: "button" }, name);
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      button.replaceWith(make("pre", { tabindex: "0" }, text)); // without TLS there is no clipboard: then it is shown
    }
    setTimeout(() => { button.textContent = name; }, 2000);
  });
  return button;
}

/** Sets a text, and leaves the page alone where it is the same. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const whole = new Intl.NumberFormat();
const short = new Intl.NumberFormat(undefined, { maximumSignificantDigits: 3, notation: "compact" });
const fine = new Intl.NumberFormat(undefined, { maximumSignificantDigits: 3 });
const tenths = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 });

// Made once: a formatter costs a hundred times what it does.
const dateAndTime = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const timeOnly = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });

/** The time of day of a number of seconds since 1970. */
export const clock = (seconds) => timeOnly.format(seconds * 1000);

/** A count in the reader's locale. */
export const number = (value) => whole.format(value);

/** A count of events. */
export const countOf = (count) => `${number(count)} ${count === 1 ? "event" : "events"}`;

/** A rate a second. */
export const rate = (value) => (value >= 10_000 ? short : value >= 10 ? whole : tenths).format(value >= 10 ? Math.round(value) : value);

/** A size in powers of 1024. */
export function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  for (; value >= 1024 && unit < units.length - 1; unit += 1) value /= 1024;
  return `${fine.format(value)} ${units[unit]}`;
}

/** A time span in its two largest units. */
export function duration(seconds) {
  const [days, hours, minutes] = [seconds / 86400, (seconds / 3600) % 24, (seconds / 60) % 60].map(Math.floor);
  if (days) return `${number(days)} d ${hours} h`;
  if (hours) return `${hours} h ${minutes} min`;
  return minutes ? `${minutes} min ${Math.floor(seconds % 60)} s` : `${Math.floor(seconds)} s`;
}

/** A time of the service in the reader's zone. Hovering shows it as the service gave it, in UTC. */
export function moment(text) {
  if (!text) return make("span", {}, "–");
  const date = new Date(text);
  const local = Number.isNaN(date.getTime()) ? text : dateAndTime.format(date);
  return make("time", { datetime: text, title: text }, local);
}

/** The value of a `datetime-local` input as RFC 3339, or an empty string. */
export const toUtc = (local) => (local && !Number.isNaN(Date.parse(local)) ? new Date(local).toISOString() : "");

/** A time as the value of a `datetime-local` input, or an empty string. */
export function toLocal(utc) {
  const date = new Date(utc);
  if (!utc || Number.isNaN(date.getTime())) return "";
  return new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}

export const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** An id that no other event has. Where the page comes without TLS, browsers have no `randomUUID`. */
export function randomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(8));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

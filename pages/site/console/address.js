// The address of the page is the view: what is looked for, which page of it, which event is open.

const FIELDS = ["topic", "id", "source", "since", "until", "conflicts", "older", "newer", "open"];

/** The present view: an object with a text for each field that is given. */
export function view() {
  const parameters = new URLSearchParams(location.search);
  return Object.fromEntries(FIELDS.filter((field) => parameters.get(field)).map((field) => [field, parameters.get(field)]));
}

/** The address of a view. */
export function addressOf(wanted) {
  const parameters = new URLSearchParams(FIELDS.filter((field) => wanted[field]).map((field) => [field, wanted[field]]));
  return parameters.size ? `/?${parameters}` : "/";
}

/** An event in an address: both parts are escaped, so that the slash between them is the only one. */
export const nameOf = ({ topic, event_id }) => `${encodeURIComponent(topic)}/${encodeURIComponent(event_id)}`;

/** The path by which the service knows an event. */
export const pathOf = (event) => `/events/${nameOf(event)}`;

/** The topic and the id of such a name. */
export function partsOf(name) {
  try {
    const [topic, event_id] = name.split("/").map(decodeURIComponent);
    return event_id === undefined ? null : { topic, event_id };
  } catch {
    return null; // a stray percent sign
  }
}

const watchers = [];

/** Calls back whenever the view has changed. */
export const onView = (watcher) => watchers.push(watcher);

/** Shows a view. */
export function go(wanted) {
  const address = addressOf(wanted);
  if (address !== location.pathname + location.search) history.pushState(null, "", address);
  watchers.forEach((watcher) => watcher(view()));
}

addEventListener("popstate", () => watchers.forEach((watcher) => watcher(view())));

/** Links within the page change the view without loading it again. */
document.addEventListener("click", (click) => {
  const link = click.target.closest?.("a[href]");
  const isPlain = click.button === 0 && !click.ctrlKey && !click.metaKey && !click.shiftKey && !click.altKey;
  if (!link || !isPlain || link.origin !== location.origin || link.pathname !== "/" || location.pathname !== "/") return;
  click.preventDefault();
  history.pushState(null, "", link.href);
  watchers.forEach((watcher) => watcher(view()));
});

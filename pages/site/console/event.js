// One event, opened: all that is known of it, and what can be done with it.

import { ask, tokens } from "./api.js";
import { go, nameOf, onView, partsOf, pathOf, view } from "./address.js";
import { curlToRead, curlToSend } from "./curl.js";
import { at, copying, make, moment, number } from "./page.js";
import { reload } from "./events.js";
import { parse, tree } from "./tree.js";

const dialog = at("event");

let opened = null; // the name of the event in the dialog

async function show(wanted) {
  if (wanted.open === opened) return;
  opened = wanted.open;
  if (!opened) return dialog.close();
  const parts = partsOf(opened);
  at("event-title").textContent = parts ? parts.event_id : "Event";
  at("event-body").replaceChildren(make("p", { class: "note" }, "Loading"));
  if (!dialog.open) dialog.showModal();
  try {
    if (!parts) throw new Error("This address names no event.");
    if ([parts.topic, parts.event_id].some((part) => part === "." || part === "..")) {
      throw new Error("Browsers cannot ask for a path with a part of one or two dots: read this event by /events?topic=.");
    }
    const text = await (await ask(pathOf(parts))).text();
    if (wanted.open === opened) at("event-body").replaceChildren(...described(text));
  } catch (error) {
    if (wanted.open === opened) at("event-body").replaceChildren(make("p", { class: "notice" }, error.message));
  }
}

/** Closing by whatever means takes the event out of the address. */
dialog.addEventListener("close", () => {
  opened = undefined;
  if (view().open) go({ ...view(), open: undefined });
});
dialog.addEventListener("click", (click) => { if (click.target === dialog) dialog.close(); });
onView(show);

function described(text) {
  const event = parse(text);
  return [
    facts(event),
    make("h3", {}, "Payload"), make("div", { class: "tree" }, tree(event.payload, 0)),
    ...(event.attributes ? [make("h3", {}, "Attributes"), make("div", { class: "tree" }, tree(event.attributes, 0))] : []),
    ...(event.rival === undefined ? [] : [make("h3", {}, "The newest payload that was refused"), make("div", { class: "tree", id: "rival" }, tree(event.rival, 0))]),
    make("details", { class: "raw" }, make("summary", {}, "As the service gives it"), make("pre", { tabindex: "0" }, text)),
    actions(event, text),
    erasure(event),
  ];
}

function facts({ topic, event_id: id, seq, source, timestamp, received_at: received, deliveries, conflicts }) {
  const both = (time) => make("span", {}, moment(time), make("span", { class: "utc" }, time));
  const rows = [
    ["Topic", topic], ["Event id", id], ["Seq", number(seq)], ["Source", source ?? "none"], ["Event time", both(timestamp)], ["Received", both(received)],
    ["Deliveries", deliveries === 1 ? "one, which was stored" : `${number(deliveries)}: the first was stored, the others were dropped`],
    ["Conflicts", conflicts ? `${number(conflicts)}: so many of them came with other content` : "none"],
  ];
  return make("dl", { class: "facts" }, ...rows.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
}

// What can be done with it.

function actions(event, text) {
  const again = event.attributes ? [] : [copying("Copy curl to send it again", curlToSend({ ...event, text }))];
  const link = new URL(location.href);
  link.search = new URLSearchParams({ open: nameOf(event) });
  return make("div", { class: "buttons" }, copying("Copy curl to read it", curlToRead(event)), ...again, copying("Copy link", link.href));
}

function erasure(event) {
  const token = make("input", { type: "password", id: "erase-token", autocomplete: "off", required: true });
  token.value = tokens.get("admin");
  const outcome = make("p", { class: "outcome", role: "status" });
  const button = make("button", { type: "submit", class: "danger" }, "Erase for good");
  const form = make("form", { class: "erase" },
    make("p", {}, "Its payload, source, attributes and time go from the store and its files, and cannot be brought back. Its id stays known: a later delivery is a duplicate."),
    make("label", { for: "erase-token" }, "Token to erase"), token, button, outcome);
  form.addEventListener("submit", async (submit) => {
    submit.preventDefault();
    tokens.set("admin", token.value);
    button.disabled = true;
    try {
      await ask(pathOf(event), { kind: "admin", method: "DELETE" });
      if (form.isConnected) at("event-body").replaceChildren(make("p", { role: "status" }, "Erased. The counts keep it, its content is gone."));
      reload();
    } catch (error) {
      outcome.textContent = error.message;
      button.disabled = false;
    }
  });
  return make("details", { class: "erasure" }, make("summary", {}, "Erase"), form);
}

// The dialog of tokens, which all pages of the console have.

import { tokens } from "./api.js";
import { at, make } from "./page.js";

const KINDS = { read: "To read", publish: "To publish", admin: "To erase" };

let used = () => {}; // called after other tokens were entered

/** Says whom to tell that other tokens were entered. */
export const onTokens = (callback) => { used = callback; };

function field(kind, label) {
  const id = `${kind}_token`;
  const input = make("input", { id, type: "password", autocomplete: "off", pattern: "[!-~]*", title: "letters, digits and signs of ASCII, without spaces", "aria-describedby": "about-tokens" });
  return [make("label", { for: id }, label), input];
}

const form = make("form", { id: "access", method: "dialog", autocomplete: "off" },
  ...Object.entries(KINDS).flatMap(([kind, label]) => field(kind, label)),
  make("div", { class: "buttons" }, make("button", { type: "submit", value: "use" }, "Use"), make("button", { type: "submit", value: "", formnovalidate: true }, "Cancel")));
const dialog = make("dialog", { id: "tokens", "aria-labelledby": "tokens-title" },
  make("h2", { id: "tokens-title" }, "Tokens"),
  make("p", { class: "note", id: "about-tokens" }, "Needed only where the service asks for them. They are kept in this tab until it is closed."),
  form);
document.body.append(dialog);

at("open-tokens").addEventListener("click", () => {
  for (const kind of Object.keys(KINDS)) at(`${kind}_token`).value = tokens.get(kind);
  dialog.showModal();
});
form.addEventListener("submit", (submit) => {
  if (submit.submitter?.value !== "use") return;
  for (const kind of Object.keys(KINDS)) tokens.set(kind, at(`${kind}_token`).value);
  used();
});

// What people do here: it is asked for once more where it cannot be undone, done, and told.

import { at, make, say } from "./page.js";

const text = make("p", { id: "confirm-text" });
const title = make("h2", { id: "confirm-title" });
const yes = make("button", { type: "submit", value: "yes" });
const dialog = make("dialog", { id: "confirm", "aria-labelledby": "confirm-title", "aria-describedby": "confirm-text" }, title, text,
  make("form", { method: "dialog" }, make("div", { class: "buttons" }, yes, make("button", { type: "submit", value: "" }, "Cancel"))));
document.body.append(dialog);

/** Asks a question, and answers true if the button was pressed that does it. */
export function confirmed(question, consequence, button) {
  say(title, question);
  say(text, consequence);
  say(yes, button);
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true }));
}

let acted = () => {}; // called after everything that was done
let isActing = false;

/** Says whom to tell that something was done. */
export const onAct = (callback) => { acted = callback; };

/** Does something, one thing at a time, and says what came of it: the text that it returns, or why it was refused. */
export async function act(outcome, action) {
  if (isActing) return;
  isActing = true;
  const tell = (quality, content) => {
    say(at(outcome), content);
    at(outcome).className = quality;
  };
  tell("soft", "One moment");
  try {
    tell("good", await action());
  } catch (error) {
    tell("bad", error.message);
  }
  isActing = false;
  await acted();
}

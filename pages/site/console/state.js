// How the page stands with the service: connected, or why not.

import { Refusal } from "./api.js";
import { at, say } from "./page.js";

function show(name, text, problem = "") {
  at("state").dataset.state = name;
  say(at("state"), text);
  say(at("notice"), problem);
  at("notice").hidden = !problem;
}

/** True for a request that was refused for want of a token. */
export const isLocked = (error) => error instanceof Refusal && error.status === 401;

/** Shows that the service has answered. */
export const showConnected = () => show("good", "Connected");

/** Shows why it has not. */
export function showFault(error) {
  if (isLocked(error)) show("bad", "Token needed", "This service asks for a token to read. Enter it under Tokens.");
  else if (error instanceof Refusal) show("bad", "Refused", error.message);
  else show("bad", "Disconnected", `${error.message} The numbers below are the last that it told. This page tries again by itself.`);
}

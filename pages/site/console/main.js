// The console: it asks for the account and the state again and again, and tells when it cannot.

import { ask, Refusal, tokens } from "./api.js";
import { go, view } from "./address.js";
import { at, pause, say } from "./page.js";
import { isEmpty, showAccount } from "./account.js";
import { showTopics } from "./topics.js";
import { refreshService } from "./service.js";
import { onPublished } from "./publish.js";
import { reload, retry } from "./events.js";
import "./event.js";
import "./demo.js";

const REFRESH_MS = 2000;
const SERVICE_EVERY = 2; // refreshes

function state(name, text, problem = "") {
  at("state").dataset.state = name;
  say(at("state"), text);
  say(at("notice"), problem);
  at("notice").hidden = !problem;
}

async function refresh({ withService = false } = {}) {
  let stats;
  try {
    stats = await (await ask(isEmpty() ? "/stats?history=10m" : "/stats")).json();
    showAccount(stats);
    showTopics(stats);
    state("good", "Connected");
    retry();
  } catch (error) {
    if (error instanceof Refusal && error.status === 401) {
      state("bad", "Token needed", "This service asks for a token to read. Enter it under Tokens.");
      say(at("topics-note"), "Reading needs a token.");
    } else {
      const isRefused = error instanceof Refusal;
      state("bad", isRefused ? "Refused" : "Disconnected", isRefused ? error.message : `${error.message} The numbers below are the last that it told. This page tries again by itself.`);
    }
  }
  if (withService) await refreshService(stats?.uptime);
}

async function keepRefreshing() {
  for (let count = 0; ; count += 1) {
    if (!document.hidden) await refresh({ withService: count % SERVICE_EVERY === 0 });
    await pause(REFRESH_MS);
  }
}

at("open-tokens").addEventListener("click", () => {
  for (const kind of tokens.kinds) at(`${kind}_token`).value = tokens.get(kind);
  at("tokens").showModal();
});
at("access").addEventListener("submit", (submit) => {
  if (submit.submitter?.value !== "use") return;
  for (const kind of tokens.kinds) tokens.set(kind, at(`${kind}_token`).value);
  refresh({ withService: true });
  reload();
});

onPublished(() => refresh());
go(view());
keepRefreshing();

// The console: it asks for the account and the state again and again, and tells when it cannot.

import { ask } from "./api.js";
import { onTokens } from "./access.js";
import { go, view } from "./address.js";
import { at, pause, say } from "./page.js";
import { isLocked, showConnected, showFault } from "./state.js";
import { isBehind, showAccount } from "./account.js";
import { showTopics } from "./topics.js";
import { refreshService } from "./service.js";
import { onPublished } from "./publish.js";
import { reload, retry } from "./events.js";
import "./event.js";
import "./demo.js";

const REFRESH_MS = 2000;
const SERVICE_EVERY = 2; // refreshes

async function refresh({ withService = false } = {}) {
  let stats;
  try {
    stats = await (await ask(isBehind() ? "/stats?history=24h" : "/stats")).json();
    showAccount(stats);
    showTopics(stats);
    showConnected();
    retry();
  } catch (error) {
    showFault(error);
    if (isLocked(error)) say(at("topics-note"), "Reading needs a token.");
  }
  if (withService) await refreshService(stats?.uptime);
}

async function keepRefreshing() {
  for (let count = 0; ; count += 1) {
    if (!document.hidden) await refresh({ withService: count % SERVICE_EVERY === 0 });
    await pause(REFRESH_MS);
  }
}

onTokens(() => {
  refresh({ withService: true });
  reload();
});
onPublished(() => refresh());
go(view());
keepRefreshing();

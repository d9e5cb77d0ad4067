// Commands of a shell that do what the page does.

import { payloadOf, tokens } from "./api.js";
import { pathOf } from "./address.js";

/** A text that a shell takes as one word. */
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** Reads an event. */
export function curlToRead(event) {
  const header = tokens.get("read") ? ' -H "authorization: Bearer $READ_TOKEN"' : "";
  return `curl${header} ${quoted(location.origin + pathOf(event))}`;
}

/** Makes a consumer. */
export function curlToMake(name, specification) {
  const header = tokens.get("read") ? ' -H "authorization: Bearer $READ_TOKEN"' : "";
  return `curl -X PUT${header} --json ${quoted(JSON.stringify(specification))} ${quoted(`${location.origin}/consumers/${name}`)}`;
}

/** Sends an event as it was sent. */
export function curlToSend(event) {
  const { topic, event_id, timestamp, source } = event;
  const head = JSON.stringify({ topic, event_id, timestamp, ...(source === null ? {} : { source }) });
  const header = tokens.get("publish") ? ' -H "authorization: Bearer $PUBLISH_TOKEN"' : "";
  return `curl${header} --json ${quoted(`${head.slice(0, -1)},"payload":${payloadOf(event)}}`)} ${quoted(`${location.origin}/publish`)}`;
}

// Signs a delivery as a provider would: the fields of a receiver say where the signature stands and what is signed. It is
// the other side of what the service does in src/receivers.

const encoder = new TextEncoder();
const HASHES = { "hmac-sha1": "SHA-1", "hmac-sha256": "SHA-256", "hmac-sha512": "SHA-512" };

/** True for an algorithm whose deliveries only the owner of a private key can sign: the service has the public one. */
export const hasPrivateKey = ({ algorithm }) => ["ed25519", "ecdsa-p256"].includes(algorithm);

/**
 * The request that delivers a body with these headers: `{ target, headers, body }`. Without a secret it is forged: it is
 * signed with one that nobody else has.
 */
export async function signed(receiver, { headers, body }, secret, now = Date.now()) {
  const request = { headers: { ...headers }, query: new URLSearchParams(), fields: [], body };
  const { signature, signed_at: at } = receiver;
  if (signature) {
    const time = String(at?.unit === "ms" ? now : Math.floor(now / 1000));
    if (at) put(request, at, time);
    const made = await sign(receiver, secret, await valuesOf(receiver, request, time), request.body);
    const text = `${signature.prefix ?? ""}${encoded(made, signature.encoding ?? (receiver.algorithm === "plain" ? "utf8" : "hex"))}`;
    const items = [...request.fields, signature.field ? `${signature.field}=${text}` : text];
    put(request, signature, items.join(signature.split ?? ""));
  }
  const query = request.query.size ? `?${request.query}` : "";
  return { target: receiver.path + query, headers: request.headers, body: request.body };
}

/** The header of a place, if that is one: of those whose names begin so, the first. */
export const headerOf = ({ header }) => header?.replace(/\*$/, "1").toLowerCase();

/** Puts a text where a place says. */
function put(request, place, text) {
  if (place.header) request.headers[headerOf(place)] = text;
  else if (place.query) request.query.set(place.query, text);
  else if (place.field) request.fields.push(`${place.field}=${text}`);
  else request.body = withValue(request.body, place.json, text);
}

/** JSON with another value at a place: a number where a number was. */
function withValue(json, pointer, text) {
  const document = JSON.parse(json);
  const path = parts(pointer);
  const parent = path.slice(0, -1).reduce((value, part) => value?.[part], document);
  if (parent === null || typeof parent !== "object") throw new Error(`The body has no place for ${pointer}.`);
  const isNumber = typeof parent[path.at(-1)] === "number";
  parent[path.at(-1)] = isNumber ? Number(text) : text;
  return JSON.stringify(document, null, 2);
}

const parts = (pointer) => pointer.split("/").slice(1).map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));

// Templates.

/** A template filled in. `value` gives the text of a name, or undefined; of several names the first that is there counts. */
export function fill(template, value) {
  return template.replaceAll(/\{\{|\}\}|\{([^{}]*)\}/g, (whole, names) => {
    if (names === undefined) return whole[0];
    const found = names.split("|").map((name) => (name === "" ? "" : value(name))).find((text) => text !== undefined);
    if (found === undefined) throw new Error(`The sample has nothing for {${names}}, which is signed.`);
    return found;
  });
}

/** The values that a template of what is signed may name. */
async function valuesOf(receiver, { headers, query, fields, body }, time) {
  const sha256 = hex(await crypto.subtle.digest("SHA-256", encoder.encode(body)));
  const url = urlOf(receiver, query);
  const named = { hook: receiver.name, timestamp: time, method: "POST", url, body, sha256 };
  return (name) => {
    const [, kind, rest] = /^(header|json|field):(.*)$/s.exec(name) ?? [];
    if (kind === "header") return headers[rest.toLowerCase()];
    if (kind === "json") return scalar(body, rest);
    if (kind === "field") return fields.map((field) => field.split(/=(.*)/s)).find(([field]) => field === rest)?.[1];
    return named[name];
  };
}

/** The URL that is signed: the configured one, with the query of the request if it has none. */
function urlOf({ public_url: url }, query) {
  return url && query.size && !url.includes("?") ? `${url}?${query}` : url;
}

/** A text, number or boolean of JSON, the number as it is written. A body that is no JSON has none. */
function scalar(body, pointer) {
  const asWritten = (_, value, context) => (typeof value === "number" ? context?.source ?? String(value) : value);
  let document;
  try {
    document = JSON.parse(body, asWritten);
  } catch {
    return undefined;
  }
  const found = parts(pointer).reduce((value, part) => value?.[part], document);
  return ["string", "boolean"].includes(typeof found) ? String(found) : undefined;
}

// Signatures, each as bytes.

async function sign({ algorithm, signed: template, key, public_url: url }, secret, value, body) {
  const isForged = secret === undefined;
  if (algorithm === "ed25519" || algorithm === "ecdsa-p256") {
    const privateKey = isForged ? await anyKey(algorithm) : await keyOf(algorithm, secret);
    const made = await crypto.subtle.sign(parameters(algorithm), privateKey, encoder.encode(fill(template, value)));
    return algorithm === "ed25519" ? made : inDer(new Uint8Array(made));
  }
  const bytes = isForged ? encoder.encode(hex(crypto.getRandomValues(new Uint8Array(16)))) : secretOf(key, secret);
  if (algorithm === "plain") return bytes;
  if (algorithm === "twilio") return hmac("SHA-1", bytes, value("url") + formOf(body));
  if (!HASHES[algorithm]) throw new Error(`This page does not know the algorithm ${algorithm}.`);
  return hmac(HASHES[algorithm], bytes, fill(template, value));
}

async function hmac(hash, secret, text) {
  const key = await crypto.subtle.importKey("raw", secret, { name: "HMAC", hash }, false, ["sign"]);
  return crypto.subtle.sign("HMAC", key, encoder.encode(text));
}

/** The fields of a form as Twilio signs them: by name, each name followed by its values, and none twice. */
function formOf(body) {
  const byNameAndValue = ([a, x], [b, y]) => (a === b ? (x < y ? -1 : 1) : a < b ? -1 : 1);
  const pairs = [...new URLSearchParams(body)].sort(byNameAndValue).map(([name, value]) => name + value);
  return [...new Set(pairs)].join("");
}

/** A secret as the receiver's field `key` says. */
function secretOf({ encoding = "utf8", strip = "" } = {}, secret) {
  const text = (secret.startsWith(strip) ? secret.slice(strip.length) : secret).trim();
  if (!text) throw new Error("The secret is needed to sign.");
  if (encoding === "base64") return fromBase64(text);
  return encoding === "hex" ? fromHex(text) : encoder.encode(text);
}

const parameters = (algorithm) => (algorithm === "ed25519" ? { name: "Ed25519" } : { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" });

async function anyKey(algorithm) {
  return (await crypto.subtle.generateKey(parameters(algorithm), false, ["sign", "verify"])).privateKey;
}

/** What stands before the seed of a key of Ed25519 in PKCS #8 (RFC 8410, section 7). */
const BEFORE_SEED = "302e020100300506032b657004220420";

/** A private key: a JWK, PKCS #8 in PEM or base64, or the 32 bytes of Ed25519 in hexadecimal. */
async function keyOf(algorithm, secret) {
  const text = secret.trim();
  if (!text) throw new Error("The private key is needed to sign.");
  try {
    if (text.startsWith("{")) return await crypto.subtle.importKey("jwk", JSON.parse(text), parameters(algorithm), false, ["sign"]);
    const isSeed = algorithm === "ed25519" && /^[0-9a-f]{64}$/i.test(text);
    const pkcs8 = isSeed ? fromHex(BEFORE_SEED + text) : fromBase64(text.replaceAll(/-----[^-]*-----|\s/g, ""));
    return await crypto.subtle.importKey("pkcs8", pkcs8, parameters(algorithm), false, ["sign"]);
  } catch (error) {
    throw new Error(`This is no private key for ${algorithm}, or this browser does not know the algorithm.`, { cause: error });
  }
}

/** A signature of two numbers of 32 bytes in DER, which browsers make without it (RFC 3279, section 2.2.3). */
function inDer(signature) {
  const integer = (bytes) => {
    const from = bytes.findIndex((byte) => byte !== 0);
    const least = bytes.slice(from);
    const positive = least[0] >= 0x80 ? [0, ...least] : [...least];
    return [0x02, positive.length, ...positive];
  };
  const both = [...integer(signature.slice(0, 32)), ...integer(signature.slice(32))];
  return new Uint8Array([0x30, both.length, ...both]);
}

// Encodings.

const hex = (bytes) => Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, "0")).join("");

function encoded(made, encoding) {
  const bytes = new Uint8Array(made);
  if (encoding === "hex") return hex(bytes);
  return encoding === "base64" ? btoa(String.fromCharCode(...bytes)) : new TextDecoder().decode(bytes);
}

function fromHex(text) {
  if (!/^([0-9a-f]{2})+$/i.test(text)) throw new Error("This secret is not in hexadecimal.");
  return Uint8Array.from(text.match(/../g), (pair) => Number.parseInt(pair, 16));
}

function fromBase64(text) {
  try {
    return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  } catch {
    throw new Error("This secret is not in base64.");
  }
}

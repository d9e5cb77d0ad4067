// vendors.py, for packages from npm.

import { readFileSync } from "node:fs";
import { createHmac } from "node:crypto";
import { LinearWebhookClient } from "@linear/sdk/webhooks";
import { sign, verify } from "@octokit/webhooks-methods";
import "@shopify/shopify-api/adapters/node";
import { ApiVersion, shopifyApi } from "@shopify/shopify-api";
import { assertValidSignature, encodeSignatureHeader } from "@sanity/webhook";
import { createSHA256HMAC } from "@shopify/shopify-api/runtime";
import { AwsLambdaReceiver } from "@zoom/rivet/accounts";
import { Webhook as Standard } from "standardwebhooks";
import { Webhook as Svix } from "svix";

// Where the answer of this program goes, a package of Zoom's would tell what it does.
console.debug = () => {};

const check = (holds) => {
  if (!holds) throw new Error("a package does not verify what it signed");
};

const standard = (Webhook, prefix) => (delivery, at) => {
  const webhook = new Webhook(delivery.secret);
  const signature = webhook.sign(delivery.id, at, delivery.body);
  const time = String(Math.floor(at / 1000));
  const headers = { [`${prefix}-id`]: delivery.id, [`${prefix}-timestamp`]: time, [`${prefix}-signature`]: signature };
  webhook.verify(delivery.body, headers);
  return headers;
};

const octokit = (name) => async ({ secret, body }) => {
  const signature = await sign(secret, body);
  check(await verify(secret, body, signature));
  return { [name]: signature };
};

const shopify = (name) => async ({ secret, body, headers }) => {
  const { webhooks } = shopifyApi({
    apiKey: "key",
    apiSecretKey: secret,
    apiVersion: ApiVersion.July26,
    hostName: "inbox.example",
    isEmbeddedApp: false,
    logger: { log() {} },
  });
  const hmac = await createSHA256HMAC(secret, body);
  const rawRequest = { method: "POST", url: "/", headers: { ...headers, [name]: hmac } };
  const checked = await webhooks.validate({ rawBody: body, rawRequest, rawResponse: {} });
  if (!checked.valid) throw new Error(JSON.stringify(checked));
  return { [name]: hmac };
};

const packages = {
  standardwebhooks: standard(Standard, "webhook"),
  svix: standard(Svix, "svix"),
  github: octokit("x-hub-signature-256"),
  // Jira and Bitbucket sign as GitHub does, under another name.
  hub: octokit("x-hub-signature"),
  async sanity({ secret, body }, at) {
    const signature = await encodeSignatureHeader(body, at.getTime(), secret);
    await assertValidSignature(body, signature, secret);
    return { "sanity-webhook-signature": signature };
  },
  shopify: shopify("x-shopify-hmac-sha256"),
  shopifyEvents: shopify("shopify-hmac-sha256"),
  // There is no package of WooCommerce's.
  woocommerce: ({ secret, body }) => ({
    "x-wc-webhook-signature": createHmac("sha256", secret).update(body).digest("base64"),
  }),
  async zoom({ secret, body }, at) {
    // The package only verifies, and answers a challenge.
    const time = String(Math.floor(at / 1000));
    const signature = `v0=${createHmac("sha256", secret).update(`v0:${time}:${body}`).digest("hex")}`;
    const headers = { "x-zm-request-timestamp": time, "x-zm-signature": signature };
    const answer = await new AwsLambdaReceiver({ webhooksSecretToken: secret }).start()({ body, headers });
    check(answer.statusCode === 200);
    return { ...headers, "=": answer.body };
  },
  linear({ secret, body }) {
    // The package only verifies.
    const signature = createHmac("sha256", secret).update(body).digest("hex");
    check(new LinearWebhookClient(secret).verify(Buffer.from(body), signature));
    return { "linear-signature": signature };
  },
};

const deliveries = JSON.parse(readFileSync(0, "utf8"));
const signed = deliveries.map((delivery) => {
  const at = new Date(Date.now() - delivery.age * 1000);
  return packages[delivery.package.slice("npm/".length)](delivery, at);
});
process.stdout.write(JSON.stringify(await Promise.all(signed)));

// verify.py, for packages from npm.

import { readFileSync } from "node:fs";
import { LinearWebhookClient } from "@linear/sdk/webhooks";
import { verify } from "@octokit/webhooks-methods";
import "@shopify/shopify-api/adapters/node";
import { ApiVersion, shopifyApi } from "@shopify/shopify-api";
import { AwsLambdaReceiver } from "@zoom/rivet/accounts";
import { Webhook as Standard } from "standardwebhooks";
import { Webhook as Svix } from "svix";

console.debug = () => {};

// These two tell by an error.
const throwing = (Webhook) => ({ secret, body, headers }) => {
  new Webhook(secret).verify(body, headers);
  return true;
};

const packages = {
  standardwebhooks: throwing(Standard),
  svix: throwing(Svix),
  github: ({ secret, body, headers }) => verify(secret, body, headers["x-hub-signature-256"]),
  hub: ({ secret, body, headers }) => verify(secret, body, headers["x-hub-signature"]),
  async shopify({ secret, body, headers }) {
    const { webhooks } = shopifyApi({
      apiKey: "key",
      apiSecretKey: secret,
      apiVersion: ApiVersion.July26,
      hostName: "inbox.example",
      isEmbeddedApp: false,
      logger: { log() {} },
    });
    const rawRequest = { method: "POST", url: "/", headers };
    return (await webhooks.validate({ rawBody: body, rawRequest, rawResponse: {} })).valid;
  },
  async zoom({ secret, body, headers }) {
    const receiver = new AwsLambdaReceiver({ webhooksSecretToken: secret });
    return (await receiver.start()({ body, headers })).statusCode === 200;
  },
  linear: ({ secret, body, headers }) =>
    new LinearWebhookClient(secret).verify(
      Buffer.from(body),
      headers["linear-signature"],
      JSON.parse(body).webhookTimestamp,
    ),
};

for (const delivery of JSON.parse(readFileSync(0, "utf8"))) {
  if (!(await packages[delivery.package.slice("npm/".length)](delivery))) {
    throw new Error(`${delivery.package} does not verify ${JSON.stringify(delivery)}`);
  }
}

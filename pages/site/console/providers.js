// What is known of the provider of each kind: where it is told of a receiver, which events to choose there, and samples of
// its deliveries. The samples have the names of fields that the provider has, and ids and times that are new each time.

/** What is new in each sample: ids that no other has, and the present moment. */
export function fresh(now = Date.now()) {
  const number = crypto.getRandomValues(new Uint32Array(1))[0];
  const uuid = crypto.randomUUID();
  return { number, uuid, id: uuid.replaceAll("-", ""), ms: now, seconds: Math.floor(now / 1000), time: new Date(now).toISOString() };
}

const json = (body, headers = {}) => ({ headers: { "content-type": "application/json", ...headers }, body: JSON.stringify(body, null, 2) });
const form = (fields, headers = {}) => ({ headers: { "content-type": "application/x-www-form-urlencoded", ...headers }, body: String(new URLSearchParams(fields)) });

/** The samples of kinds whose senders are anybody. */
const ANYBODY = {
  where: "Wherever the sender takes a URL.",
  events: "All that you want to keep. Each needs an id of its own: in the header idempotency-key or webhook-id, or in the body as id.",
  samples: { "order.placed": ({ id, time }) => json({ id, type: "order.placed", created_at: time, data: { order: 1042, total: "25.00" } }) },
};

const standard = (prefix) => ({ id, time, number }) =>
  json({ type: "invoice.paid", timestamp: time, data: { id: `inv_${number}`, amount: 2500, currency: "EUR" } }, { [`${prefix}-id`]: `msg_${id}` });

export const PROVIDERS = {
  standard: {
    where: "Where the provider lists its webhook endpoints. Its secret begins with whsec_.",
    events: "Those that you act on: each has a type, which becomes a topic.",
    samples: { "invoice.paid": standard("webhook") },
  },
  svix: {
    where: "The provider's portal of endpoints: Add Endpoint.",
    events: "Those that you act on, or all.",
    samples: { "invoice.paid": standard("svix") },
  },
  stripe: {
    where: "Workbench, Webhooks, Add destination: an endpoint URL.",
    events: "Those that you act on, such as checkout.session.completed, invoice.paid and charge.refunded. Choose snapshot payloads.",
    samples: {
      "payment_intent.succeeded": ({ id, seconds }) => json({
        id: `evt_${id}`, object: "event", api_version: "2025-10-29.clover", created: seconds, livemode: false, pending_webhooks: 1, type: "payment_intent.succeeded",
        request: { id: null, idempotency_key: null }, data: { object: { id: "pi_3Sample", object: "payment_intent", amount: 2500, currency: "eur", status: "succeeded" } },
      }),
    },
  },
  github: {
    where: "Settings, Webhooks, Add webhook, of a repository or an organisation. Content type: application/json.",
    events: "Let me select individual events: pushes, pull requests, releases and what else you act on.",
    samples: {
      push: ({ uuid, id }) => json({
        ref: "refs/heads/main", before: "0".repeat(40), after: id.padEnd(40, "0"), created: false, deleted: false, forced: false,
        repository: { id: 1296269, full_name: "octo-org/octo-repo", private: false }, pusher: { name: "octocat" }, commits: [{ id: id.padEnd(40, "0"), message: "A sample" }],
      }, { "x-github-event": "push", "x-github-delivery": uuid, "x-github-hook-id": "1" }),
      ping: ({ uuid }) => json({ zen: "Keep it logically awesome.", hook_id: 1, repository: { id: 1296269, full_name: "octo-org/octo-repo" } }, { "x-github-event": "ping", "x-github-delivery": uuid, "x-github-hook-id": "1" }),
    },
  },
  gitlab: {
    where: "Settings, Webhooks, Add new webhook, of a project or a group. The secret is its secret token.",
    events: "Push events, merge request events, pipeline events and what else you act on.",
    samples: {
      push: ({ uuid, id }) => json({
        object_kind: "push", event_name: "push", ref: "refs/heads/main", before: "0".repeat(40), after: id.padEnd(40, "0"), user_username: "jsmith",
        project: { id: 15, path_with_namespace: "group/project", default_branch: "main" }, commits: [], total_commits_count: 0,
      }, { "x-gitlab-event": "Push Hook", "x-gitlab-event-uuid": uuid, "idempotency-key": uuid }),
    },
  },
  shopify: {
    where: "Settings, Notifications, Webhooks, or the app's shopify.app.toml. Format: JSON.",
    events: "Orders, products, customers and what else you act on. Apps need those of the compliance topics, too.",
    samples: {
      "orders/create": ({ uuid, number, time }) => json({ id: number, name: "#1042", created_at: time, updated_at: time, currency: "EUR", total_price: "25.00", line_items: [{ id: 1, title: "A sample", quantity: 1 }] },
        { "x-shopify-topic": "orders/create", "x-shopify-webhook-id": uuid, "x-shopify-shop-domain": "sample.myshopify.com", "x-shopify-triggered-at": time }),
    },
  },
  slack: {
    where: "The app's Event Subscriptions: Request URL. It is verified at once. The secret is the Signing Secret of Basic Information.",
    events: "Subscribe to bot events, such as message.channels and app_mention.",
    samples: {
      message: ({ id, seconds }) => json({
        team_id: "T0SAMPLE", api_app_id: "A0SAMPLE", type: "event_callback", event_id: `Ev${id.slice(0, 9).toUpperCase()}`, event_time: seconds,
        event: { type: "message", channel: "C0SAMPLE", user: "U0SAMPLE", text: "A sample", ts: `${seconds}.000100`, event_ts: `${seconds}.000100`, channel_type: "channel" },
      }),
      "url_verification, the handshake": ({ id }) => json({ type: "url_verification", token: "sample", challenge: id }),
    },
  },
  linear: {
    where: "Settings, API, Webhooks, New webhook.",
    events: "Data change events: issues, comments, projects and what else you act on.",
    samples: {
      "Issue.create": ({ uuid, ms, time }) => json({
        action: "create", type: "Issue", createdAt: time, organizationId: "0e1f2a3b-0000-4000-8000-000000000001", webhookId: "0e1f2a3b-0000-4000-8000-000000000002", webhookTimestamp: ms,
        url: "https://linear.app/sample/issue/SAM-1", data: { id: uuid, identifier: "SAM-1", title: "A sample", priority: 2 },
      }, { "linear-delivery": uuid, "linear-event": "Issue" }),
    },
  },
  paddle: {
    where: "Developer tools, Notifications, New destination: a URL.",
    events: "Those that you act on, such as transaction.completed and the subscription events.",
    samples: {
      "transaction.completed": ({ id, time }) => json({ event_id: `evt_${id.slice(0, 26)}`, event_type: "transaction.completed", occurred_at: time, notification_id: `ntf_${id.slice(0, 26)}`, data: { id: "txn_sample", status: "completed", currency_code: "EUR" } }),
    },
  },
  square: {
    where: "Developer Console, Webhooks, Subscriptions, Add subscription. The URL there has to be public_url, letter by letter: it is signed.",
    events: "Those that you act on, such as payment.updated and order.created.",
    samples: {
      "payment.updated": ({ uuid, time }) => json({ merchant_id: "MSAMPLE", type: "payment.updated", event_id: uuid, created_at: time, data: { type: "payment", id: "sample", object: { payment: { id: "sample", status: "COMPLETED" } } } }),
    },
  },
  hubspot: {
    where: "The app's Webhooks: Target URL. It has to be public_url, letter by letter: it is signed.",
    events: "Subscriptions to what you act on, such as contact.creation. One request brings many events.",
    samples: {
      "contact.creation, two of them": ({ number, ms }) => json([1, 2].map((n) => (
        { eventId: number + n, subscriptionId: 11, portalId: 33, appId: 44, occurredAt: ms, subscriptionType: "contact.creation", attemptNumber: 0, objectId: 100 + n, changeFlag: "CREATED", changeSource: "CRM" }))),
    },
  },
  jira: {
    where: "Settings, System, WebHooks, Create a WebHook, with a secret.",
    events: "Issue created, updated, deleted and what else you act on. Do not exclude the body.",
    samples: {
      "jira:issue_created": ({ uuid, ms }) => json({ timestamp: ms, webhookEvent: "jira:issue_created", issue: { id: "10002", key: "SAM-1", fields: { summary: "A sample" } } }, { "x-atlassian-webhook-identifier": uuid }),
    },
  },
  bitbucket: {
    where: "Repository settings, Webhooks, Add webhook, with a secret.",
    events: "Repository push, pull request created and what else you act on.",
    samples: {
      "repo:push": ({ uuid }) => json({ repository: { full_name: "team/sample", type: "repository" }, actor: { display_name: "A sample" }, push: { changes: [] } }, { "x-request-uuid": uuid, "x-event-key": "repo:push", "x-hook-uuid": uuid }),
    },
  },
  meta: {
    where: "The app's Webhooks, or WhatsApp, Configuration: Callback URL, and the receiver's verify_token as Verify token. It is verified at once. The secret is the App secret.",
    events: "Subscribe to fields, such as messages.",
    samples: {
      "messages, of WhatsApp": ({ id, seconds }) => json({
        object: "whatsapp_business_account",
        entry: [{ id: "102290129340398", changes: [{ field: "messages", value: { messaging_product: "whatsapp", metadata: { phone_number_id: "106540352242922" }, messages: [{ from: "16505551234", id: `wamid.${id}`, timestamp: String(seconds), type: "text", text: { body: "A sample" } }] } }] }],
      }),
    },
  },
  zoom: {
    where: "The app's Features, Access, Event Subscriptions: Event notification endpoint URL, then Validate. The secret is the Secret Token.",
    events: "Those that you act on, such as meeting.started and recording.completed.",
    samples: {
      "meeting.started": ({ id, ms, time }) => json({ event: "meeting.started", event_ts: ms, payload: { account_id: "sample", object: { uuid: id, id: "1234567890", host_id: "sample", topic: "A sample", type: 2, start_time: time } } }),
      "endpoint.url_validation, the handshake": ({ id, ms }) => json({ event: "endpoint.url_validation", event_ts: ms, payload: { plainToken: id } }),
    },
  },
  docusign: {
    where: "Settings, Connect, Add Configuration: URL to Publish, format JSON, Include HMAC Signature. The secret is a Connect key.",
    events: "Envelope Sent, Completed, Declined, Voided and what else you act on.",
    samples: {
      "envelope-completed": ({ uuid, time }) => json({ event: "envelope-completed", apiVersion: "v2.1", retryCount: 0, configurationId: 1, generatedDateTime: time, data: { accountId: "0e1f2a3b-0000-4000-8000-000000000001", userId: "0e1f2a3b-0000-4000-8000-000000000002", envelopeId: uuid } }),
    },
  },
  discord: {
    where: "The application's Webhooks: Endpoint URL, or its Interactions Endpoint URL. It is verified at once, also with wrong signatures. The secret here is the Public Key of General Information.",
    events: "Application Authorized, Entitlement Create and what else you act on.",
    samples: {
      APPLICATION_AUTHORIZED: ({ number, time }) => json({ version: 1, application_id: "1234560123453231555", type: 1, event: { type: "APPLICATION_AUTHORIZED", timestamp: time, data: { scopes: ["applications.commands"], user: { id: String(number), username: "sample" } } } }),
      "PING, the handshake": () => json({ version: 1, application_id: "1234560123453231555", type: 0 }),
    },
  },
  sendgrid: {
    where: "Settings, Mail Settings, Event Webhook: Post URL, Enable Signed Event Webhook. The secret here is the Verification Key.",
    events: "Processed, delivered, bounced, opened and what else you act on. One request brings many events.",
    samples: {
      "processed and delivered": ({ id, seconds }) => json(["processed", "delivered"].map((event) => ({ email: "sample@example.com", timestamp: seconds, event, sg_event_id: `${event}-${id}`, sg_message_id: `${id}.sample`, "smtp-id": `<${id}@sample>` }))),
    },
  },
  mailgun: {
    where: "Send, Sending, Webhooks, Add webhook. The secret is the HTTP webhook signing key.",
    events: "Delivered messages, permanent failures and what else you act on: each event type has a list of URLs.",
    samples: {
      delivered: ({ id, uuid, seconds }) => json({ signature: { token: id.padEnd(50, "0"), timestamp: String(seconds), signature: "" }, "event-data": { id: uuid, event: "delivered", timestamp: seconds, recipient: "sample@example.com", message: { headers: { "message-id": `${id}@sample` } } } }),
    },
  },
  intercom: {
    where: "The app's Configure, Webhooks: Endpoint URL. The secret is the Client secret.",
    events: "Topics, such as contact.user.created and conversation.user.replied.",
    samples: {
      "contact.user.created": ({ uuid, seconds }) => json({ type: "notification_event", app_id: "sample", topic: "contact.user.created", id: `notif_${uuid}`, created_at: seconds, delivery_status: "pending", delivery_attempts: 1, delivered_at: 0, first_sent_at: seconds, data: { type: "notification_event_data", item: { type: "contact", id: "sample" } } }),
      "ping, the handshake": ({ seconds }) => json({ type: "notification_event", app_id: "sample", topic: "ping", id: null, created_at: seconds, data: { type: "notification_event_data", item: { type: "ping", message: "A sample" } } }),
    },
  },
  twilio: {
    where: "The number's Messaging or Voice configuration, or StatusCallback of a request. The URL there has to be public_url, letter by letter: it is signed. The secret is the Auth Token.",
    events: "A status callback brings each status of a message or a call.",
    samples: {
      "a delivered message": ({ id, uuid }) => form({ MessageSid: `SM${id}`, SmsSid: `SM${id}`, AccountSid: `AC${"0".repeat(32)}`, From: "+15017122661", To: "+15558675310", Body: "A sample", MessageStatus: "delivered", ApiVersion: "2010-04-01" }, { "i-twilio-idempotency-token": uuid }),
    },
  },
  token: { ...ANYBODY, where: "Wherever the sender takes a URL and a token, which it sends as Authorization: Bearer." },
  basic: { ...ANYBODY, where: "Wherever the sender takes a URL with a user and a password. The secret is user:password." },
  open: { ...ANYBODY, where: "Wherever the sender takes a URL and a header: it sends the service's token to publish as Authorization: Bearer." },
  custom: { ...ANYBODY, where: "Wherever the sender takes a URL.", events: "All that you want to keep. The fields of the receiver say where each has its id." },
};

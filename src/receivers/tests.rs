//! Receivers against the vectors that providers publish, and against what they send in the field.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::{Value as Json, json};

use super::delivery::Delivery;
use super::events::events;
use super::handshake::HandshakeAnswer;
use super::mac::{Hash, hmac};
use super::signature::Refusal;
use super::{Receiver, settings};
use crate::event::NewEvent;
use crate::ingest::{Context, IngestError, UnknownFields};
use crate::limits::Limits;

const CONTEXT: Context = Context {
    limits: Limits {
        max_body_bytes: 1 << 20,
        max_otlp_bytes: 1 << 20,
        max_batch_events: 10,
        max_event_bytes: 100_000,
    },
    partial: false,
    unknown_fields: UnknownFields::Ignored,
};

/// A request to a receiver.
struct Sent {
    receiver: Receiver,
    query: &'static str,
    headers: HeaderMap,
    body: Vec<u8>,
}

fn receiver(fields: &Json) -> Receiver {
    let mut read = settings::read(&json!({"x": fields}).to_string()).unwrap();
    read.remove("x").unwrap()
}

fn sent(fields: Json, headers: &[(&'static str, &str)], body: &[u8]) -> Sent {
    let headers = headers
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()));
    Sent { receiver: receiver(&fields), query: "", headers: headers.collect(), body: body.to_vec() }
}

impl Sent {
    fn delivery(&self) -> Delivery<'_> {
        Delivery::new(&self.receiver, (&Method::POST, self.query), &self.headers, &self.body)
    }

    fn verify(&self, now: u64) -> Result<(), Refusal> {
        let verification = self.receiver.verification.as_ref().unwrap();
        verification.verify(&self.delivery(), Duration::from_secs(now)).map(drop)
    }

    fn try_events(&self) -> Result<Vec<NewEvent>, IngestError> {
        Ok(events(&self.delivery(), &self.body, &self.receiver.layout, &CONTEXT)?.events)
    }

    fn event(&self) -> NewEvent {
        let mut events = self.try_events().unwrap();
        assert_eq!(events.len(), 1);
        events.remove(0)
    }

    fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.insert(name, HeaderValue::from_str(value).unwrap());
        self
    }
}

/// The deliveries and signatures that providers publish, each with a moment at which it is valid.
fn vectors() -> Vec<(&'static str, Sent, u64)> {
    let square_body = r#"{"merchant_id":"MLEFBHHSJGVHD","type":"webhooks.test_notification","event_id":"ac3ac95b-f97d-458c-a6e6-18981597e05f","created_at":"2022-07-13T20:30:59.037339943Z","data":{"type":"webhooks","id":"bc368e64-01aa-407e-b46e-3231809b1129"}}"#;
    let slack_body = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
    let sendgrid_body = "[{\"email\":\"hello@world.com\",\"event\":\"dropped\",\"reason\":\"Bounced Address\",\"sg_event_id\":\"ZHJvcC0xMDk5NDkxOS1MUnpYbF9OSFN0T0doUTRrb2ZTbV9BLTA\",\"sg_message_id\":\"LRzXl_NHStOGhQ4kofSm_A.filterdrecv-p3mdw1-756b745b58-kmzbl-18-5F5FC76C-9.0\",\"smtp-id\":\"<LRzXl_NHStOGhQ4kofSm_A@ismtpd0039p1iad1.sendgrid.net>\",\"timestamp\":1600112492}]\r\n";
    let twilio = json!({"kind": "twilio", "secrets": ["12345"], "public_url": "https://mycompany.com/myapp.php?foo=1&bar=2"});
    let form = ("content-type", "application/x-www-form-urlencoded");
    vec![
        (
            "github",
            sent(
                json!({"kind": "github", "secrets": ["It's a Secret to Everybody"]}),
                &[("x-hub-signature-256", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17")],
                b"Hello, World!",
            ),
            0,
        ),
        (
            "github, octokit",
            sent(
                json!({"kind": "github", "secrets": ["mysecret"]}),
                &[("x-hub-signature-256", "sha256=4864d2759938a15468b5df9ade20bf161da9b4f737ea61794142f3484236bda3")],
                br#"{"foo":"bar"}"#,
            ),
            0,
        ),
        (
            "standard",
            sent(
                json!({"kind": "standard", "secrets": ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]}),
                &[
                    ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
                    ("webhook-timestamp", "1614265330"),
                    ("webhook-signature", "v1a,AAAA v1,AAAA v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
                ],
                br#"{"test": 2432232314}"#,
            ),
            1_614_265_330,
        ),
        (
            "sanity, in the alphabet of base64 for URLs",
            sent(
                json!({
                    "kind": "custom", "secrets": ["very secret"], "signed": "{timestamp}.{body}",
                    "signature": {"header": "sanity-webhook-signature", "split": ",", "field": "v1", "encoding": "base64"},
                    "signed_at": {"field": "t", "unit": "ms"},
                }),
                &[(
                    "sanity-webhook-signature",
                    "t=1633519811129,v1=TeKCj83ChsnQ0XT5NvYfKnhN1VGYS-ZbZbzOIkr2OAw",
                )],
                br#"{"_id":"resume"}"#,
            ),
            1_633_519_811,
        ),
        (
            "slack",
            sent(
                json!({"kind": "slack", "secrets": ["8f742231b10e8888abcd99yyyzzz85a5"]}),
                &[
                    form,
                    ("x-slack-request-timestamp", "1531420618"),
                    ("x-slack-signature", "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"),
                ],
                slack_body.as_bytes(),
            ),
            1_531_420_618,
        ),
        (
            "paddle",
            sent(
                json!({"kind": "paddle", "secrets": [
                    "pdl_ntf_01hbpjmytsa32fhr36nqgc3kgb_TjIG2BXbm83HPXqNfziwe506sBEdqL/4",
                    "pdl_ntf_01hbpjmytsa32fhr36nqgc3kgb_WvRO0eL4Bj9rgYYIBZY6wZhG4EHy9jzh",
                ]}),
                &[(
                    "paddle-signature",
                    "ts=1696195954;h1=dummy;h1=d96299976a6eb066f484d7fde011ac56fc32b38fc9940bc419d6e537fdc6ef02",
                )],
                b"hello-world",
            ),
            1_696_195_954,
        ),
        (
            "square",
            sent(
                json!({
                    "kind": "square", "secrets": ["Ibxx_5AKakO-3qeNVR61Dw"],
                    "public_url": "https://webhook.site/679a4f3a-dcfa-49ee-bac5-9d0edad886b9",
                }),
                &[("x-square-hmacsha256-signature", "GF4YkrJgGBDZ9NIYbNXBnMzqb2HoL4RW/S6vkZ9/2N4=")],
                square_body.as_bytes(),
            ),
            0,
        ),
        (
            "sendgrid",
            sent(
                json!({"kind": "sendgrid", "secrets": ["MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eNEc6wEA3F+g=="]}),
                &[
                    (
                        "x-twilio-email-event-webhook-signature",
                        "MEUCIGHQVtGj+Y3LkG9fLcxf3qfI10QysgDWmMOVmxG0u6ZUAiEAyBiXDWzM+uOe5W0JuG+luQAbPIqHh89M15TluLtEZtM=",
                    ),
                    ("x-twilio-email-event-webhook-timestamp", "1600112502"),
                ],
                sendgrid_body.as_bytes(),
            ),
            0,
        ),
        (
            "twilio",
            sent(
                twilio.clone(),
                &[form, ("x-twilio-signature", "RSOYDt4T1cUTdK1PDd93/VVr8B8=")],
                b"CallSid=CA1234567890ABCDE&Digits=1234&From=%2B14158675309&To=%2B18005551212&Caller=%2B14158675309",
            ),
            0,
        ),
        (
            "twilio, a key for webhooks",
            sent(
                twilio.clone(),
                &[
                    form,
                    ("x-twilio-signature", "uTpKYHj3h2dzjo4G4IA/NogBKnnJyFwcTCuBhc0E43s="),
                    ("x-twilio-webhooks-signature-settings", "key=webhooks_sharedkey_1,algorithm=HMAC_SHA256"),
                ],
                b"CallSid=CA1&Digits=1234",
            ),
            0,
        ),
        (
            "twilio, names that repeat",
            sent(
                twilio.clone(),
                &[form, ("x-twilio-signature", "IK+Dwps556ElfBT0I3Rgjkr1wJU=")],
                b"Sid=CA123&SidAccount=AC123&Digits=5678&Digits=1234&Digits=1234",
            ),
            0,
        ),
        (
            "twilio, json",
            Sent {
                query: "foo=1&bar=2&bodySHA256=0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620",
                ..sent(
                    twilio.clone(),
                    &[("x-twilio-signature", "a9nBmqA0ju/hNViExpshrM61xv4=")],
                    br#"{"property": "value", "boolean": true}"#,
                )
            },
            0,
        ),
    ]
}

#[test]
fn the_signatures_that_providers_publish_hold_and_no_other_body_has_them() {
    for (name, mut sent, now) in vectors() {
        assert_eq!(sent.verify(now), Ok(()), "{name}");
        for change in [b'0', b'\n'] {
            sent.body.push(change);
            assert_eq!(sent.verify(now), Err(Refusal::NoMatch), "{name}");
            sent.body.pop();
        }
    }
}

#[test]
fn an_ed25519_signature_holds() {
    // RFC 8032, section 7.1, test 3: the message is what Discord would sign, a time and a body.
    let key = "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025";
    let signature = "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a";
    let fields = json!({
        "kind": "discord", "secrets": [key], "signed": "{body}", "signed_at": null, "handshake": null,
    });
    let delivery = sent(fields, &[("x-signature-ed25519", signature)], &[0xaf, 0x82]);
    assert_eq!(delivery.verify(0), Ok(()));
    let forged = sent(
        json!({"kind": "discord", "secrets": [key]}),
        &[("x-signature-ed25519", signature), ("x-signature-timestamp", "1700000000")],
        b"{\"type\":1}",
    );
    assert_eq!(forged.verify(1_700_000_000), Err(Refusal::NoMatch));
}

fn stripe(time: u64, body: &str) -> Sent {
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let signed = format!("{time}.{body}");
    let digest = hmac(Hash::Sha256, secret.as_bytes(), signed.as_bytes());
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let header = format!("t={time}, v1={}, v1={hex},v0=x", "0".repeat(64));
    sent(
        json!({"kind": "stripe", "secrets": ["other", secret]}),
        &[("stripe-signature", &header)],
        body.as_bytes(),
    )
}

const STRIPE: &str =
    r#"{"id":"evt_1","type":"invoice.paid","created":1700000000,"pending_webhooks":2,"data":{"n":1.50}}"#;

#[test]
fn a_stripe_secret_is_a_text_and_the_tolerance_has_two_sides() {
    let sent = stripe(1_700_000_000, STRIPE);
    for (now, expected) in [
        (1_700_000_000, Ok(())),
        (1_700_000_300, Ok(())),
        (1_699_999_700, Ok(())),
        (1_700_000_301, Err(Refusal::TooOld)),
        (1_699_999_699, Err(Refusal::TooNew)),
    ] {
        assert_eq!(sent.verify(now), expected, "{now}");
    }
}

#[test]
fn a_delivery_without_what_it_needs_is_refused_by_name() {
    let without = |name| {
        let mut sent = stripe(1, STRIPE);
        sent.headers.remove(name);
        sent
    };
    assert_eq!(without("stripe-signature").verify(1), Err(Refusal::NoSignature));
    assert_eq!(stripe(1, STRIPE).header("stripe-signature", "t=1,v0=x").verify(1), Err(Refusal::NoSignature));
    assert_eq!(stripe(1, STRIPE).header("stripe-signature", "t=1,v1=").verify(1), Err(Refusal::NoSignature));
    assert_eq!(stripe(1, STRIPE).header("stripe-signature", "v1=00").verify(1), Err(Refusal::NoTime));
    assert_eq!(stripe(1, STRIPE).header("stripe-signature", "t=1,v1=zz").verify(1), Err(Refusal::NoMatch));
}

#[test]
fn one_header_name_may_have_another_hash_at_each_provider() {
    let body = br#"{"id":"1","topic":"user.created","webhookEvent":"jira:issue_updated"}"#;
    let sha1 = hmac(Hash::Sha1, b"s", body).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let sha256 = hmac(Hash::Sha256, b"s", body).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    for (kind, header, expected) in [
        ("intercom", format!("sha1={sha1}"), Ok(())),
        ("jira", format!("sha256={sha256}"), Ok(())),
        ("bitbucket", format!("sha256={sha256}"), Ok(())),
        ("jira", format!("sha1={sha1}"), Err(Refusal::NoSignature)),
        ("intercom", format!("sha256={sha256}"), Err(Refusal::NoSignature)),
    ] {
        let sent = sent(json!({"kind": kind, "secrets": ["s"]}), &[("x-hub-signature", &header)], body);
        assert_eq!(sent.verify(0), expected, "{kind} {header}");
    }
}

#[test]
fn any_of_several_signature_headers_may_match() {
    let digest = BASE64_STANDARD.encode(hmac(Hash::Sha256, b"second", b"{}"));
    let sent = sent(
        json!({"kind": "docusign", "secrets": ["first", "second"]}),
        &[("x-docusign-signature-1", "AAAA"), ("x-docusign-signature-7", &digest)],
        b"{}",
    );
    assert_eq!(sent.verify(0), Ok(()));
}

#[test]
fn many_signatures_of_a_large_body_cost_no_more_than_one() {
    let body = vec![b' '; 8 << 20];
    let wrong = vec!["00".repeat(32); 200].join(",");
    let mut times = Vec::new();
    for signatures in ["00".repeat(32), wrong] {
        let fields =
            json!({"kind": "custom", "secrets": ["s"], "signature": {"header": "x-signed", "split": ","}});
        let sent = sent(fields, &[("x-signed", &signatures)], &body);
        let began = std::time::Instant::now();
        assert_eq!(sent.verify(0), Err(Refusal::NoMatch));
        times.push(began.elapsed());
    }
    assert!(times[1] < times[0] * 20, "{times:?}");
}

#[test]
fn a_hash_of_the_body_that_twilio_did_not_sign_says_nothing() {
    let url = "https://inbox.example/hooks/x?account=1";
    let twilio = json!({"kind": "twilio", "secrets": ["12345"], "public_url": url});
    // Twilio's signature of a request without fields.
    let signature = BASE64_STANDARD.encode(hmac(Hash::Sha1, b"12345", url.as_bytes()));
    let header = [("x-twilio-signature", signature.as_str())];
    assert_eq!(sent(twilio.clone(), &header, b"").verify(0), Ok(()));
    let forged = b"{\"MessageSid\":\"forged\"}";
    let query = format!("bodySHA256={}", super::delivery::sha256(forged));
    let sent = Sent { query: query.leak(), ..sent(twilio, &header, forged) };
    assert_eq!(sent.verify(0), Err(Refusal::NoMatch));
}

#[test]
fn tokens_are_compared_as_they_are() {
    let basic = format!("basic {}", BASE64_STANDARD.encode("user:pass"));
    for (kind, secret, header, value, expected) in [
        ("token", "s3cret", "authorization", "Bearer s3cret", Ok(())),
        ("token", "s3cret", "authorization", "Bearer s3cre", Err(Refusal::NoMatch)),
        ("token", "s3cret", "authorization", "Bearer ", Err(Refusal::NoSignature)),
        ("basic", "user:pass", "authorization", basic.as_str(), Ok(())),
        ("basic", "user:other", "authorization", basic.as_str(), Err(Refusal::NoMatch)),
        ("gitlab", "s3cret", "x-gitlab-token", "s3cret", Ok(())),
        ("gitlab", "s3cret", "x-gitlab-token", "", Err(Refusal::NoSignature)),
    ] {
        let sent = sent(json!({"kind": kind, "secrets": [secret]}), &[(header, value)], b"{}");
        assert_eq!(sent.verify(0), expected, "{kind} {value}");
    }
    let by_query = json!({"kind": "token", "secrets": ["t"], "signature": {"query": "token"}});
    let by_query = Sent { query: "a=1&token=t", ..sent(by_query, &[], b"{}") };
    assert_eq!(by_query.verify(0), Ok(()));
}

#[test]
fn a_mailgun_signature_is_in_the_body() {
    let digest = hmac(Hash::Sha256, b"key", b"1529006854a8ce0edb2dd8301dee6c2405235584e45aa91d1e9f979f3de0");
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let body = json!({
        "signature": {"timestamp": "1529006854", "token": "a8ce0edb2dd8301dee6c2405235584e45aa91d1e9f979f3de0", "signature": hex},
        "event-data": {"event": "opened", "timestamp": 1529006854.329574, "id": "DACSsAdVSeGpLid7TN03WA"},
    });
    let sent = sent(json!({"kind": "mailgun", "secrets": ["key"]}), &[], body.to_string().as_bytes());
    assert_eq!(sent.verify(1_529_006_854), Ok(()));
    let event = sent.event();
    assert_eq!((event.topic.as_str(), event.event_id.as_str()), ("x.opened", "DACSsAdVSeGpLid7TN03WA"));
    assert_eq!(event.timestamp.unwrap().to_string(), "2018-06-14T20:07:34.329574Z");
}

#[test]
fn a_delivery_becomes_an_event_by_its_templates() {
    let event = stripe(1_700_000_000, STRIPE).event();
    assert_eq!((event.topic.as_str(), event.event_id.as_str()), ("x.invoice.paid", "evt_1"));
    assert_eq!(event.timestamp.unwrap().to_string(), "2023-11-14T22:13:20Z");
    assert_eq!(event.payload.as_json(), STRIPE, "numbers stay as they came");
    assert_eq!((event.source, event.attributes), (None, None));
    let kept = json!({"kind": "open", "headers": ["X-Shop-*", "x-trace"], "topic": "shop", "source": "{header:x-shop-id}"});
    let headers = [("x-shop-id", "7"), ("x-trace", "t"), ("x-other", "o"), ("webhook-id", "i")];
    let event = sent(kept, &headers, b"{}").event();
    assert_eq!(event.attributes.as_deref(), Some(r#"{"headers":{"x-shop-id":"7","x-trace":"t"}}"#));
    assert_eq!((event.topic.as_str(), event.event_id.as_str()), ("shop", "i"));
    assert_eq!(event.source.unwrap().as_str(), "7");
}

#[test]
fn a_header_that_is_a_secret_is_not_kept() {
    let kept = |fields: Json, header: &'static str| {
        let sent = sent(fields, &[(header, "s3cret"), ("x-kept", "yes")], b"{\"id\":1}");
        sent.event().attributes.unwrap()
    };
    let gitlab = json!({"kind": "gitlab", "secrets": ["s3cret"], "headers": ["x-*"]});
    assert_eq!(kept(gitlab, "x-gitlab-token"), r#"{"headers":{"x-kept":"yes"}}"#);
    let open = json!({"kind": "open", "headers": ["*"]});
    assert_eq!(kept(open, "authorization"), r#"{"headers":{"x-kept":"yes"}}"#);
    // A signature is no secret: it proves the delivery, and makes no other.
    let github = json!({"kind": "github", "secrets": ["s"], "event_id": "1", "headers": ["x-hub-*"]});
    assert_eq!(kept(github, "x-hub-signature-256"), r#"{"headers":{"x-hub-signature-256":"s3cret"}}"#);
}

#[test]
fn what_changes_from_one_delivery_to_the_next_is_no_conflict() {
    for (kind, first, again) in [
        ("stripe", r#"{"id":"1","pending_webhooks":2,"n":1}"#, r#"{"id":"1","pending_webhooks":1,"n":1}"#),
        ("linear", r#"{"webhookTimestamp":1,"n":1}"#, r#"{"webhookTimestamp":2,"n":1}"#),
        (
            "docusign",
            r#"{"event":"e","data":{"envelopeId":"1"},"generatedDateTime":"t","retryCount":0,"n":1}"#,
            r#"{"event":"e","data":{"envelopeId":"1"},"generatedDateTime":"t","retryCount":1,"n":1}"#,
        ),
    ] {
        let event = |body: &str| {
            let fields = json!({"kind": kind, "secrets": ["s"]});
            sent(fields, &[("linear-delivery", "d")], body.as_bytes()).event()
        };
        let (first_event, event_again) = (event(first), event(again));
        assert_eq!(first_event.event_id, event_again.event_id, "{kind}");
        assert_eq!(first_event.payload.digest(), event_again.payload.digest(), "{kind}");
        assert_ne!(
            first_event.payload.as_json(),
            event_again.payload.as_json(),
            "{kind}: it is kept as it came"
        );
        let other = event(&first.replace("\"n\":1", "\"n\":2"));
        assert_ne!(first_event.payload.digest(), other.payload.digest(), "{kind}: another is a conflict");
    }
}

#[test]
fn one_body_may_have_many_events() {
    let hubspot = json!({"kind": "hubspot", "secrets": ["s"], "public_url": "https://x.example/h"});
    let body = r#"[{"eventId":1,"subscriptionId":2,"occurredAt":1700000000123,"subscriptionType":"contact.creation","attemptNumber":0},
        {"eventId":2,"subscriptionId":2,"occurredAt":1700000000124,"subscriptionType":"deal.creation","attemptNumber":0}]"#;
    let events = sent(hubspot.clone(), &[], body.as_bytes()).try_events().unwrap();
    let ids: Vec<_> = events.iter().map(|event| (event.topic.as_str(), event.event_id.as_str())).collect();
    assert_eq!(ids, [("x.contact.creation", "1-2-1700000000123"), ("x.deal.creation", "2-2-1700000000124")]);
    assert_eq!(events[0].timestamp.as_ref().unwrap().to_string(), "2023-11-14T22:13:20.123Z");
    let workflow = sent(hubspot.clone(), &[], br#"{"portalId":7,"objectType":"DEAL","objectId":1}"#).event();
    assert_eq!((workflow.topic.as_str(), workflow.event_id.as_str().len()), ("x.DEAL", 64 + "--".len()));
    let mut strict = hubspot;
    strict["event_id"] = "{json:/eventId}".into();
    let one_without = body.replace("\"eventId\":2,", "");
    let Err(IngestError::Invalid(invalid)) = sent(strict, &[], one_without.as_bytes()).try_events() else {
        panic!("a batch is whole");
    };
    assert_eq!((invalid.listed[0].index, invalid.listed[0].field.as_ref()), (1, "event_id"));
    assert!(invalid.listed[0].message.contains("{json:/eventId}"), "{}", invalid.listed[0].message);

    let meta = json!({"kind": "meta", "secrets": ["s"], "verify_token": "v"});
    let message = |id: &str| json!({"id": "page", "changes": [{"field": "messages", "value": {"messages": [{"id": id, "timestamp": "1700000000"}]}}]});
    let status = json!({"id": "page", "changes": [{"field": "messages", "value": {"statuses": [{"id": "wamid.1", "status": "read"}]}}]});
    let body = json!({"object": "whatsapp_business_account", "entry": [message("wamid.1"), message("wamid.2"), status, {"id": "page"}]});
    let events = sent(meta, &[], body.to_string().as_bytes()).try_events().unwrap();
    let ids: Vec<_> = events.iter().map(|event| event.event_id.as_str()).collect();
    assert_eq!(ids[..3], ["wamid.1", "wamid.2", "wamid.1read"]);
    assert_eq!((events[0].topic.as_str(), events[3].topic.as_str()), ("x.messages", "x"));

    let lines = json!({"kind": "open", "each": "lines", "event_id": "{json:/id|sha256}"});
    let events = sent(lines, &[], b"{\"id\":1}\r\n\n{\"id\":2}\nnot json\n").try_events().unwrap();
    let ids: Vec<_> = events.iter().map(|event| event.event_id.as_str()).collect();
    assert_eq!((&ids[..2], events[2].payload.as_json()), (&["1", "2"][..], "\"not json\""));
    assert_eq!(ids[2].len(), 64);
}

#[test]
fn a_verified_body_is_never_refused_for_its_shape() {
    let deep = "[".repeat(200) + &"]".repeat(200);
    let half = r#"{"a":"\ud800"}"#;
    let form = "a=1&b=2&a=3&c=%C3%BC";
    for (content_type, body, payload) in [
        ("application/json", b" {\"n\": 1.50}\r\n".to_vec(), r#"{"n":1.50}"#.to_owned()),
        ("application/json", b"\xef\xbb\xbf{}".to_vec(), "{}".into()),
        ("text/plain", b"{\"n\":1}".to_vec(), r#"{"n":1}"#.into()),
        ("text/plain", b"17".to_vec(), r#""17""#.into()),
        ("text/plain", b"hello\r\n".to_vec(), r#""hello\r\n""#.into()),
        ("application/x-www-form-urlencoded", form.into(), r#"{"a":["1","3"],"b":"2","c":"ü"}"#.into()),
        ("application/json", deep.clone().into(), format!("\"{deep}\"")),
        ("application/json", half.into(), json!(half).to_string()),
        ("application/octet-stream", vec![0xff, 0], "\"/wA=\"".into()),
        ("application/json", Vec::new(), "{}".into()),
        ("", b"x".to_vec(), "\"x\"".into()),
    ] {
        let open =
            json!({"kind": "open", "event_id": "{sha256}", "volatile": ["/retry"], "type": "{json:/t|}"});
        let sent = sent(open, &[("content-type", content_type)], &body);
        let event = sent.event();
        assert_eq!(event.payload.as_json(), payload, "{content_type} {:?}", String::from_utf8_lossy(&body));
        assert_eq!(event.topic.as_str(), "x");
    }
}

#[test]
fn neither_depth_nor_half_a_character_hides_the_parts_of_an_event() {
    let deep = "[".repeat(200) + &"]".repeat(200);
    for odd in [deep.as_str(), r#""\ud800""#] {
        let body = |retry: u32| format!(r#"{{"odd":{odd},"id":"e","type":"t","retry":{retry}}}"#);
        let stored = |each: Json, body: &str| {
            let open = json!({
                "kind": "open", "event_id": "{json:/id}", "type": "{json:/type}", "volatile": ["/retry"], "each": each,
            });
            sent(open, &[], body.as_bytes()).event()
        };
        for event in [
            stored(Json::Null, &body(1)),
            stored("lines".into(), &body(1)),
            stored("/all".into(), &format!(r#"{{"all":[{}]}}"#, body(1))),
        ] {
            assert_eq!((event.topic.as_str(), event.event_id.as_str()), ("x.t", "e"));
            assert_eq!(event.payload.as_json(), json!(body(1)).to_string());
            assert_eq!(event.payload.digest(), stored(Json::Null, &body(2)).payload.digest(), "no conflict");
        }
    }
}

#[test]
fn names_that_no_event_may_have_are_replaced_and_never_refused() {
    let id = |id: &str| {
        sent(json!({"kind": "open"}), &[], json!({"id": id}).to_string().as_bytes()).event().event_id
    };
    let long = id(&"x".repeat(256));
    assert!(long.as_str().starts_with("sha256:") && long.as_str().len() == 71, "{long}");
    assert_eq!(long, id(&"x".repeat(256)));
    assert_ne!(long, id(&"x".repeat(257)));
    assert!(id("a\nb").as_str().starts_with("sha256:"));
    let odd_type = json!({"kind": "open", "type": "{json:/t}"});
    let body = json!({"id": "1", "t": "x".repeat(300)}).to_string();
    assert_eq!(sent(odd_type, &[], body.as_bytes()).event().topic.as_str(), "x");
    let empty = sent(
        json!({"kind": "custom", "secrets": ["s"], "signature": {"header": "x"}, "event_id": "{json:/id}"}),
        &[],
        b"{\"id\":\"\"}",
    );
    assert!(matches!(empty.try_events(), Err(IngestError::Invalid(_))));
}

#[test]
fn handshakes_are_answered() {
    let answer = |fields: Json, body: &str| {
        let sent = sent(fields, &[], body.as_bytes());
        let delivery = sent.delivery();
        // The second secret, if there are two.
        let key = sent.receiver.verification.as_ref().unwrap().keys.last();
        sent.receiver.handshake.as_ref().unwrap().answer(&delivery, key)
    };
    let slack = json!({"kind": "slack", "secrets": ["s"]});
    assert_eq!(
        answer(slack.clone(), r#"{"type":"url_verification","challenge":"3eZb"}"#),
        Some(HandshakeAnswer::Text("3eZb".into()))
    );
    assert_eq!(answer(slack, r#"{"type":"event_callback","challenge":"3eZb"}"#), None);
    let zoom = json!({"kind": "zoom", "secrets": ["an older one", "123456abcdef"]});
    let Some(HandshakeAnswer::Json(text)) = answer(
        zoom.clone(),
        r#"{"event":"endpoint.url_validation","payload":{"plainToken":"q9ibPhGeRZ6ayx5WTrXjRw"}}"#,
    ) else {
        panic!("no answer");
    };
    let expected = hmac(Hash::Sha256, b"123456abcdef", b"q9ibPhGeRZ6ayx5WTrXjRw");
    let expected: String = expected.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(text, format!(r#"{{"encryptedToken":"{expected}","plainToken":"q9ibPhGeRZ6ayx5WTrXjRw"}}"#));
    assert_eq!(answer(zoom, r#"{"event":"meeting.started"}"#), None);
    let key = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    let discord = json!({"kind": "discord", "secrets": [key]});
    assert_eq!(answer(discord.clone(), r#"{"version":1,"type":0}"#), Some(HandshakeAnswer::Empty));
    assert_eq!(
        answer(discord.clone(), r#"{"type":1,"id":"1"}"#),
        Some(HandshakeAnswer::Json(r#"{"type":1}"#.into()))
    );
    assert_eq!(answer(discord, r#"{"type":1,"event":{"type":"APPLICATION_AUTHORIZED"}}"#), None);
    let intercom = json!({"kind": "intercom", "secrets": ["s"]});
    assert_eq!(answer(intercom.clone(), r#"{"topic":"ping"}"#), Some(HandshakeAnswer::Text(String::new())));
    assert_eq!(answer(intercom, r#"{"topic":"user.created"}"#), None);

    let meta = receiver(&json!({"kind": "meta", "secrets": ["s"], "verify_token": "tökn"}));
    let get = |query| meta.handshake.as_ref().unwrap().answer_get(query);
    let challenge = Some(HandshakeAnswer::Text("17".into()));
    assert_eq!(get("hub.mode=subscribe&hub.verify_token=t%C3%B6kn&hub.challenge=17"), challenge);
    for query in [
        "hub.mode=subscribe&hub.verify_token=&hub.challenge=17",
        "hub.mode=subscribe&hub.challenge=17",
        "hub.mode=unsubscribe&hub.verify_token=t%C3%B6kn&hub.challenge=17",
        "hub.mode=subscribe&hub.verify_token=t%C3%B6kn",
    ] {
        assert_eq!(get(query), None, "{query}");
    }
}

#[test]
fn nothing_of_a_secret_is_shown() {
    let shown = format!("{:?}", receiver(&json!({"kind": "stripe", "secrets": ["s3cret"]})));
    assert!(!shown.contains("s3cret") && !shown.contains("115, 51"), "{shown}");
}

#[test]
fn the_beginning_of_a_body_cannot_be_moved_into_the_query() {
    let url = "https://inbox.example/hooks/x?p=1";
    let body = br#"[{"eventId":1}]"#;
    let signed = [&b"POST"[..], url.as_bytes(), body, b"1700000000000"].concat();
    let signature = BASE64_STANDARD.encode(hmac(Hash::Sha256, b"s", &signed));
    let hubspot = json!({"kind": "hubspot", "secrets": ["s"], "public_url": url});
    let headers =
        [("x-hubspot-signature-v3", signature.as_str()), ("x-hubspot-request-timestamp", "1700000000000")];
    let whole = Sent { query: "p=1", ..sent(hubspot.clone(), &headers, body) };
    assert_eq!(whole.verify(1_700_000_000), Ok(()));
    let moved = Sent { query: "p=1[", ..sent(hubspot, &headers, &body[1..]) };
    assert_eq!(moved.verify(1_700_000_000), Err(Refusal::NoMatch));
}

#[test]
fn a_form_of_very_many_fields_is_not_taken_apart() {
    let twilio =
        json!({"kind": "twilio", "secrets": ["12345"], "public_url": "https://mycompany.com/myapp.php"});
    let mut fields: Vec<_> = (0..1001).map(|n| format!("n{n:04}=v")).collect();
    let signature = |fields: &[String]| {
        let signed: String = fields.iter().map(|field| field.replace('=', "")).collect();
        BASE64_STANDARD.encode(hmac(
            Hash::Sha1,
            b"12345",
            format!("https://mycompany.com/myapp.php{signed}").as_bytes(),
        ))
    };
    for expected in [Err(Refusal::NoMatch), Ok(())] {
        let (signature, body) = (signature(&fields), fields.join("&"));
        let delivery = sent(twilio.clone(), &[("x-twilio-signature", &signature)], body.as_bytes());
        assert_eq!(delivery.verify(0), expected, "{} fields", fields.len());
        fields.pop();
    }
}

#[test]
fn a_form_is_known_by_its_media_type_though_its_payload_is_json() {
    let form = [("content-type", "application/x-www-form-urlencoded; charset=utf-8"), ("x-b", "2")];
    let kept = |headers: Json| {
        let open = json!({"kind": "open", "headers": headers});
        sent(open, &form, b"a=1").event().attributes.unwrap()
    };
    let media_type = r#""content-type":"application/x-www-form-urlencoded; charset=utf-8""#;
    assert_eq!(kept(json!([])), format!(r#"{{"headers":{{{media_type}}}}}"#));
    assert_eq!(kept(json!(["x-b"])), format!(r#"{{"headers":{{{media_type},"x-b":"2"}}}}"#));
    let json = sent(json!({"kind": "open"}), &[("content-type", "application/json")], b"{}");
    assert_eq!(json.event().attributes, None);
}

#[test]
fn bytes_are_told_from_text_and_values_of_one_header_are_a_list() {
    let open = json!({"kind": "open", "headers": ["x-*"]});
    for (given, expected) in [
        (None, "application/octet-stream"),
        (Some("application/json"), "application/octet-stream"),
        (Some("image/png"), "image/png"),
    ] {
        let headers: Vec<_> = given.map(|given| ("content-type", given)).into_iter().collect();
        let event = sent(open.clone(), &headers, b"\xff\x00").event();
        assert_eq!(event.attributes.unwrap(), format!(r#"{{"datacontenttype":"{expected}"}}"#));
    }
    let mut twice = sent(open, &[("x-a", "1")], b"{}");
    twice.headers.append("x-a", HeaderValue::from_static("2"));
    assert_eq!(twice.event().attributes.unwrap(), r#"{"headers":{"x-a":"1, 2"}}"#);
}

"""Verifies deliveries as a handler does, with the packages of those who sent them.

Standard input has a list of deliveries: the package, the secret, the URL, the headers and the body.
"""

import json
import sys
from types import SimpleNamespace
from urllib.parse import parse_qsl

from cryptography.hazmat.primitives.asymmetric import ec
from discord_interactions import verify_key
from hubspot.utils.signature import Signature
from nacl.signing import SigningKey
from paddle_billing.Notifications import Secret, Verifier
from sendgrid.helpers.eventwebhook import EventWebhook
from slack_sdk.signature import SignatureVerifier
from square.utils.webhooks_helper import verify_signature
from standardwebhooks import Webhook
from stripe import WebhookSignature
from twilio.request_validator import RequestValidator


def standardwebhooks(secret, url, headers, body):
    return Webhook(secret).verify(body, headers) is not None


def stripe(secret, url, headers, body):
    return WebhookSignature.verify_header(body, headers["stripe-signature"], secret, 300)


def slack(secret, url, headers, body):
    return SignatureVerifier(secret).is_valid_request(body, headers)


def twilio(secret, url, headers, body):
    fields = dict(parse_qsl(body, keep_blank_values=True))
    return RequestValidator(secret).validate(url, fields, headers["x-twilio-signature"])


def square(secret, url, headers, body):
    signature = headers["x-square-hmacsha256-signature"]
    return verify_signature(
        request_body=body, signature_header=signature, signature_key=secret, notification_url=url
    )


def hubspot(secret, url, headers, body):
    signature, at = headers["x-hubspot-signature-v3"], headers["x-hubspot-request-timestamp"]
    return Signature.is_valid(signature, secret, body, url, "POST", "v3", at)


def paddle(secret, url, headers, body):
    headers = {"Paddle-Signature": headers["paddle-signature"]}
    return Verifier().verify(SimpleNamespace(headers=headers, body=body.encode()), Secret(secret))


def sendgrid(secret, url, headers, body):
    key = ec.derive_private_key(int(secret, 16), ec.SECP256R1())
    signature = headers["x-twilio-email-event-webhook-signature"]
    at = headers["x-twilio-email-event-webhook-timestamp"]
    return EventWebhook().verify_signature(body, signature, at, key.public_key())


def discord(secret, url, headers, body):
    public = SigningKey(bytes.fromhex(secret)).verify_key.encode().hex()
    signature, at = headers["x-signature-ed25519"], headers["x-signature-timestamp"]
    return verify_key(body.encode(), signature, at, public)


for delivery in json.load(sys.stdin):
    verify = globals()[delivery.pop("package").removeprefix("pypi/")]
    assert verify(**delivery), f"{verify.__name__} does not verify {delivery}"

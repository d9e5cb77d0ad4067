"""Signs deliveries with the packages of those who send them, and lets the same packages verify what they signed.

Standard input has a list of deliveries: the package, the secret, the body, the URL, and the id and the age in seconds
where those are signed. Standard output has the headers of each; under ? the query, where one is added.
"""

import base64
import json
import sys
import time
from datetime import datetime, timezone
from hashlib import sha256
from hmac import new as hmac
from types import SimpleNamespace
from urllib.parse import parse_qsl

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from discord_interactions import verify_key
from hubspot.utils.signature import Signature
from nacl.signing import SigningKey
from paddle_billing.Notifications import Secret, Verifier
from paddle_billing.Notifications.PaddleSignature import PaddleSignature
from sendgrid.helpers.eventwebhook import EventWebhook
from slack_sdk.signature import SignatureVerifier
from square.utils.webhooks_helper import verify_signature
from standardwebhooks import Webhook
from stripe import WebhookSignature
from twilio.request_validator import RequestValidator, SIGNATURE_SETTINGS_HEADER


def standardwebhooks(delivery, body, secret, at):
    webhook = Webhook(secret)
    signature = webhook.sign(delivery["id"], datetime.fromtimestamp(at, timezone.utc), body)
    headers = {"webhook-id": delivery["id"], "webhook-timestamp": str(at), "webhook-signature": signature}
    webhook.verify(body, headers)
    return headers


def stripe(delivery, body, secret, at):
    header = WebhookSignature.generate_signature_header(body, secret, at)
    assert WebhookSignature.verify_header(body, header, secret, 300)
    return {"stripe-signature": header}


def slack(delivery, body, secret, at):
    verifier = SignatureVerifier(secret)
    signature = verifier.generate_signature(timestamp=str(at), body=body)
    headers = {"x-slack-request-timestamp": str(at), "x-slack-signature": signature}
    assert verifier.is_valid_request(body, headers)
    return headers


def twilio(delivery, body, secret, at):
    validator, url = RequestValidator(secret), delivery["url"]
    is_form = not body.startswith("{")
    query = "" if is_form else "bodySHA256=" + validator.compute_hash(body)
    url += f"?{query}" if query else ""
    params = dict(parse_qsl(body, keep_blank_values=True)) if is_form else {}
    algorithm = delivery["algorithm"]
    signature = validator.compute_signature(url, params, algorithm)
    assert validator.validate(url, params if is_form else body, signature, algorithm)
    settings = {SIGNATURE_SETTINGS_HEADER: f"key=k1,algorithm={algorithm}"} if algorithm else {}
    return {"x-twilio-signature": signature, "?": query} | settings


def square(delivery, body, secret, at):
    # The package only verifies.
    signed = hmac(secret.encode(), (delivery["url"] + body).encode(), sha256).digest()
    signature = base64.b64encode(signed).decode()
    assert verify_signature(
        request_body=body, signature_header=signature, signature_key=secret, notification_url=delivery["url"]
    )
    return {"x-square-hmacsha256-signature": signature}


def hubspot(delivery, body, secret, at):
    at, url = str(at * 1000), delivery["url"]
    signature = Signature.get_signature(secret, body, "v3", url, "POST", at)
    assert Signature.is_valid(signature, secret, body, url, "POST", "v3", at)
    return {"x-hubspot-request-timestamp": at, "x-hubspot-signature-v3": signature}


def paddle(delivery, body, secret, at):
    signature = PaddleSignature.calculate_hmac(secret, f"{at}:{body}".encode()).hexdigest()
    headers = {PaddleSignature().HEADER: f"ts={at};h1={signature}"}
    assert Verifier().verify(SimpleNamespace(headers=headers, body=body.encode()), Secret(secret))
    return headers


def sendgrid(delivery, body, secret, at):
    # The package only verifies.
    key = ec.derive_private_key(int(secret, 16), ec.SECP256R1())
    signed = key.sign(f"{at}{body}".encode(), ec.ECDSA(hashes.SHA256()))
    signature = base64.b64encode(signed).decode()
    assert EventWebhook().verify_signature(body, signature, str(at), key.public_key())
    return {
        "x-twilio-email-event-webhook-signature": signature,
        "x-twilio-email-event-webhook-timestamp": str(at),
    }


def discord(delivery, body, secret, at):
    key = SigningKey(bytes.fromhex(secret))
    signature = key.sign(f"{at}{body}".encode()).signature.hex()
    assert verify_key(body.encode(), signature, str(at), key.verify_key.encode().hex())
    return {"x-signature-ed25519": signature, "x-signature-timestamp": str(at)}


def signed(delivery):
    at = int(time.time()) - delivery["age"]
    package = globals()[delivery["package"].removeprefix("pypi/")]
    return package(delivery, delivery["body"], delivery["secret"], at)


json.dump([signed(delivery) for delivery in json.load(sys.stdin)], sys.stdout)

"""Signatures of Standard Webhooks (https://www.standardwebhooks.com, "Webhook headers" and "Signature scheme")."""

from __future__ import annotations

import base64
import hashlib
import hmac

PREFIX = "whsec_"


def headers(secret: str, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """What makes a message provably ours.

    Args:
        secret: `whsec_…`.
        timestamp: of this attempt, Unix time in seconds.
    """
    key = base64.b64decode(secret.removeprefix(PREFIX))
    signed = f"{message_id}.{timestamp}.".encode() + body
    signature = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{signature}",
    }

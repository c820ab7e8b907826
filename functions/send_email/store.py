"""Firestore: deliveries and broken_messages.

    deliveries/{event_id}:{template}  {state: "claimed"|"sent"|"failed"|"expired", attempts: 1,
                                       claim_id, lease_expire_time, message_id, ambiguous: false,
                                       last_error: null, changed_time, expire_time}
    broken_messages/{id}              {reason, envelope: "{...}", received_time, expire_time}

Rules:
1. A delivery is written only over the version that was read, by a precondition of the write. One
   RPC claims a new delivery, and no lock is ever held.
2. Both collections leave by TTL on `expire_time`, long after Pub/Sub forgets a message (31 days at
   most): a message that could still come always meets its delivery.
"""

import json
import re
from dataclasses import asdict
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from google.api_core import exceptions
from google.cloud import firestore

from shared.documents import bounded, outages_named

from .delivery import Delivery, Versioned

KEPT = timedelta(days=60)
MAX_ENVELOPE_CHARACTERS = 64 * 1024
_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")


class DeliveryDocuments:
    """The collections above; every call ends in time or raises StoreUnavailable."""

    def __init__(self, client: firestore.Client, timeout_seconds: float) -> None:
        self._client = client
        self._timeout_seconds = timeout_seconds

    def read(self, delivery_id: str) -> Versioned | None:
        """The delivery, if there is one."""
        with outages_named():
            snapshot = self._document(delivery_id).get(**bounded(self._timeout_seconds))
        if not snapshot.exists:
            return None
        fields = snapshot.to_dict() or {}
        del fields["expire_time"]
        return Versioned(Delivery(**fields), snapshot.update_time)

    def put(self, delivery_id: str, delivery: Delivery, version: Any) -> Versioned | None:
        """Write it if it is still at `version` (None: if there is none); None: it is not."""
        fields = asdict(delivery) | {"expire_time": delivery.changed_time + KEPT}
        document = self._document(delivery_id)
        limits = bounded(self._timeout_seconds)
        try:
            with outages_named():
                if version is None:
                    written = document.create(fields, **limits)
                else:
                    unchanged = self._client.write_option(last_update_time=version)
                    written = document.update(fields, unchanged, **limits)
        except (exceptions.AlreadyExists, exceptions.FailedPrecondition):
            return None
        return Versioned(delivery, written.update_time)

    def record_broken(self, envelope: object, reason: str, now: datetime) -> None:
        """Keep a message that cannot be understood; the same one again changes nothing."""
        text = json.dumps(envelope, default=repr)[:MAX_ENVELOPE_CHARACTERS]
        fields = {
            "reason": reason,
            "envelope": text,
            "received_time": now,
            "expire_time": now + KEPT,
        }
        document = self._client.collection("broken_messages").document(_broken_id(envelope, text))
        with outages_named():
            document.set(fields, **bounded(self._timeout_seconds))

    def _document(self, delivery_id: str) -> firestore.DocumentReference:
        return self._client.collection("deliveries").document(delivery_id)


def _broken_id(envelope: object, text: str) -> str:
    """The Pub/Sub message id where there is a plausible one."""
    inner = envelope.get("message") if isinstance(envelope, dict) else None
    message_id = inner.get("messageId") if isinstance(inner, dict) else None
    if isinstance(message_id, str) and _ID.fullmatch(message_id):
        return message_id
    return sha256(text.encode("ascii")).hexdigest()

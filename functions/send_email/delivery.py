"""The use case: one event, one mail, however often the message comes.

    state    claimed -> sent | failed | expired           the last three are final and stick
    return   ack: sent, or there is nothing more to do    raise   nack: deliver again later

Rules:
1. A message that cannot be understood never can be: it is recorded and acknowledged.
2. A worker claims the delivery before it sends: a record with a lease, written only if nothing
   changed since it was read. The attempt is counted in that same write.
3. A live lease is someone else's: raise. A lease that ran out means a worker died with it; the
   mail may be out already, so the next attempt says `ambiguous`. It has the same Message-ID.
4. A failure that may pass gives the lease back, so that the next attempt need not wait for it.
5. A refusal for good, and an event older than its link, are recorded and acknowledged.
6. Once the server took the mail, nothing here asks for another attempt.

So a mail is sent at least once: twice only when a worker or the network dies between the
server's yes and our note of it.
"""

import hmac
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from email.headerregistry import Address
from hashlib import sha256
from typing import Any, Literal, Protocol

from jinja2 import Environment

from shared import logs, traces
from shared.documents import StoreUnavailable
from shared.events import BrokenEvent, UserCreated, decode, unwrap
from shared.settings import KeySet
from shared.tokens import Tokens

from . import message
from .message import Mail

State = Literal["claimed", "sent", "failed", "expired"]
Outcome = Literal["sent", "failed", "expired", "final_already", "broken"]


class DeliverAgain(Exception):
    """Not done, but may be later: the message must come again."""


class LeaseHeld(DeliverAgain):
    """Another worker is at it."""


class NotNow(Exception):
    """The mail was not taken this time. `uncertain`: or it was, and the answer got lost."""

    def __init__(self, error_class: str, *, uncertain: bool = False) -> None:
        super().__init__(error_class)
        self.error_class = error_class
        self.uncertain = uncertain


class Refused(Exception):
    """The mail is refused for good."""

    def __init__(self, error_class: str) -> None:
        super().__init__(error_class)
        self.error_class = error_class


class Transport(Protocol):
    """Where mails go."""

    def send(self, mail: Mail) -> None:
        """Return when the mail was taken; raise NotNow or Refused otherwise."""
        ...


@dataclass(frozen=True, slots=True)
class Delivery:
    """What is known of one mail. `attempts` counts claims; times are aware and UTC."""

    state: State
    attempts: int
    claim_id: str
    lease_expire_time: datetime
    message_id: str
    ambiguous: bool
    last_error: str | None
    changed_time: datetime


@dataclass(frozen=True, slots=True)
class Versioned:
    """A delivery as it was read or written; `version` is the store's own and opaque."""

    delivery: Delivery
    version: Any


class DeliveryStore(Protocol):
    """Where deliveries are. Each call raises StoreUnavailable when it cannot say."""

    def read(self, delivery_id: str) -> Versioned | None:
        """The delivery, if there is one."""
        ...

    def put(self, delivery_id: str, delivery: Delivery, version: Any) -> Versioned | None:
        """Write it if it is still at `version` (None: if there is none); None: it is not."""
        ...

    def record_broken(self, envelope: object, reason: str, now: datetime) -> None:
        """Keep a message that cannot be understood, for a person to look at."""
        ...


def next_claim(
    known: Delivery | None, claim_id: str, message_id: str, now: datetime, lease: timedelta
) -> Delivery | None:
    """The delivery as claimed by `claim_id`; None: it is final.

    Raises:
        LeaseHeld: a worker holds it.
    """
    if known is not None and known.state != "claimed":
        return None
    if known is not None and now < known.lease_expire_time:
        raise LeaseHeld
    # A worker that failed says why; one that says nothing died between its claim and the note.
    silent = known is not None and known.last_error is None
    return Delivery(
        state="claimed",
        attempts=(known.attempts if known else 0) + 1,
        claim_id=claim_id,
        lease_expire_time=now + lease,
        message_id=message_id,
        ambiguous=silent or (known is not None and known.ambiguous),
        last_error=None,
        changed_time=now,
    )


@dataclass(frozen=True, slots=True)
class Mailer:
    """The use case with its tools."""

    store: DeliveryStore
    transport: Transport
    templates: Environment
    sender: Address
    verify_url: str
    verify_ttl_seconds: int
    link_keys: KeySet
    lease_seconds: float
    project: str
    now: Callable[[], datetime]

    def receive(self, envelope: object) -> Outcome:
        """Handle one pushed message.

        Raises:
            DeliverAgain: not now.
            StoreUnavailable: not now either; nothing was sent.
        """
        try:
            event = decode(unwrap(envelope))
        except BrokenEvent as broken:
            logs.write("ERROR", "message_broken", reason=broken.reason)
            self.store.record_broken(envelope, broken.reason, self.now())
            return "broken"
        trace = traces.read(event.traceparent)
        fields = logs.trace_fields(self.project, trace) if trace else {}
        with logs.bound(event_id=event.event_id, user_id=event.user_id, **fields):
            return self._deliver(event)

    def _deliver(self, event: UserCreated) -> Outcome:
        delivery_id = f"{event.event_id}:{message.TEMPLATE}"
        held = self._claim(delivery_id, message.message_id(event, self.sender))
        if held is None:
            logs.write("INFO", "delivery_final_already")
            return "final_already"
        if self.now() >= event.created_time + timedelta(seconds=self.verify_ttl_seconds):
            return self._finish(delivery_id, held, "expired", "link_expired")
        try:
            self.transport.send(self._mail(event))
        except Refused as error:
            return self._finish(delivery_id, held, "failed", error.error_class)
        except NotNow as error:
            self._give_back(delivery_id, held, error)
            raise DeliverAgain(error.error_class) from error
        return self._finish(delivery_id, held, "sent", None, email=logs.mask(event.email))

    def _claim(self, delivery_id: str, message_id: str) -> Versioned | None:
        """Our claim; None: the delivery is final."""
        claim_id = str(uuid.uuid4())
        lease = timedelta(seconds=self.lease_seconds)
        found: Versioned | None = None
        for _ in range(3):
            known = found.delivery if found else None
            wanted = next_claim(known, claim_id, message_id, self.now(), lease)
            if wanted is None:
                return None
            held = self.store.put(delivery_id, wanted, found.version if found else None)
            if held is not None:
                return held
            found = self.store.read(delivery_id)
            if found is not None and found.delivery.claim_id == claim_id:
                return found  # It was our own write: only its answer was lost.
        raise LeaseHeld

    def _finish(
        self,
        delivery_id: str,
        held: Versioned,
        state: Literal["sent", "failed", "expired"],
        error_class: str | None,
        **fields: Any,
    ) -> Outcome:
        done = replace(held.delivery, state=state, last_error=error_class, changed_time=self.now())
        severity: logs.Severity = "INFO" if state == "sent" else "ERROR"
        attempts, ambiguous = done.attempts, done.ambiguous
        fields |= {"attempts": attempts, "ambiguous": ambiguous, "error_class": error_class}
        logs.write(severity, f"mail_{state}", **fields)
        try:
            if self.store.put(delivery_id, done, held.version) is None:
                logs.write("ERROR", "delivery_taken_over", state=state)
        except Exception as error:
            if state != "sent":
                raise
            # The mail is out: whatever went wrong with the note, asking for the message again
            # would only send a second one.
            logs.write("ERROR", "delivery_not_recorded", **logs.error_fields(error))
        return state

    def _give_back(self, delivery_id: str, held: Versioned, error: NotNow) -> None:
        now = self.now()
        free = replace(
            held.delivery,
            lease_expire_time=now,
            ambiguous=held.delivery.ambiguous or error.uncertain,
            last_error=error.error_class,
            changed_time=now,
        )
        logs.write(
            "WARNING",
            "mail_not_taken",
            attempts=free.attempts,
            ambiguous=free.ambiguous,
            error_class=error.error_class,
        )
        try:
            self.store.put(delivery_id, free, held.version)
        except StoreUnavailable as unavailable:
            # The lease then runs out by itself.
            logs.write("WARNING", "lease_not_given_back", **logs.error_fields(unavailable))

    def _mail(self, event: UserCreated) -> Mail:
        """The mail, with the same link on every attempt: all of it comes from the event."""
        tokens = Tokens(
            keys=self.link_keys,
            issuer="send_email",
            audience="verify_email",
            typ="verify-email+jwt",
            ttl_seconds=self.verify_ttl_seconds,
            extra_claims=("purpose", "address"),
        )
        # The token is readable by whoever sees the link: it names the address by a keyed hash.
        address = hmac.digest(self.link_keys.current_key, event.email.encode("ascii"), sha256)
        extra = {"purpose": "verify_email", "address": address.hex()}
        token = tokens.issue(event.user_id, event.created_time, event.event_id, extra)
        hours = self.verify_ttl_seconds // 3600
        url = message.link(self.verify_url, token)
        return message.build(self.templates, event, self.sender, url, hours)

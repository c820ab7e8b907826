"""The use case: register a new user, exactly once per address, and announce it.

The order is the promise. Cheap refusals, then the slow hash, then one atomic commit of user,
email claim and outbox record, and only then the event.

1. Before the commit nothing exists, and nothing says "created".
2. After the commit nothing says "failed": an event that could not be published now is published
   by the relay (`outbox.py`).
3. The claim's creation inside the commit decides who gets an address. The look before it only
   spares the hash, a quarter of a second of processor, for addresses that are plainly taken. It
   tells an observer nothing by its speed that the answer 409 does not say in words.
"""

import hashlib
import hmac
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from shared import logs
from shared.events import Encoding, Message, UserCreated, encode
from shared.tokens import Tokens
from shared.traces import Trace

from .form import NewUser
from .outbox import Publisher
from .passwords import StoredPassword


class EmailTaken(Exception):
    """The address belongs to a user."""


@dataclass(frozen=True, slots=True)
class SignUp:
    """Everything one commit writes."""

    user_id: str
    event_id: str
    claim_key: str
    new_user: NewUser
    password: StoredPassword
    message: Message
    created_time: datetime


@dataclass(frozen=True, slots=True)
class Registered:
    """A new user and the token that signs them in."""

    user_id: str
    new_user: NewUser
    created_time: datetime
    token: str


class SignUpStore(Protocol):
    """Where users are. Each call raises StoreUnavailable when it cannot say."""

    def is_claimed(self, claim_key: str) -> bool:
        """Whether a user has the address."""
        ...

    def commit(self, sign_up: SignUp) -> bool:
        """Create user, claim and pending outbox record, all or none; False: the claim exists."""
        ...

    def mark_published(self, event_id: str, now: datetime) -> None:
        """Record that Pub/Sub has the event."""
        ...


class PasswordHasher(Protocol):
    """Makes what is stored instead of a password."""

    def hash(self, password: str) -> StoredPassword:
        """The record of a normalised password."""
        ...


def claim_key(email: str, key: bytes) -> str:
    """The document id of an address's claim.

    Keyed, so that ids tell nothing; a hash, because an address may hold a slash or be too long.
    """
    return hmac.digest(key, email.encode("ascii"), hashlib.sha256).hex()


@dataclass(frozen=True, slots=True)
class Registration:
    """The use case with its tools."""

    store: SignUpStore
    publisher: Publisher
    hasher: PasswordHasher
    tokens: Tokens
    email_claim_key: bytes
    source: str
    encoding: Encoding
    now: Callable[[], datetime]

    def register(self, new_user: NewUser, trace: Trace) -> Registered:
        """Create the user.

        Raises:
            EmailTaken: nothing was changed.
            StoreUnavailable: before the commit, or with its outcome unknown.
        """
        key = claim_key(new_user.email, self.email_claim_key)
        if self.store.is_claimed(key):
            raise EmailTaken

        hashing = time.perf_counter()
        password = self.hasher.hash(new_user.password)
        hash_ms = round((time.perf_counter() - hashing) * 1000)

        user_id, event_id = str(uuid.uuid4()), str(uuid.uuid4())
        created_time = self.now()
        event = UserCreated(
            event_id=event_id,
            user_id=user_id,
            name=new_user.name,
            email=new_user.email,
            locale=new_user.locale,
            created_time=created_time,
            traceparent=trace.traceparent,
        )
        message = encode(event, self.source, self.encoding)
        sign_up = SignUp(user_id, event_id, key, new_user, password, message, created_time)
        token = self.tokens.issue(user_id, created_time, jti=str(uuid.uuid4()))
        with logs.bound(event_id=event_id, user_id=user_id):
            if not self.store.commit(sign_up):
                raise EmailTaken
            address = logs.mask(new_user.email)
            logs.write("INFO", "user_created", email=address, hash_ms=hash_ms)
            self._announce(event_id, message)
        return Registered(user_id, new_user, created_time, token)

    def _announce(self, event_id: str, message: Message) -> None:
        """Publish and note it; the sign-up is committed, so nothing here may fail it."""
        try:
            self.publisher.publish(message)
        except Exception as error:
            # Still pending: the relay sends it, or sets it aside where someone sees it.
            logs.write("WARNING", "publish_left_to_relay", **logs.error_fields(error))
            return
        try:
            self.store.mark_published(event_id, self.now())
        except Exception as error:
            # Still pending: the relay sends it a second time, under the same event_id.
            logs.write("WARNING", "outbox_not_marked", **logs.error_fields(error))

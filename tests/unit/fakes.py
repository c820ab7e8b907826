"""Hand-written stand-ins with the methods of the real store, publisher, hasher and transport.

A fault is a switch on the fake: an exception to raise, or a call to make at the worst moment.
"""

import base64
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.headerregistry import Address
from typing import get_args

from create_user.outbox import PendingEvent, Relay
from create_user.passwords import StoredPassword
from create_user.registration import Registration, SignUp
from send_email.delivery import Delivery, Mailer, Versioned
from send_email.message import Mail, load_templates
from shared.events import Encoding, Message, UserCreated, encode
from shared.settings import KeySet
from shared.tokens import Tokens

KEY = bytes(range(32))
OTHER_KEY = bytes(range(100, 132))
KEYS = KeySet("k1", {"k1": KEY, "k0": OTHER_KEY})
START = datetime(2026, 1, 31, 9, 0, tzinfo=UTC)
ENCODINGS: tuple[Encoding, ...] = get_args(Encoding)
CANARY = "canary-Xq7-pass-phrase"
KEY_TEXT = base64.b64encode(KEY).decode()
KEY_SET_TEXT = '{"current": "k1", "keys": {"k1": "%s"}}' % KEY_TEXT  # noqa: UP031 - JSON has braces

CREATE_USER_ENVIRONMENT = {
    "GOOGLE_CLOUD_PROJECT": "demo-test",
    "USER_CREATED_TOPIC": "user.created",
    "USER_CREATED_ENCODING": "JSON",
    "PASSWORD_PEPPERS": KEY_SET_TEXT,
    "EMAIL_CLAIM_KEY": KEY_TEXT,
    "JWT_KEYS": KEY_SET_TEXT,
    "JWT_ISSUER": "https://accounts.example.com",
    "JWT_AUDIENCE": "https://api.example.com",
}
RELAY_ENVIRONMENT = {
    "GOOGLE_CLOUD_PROJECT": "demo-test",
    "USER_CREATED_TOPIC": "user.created",
    "FUNCTION_TIMEOUT_SECONDS": "60",
}
SEND_EMAIL_ENVIRONMENT = {
    "GOOGLE_CLOUD_PROJECT": "demo-test",
    "FUNCTION_TIMEOUT_SECONDS": "30",
    "ACK_DEADLINE_SECONDS": "60",
    "LINK_KEYS": KEY_SET_TEXT,
    "VERIFY_URL": "https://accounts.example.com/verify",
    "MAIL_FROM": "Sign-up <no-reply@example.com>",
    "SMTP_HOST": "mail.example.com",
}


class Clock:
    """A clock that moves only when told to."""

    def __init__(self) -> None:
        self.time = START

    def __call__(self) -> datetime:
        return self.time

    def advance(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


class FakeUserStore:
    """Users in memory; commit is atomic, as Firestore's is."""

    def __init__(self) -> None:
        self.users: dict[str, SignUp] = {}
        self.claims: dict[str, str] = {}
        self.states: dict[str, str] = {}
        self.messages: dict[str, Message | None] = {}
        self.created: dict[str, datetime] = {}
        self.error: Exception | None = None
        self.commit_error: Exception | None = None
        self.mark_error: Exception | None = None
        self._lock = threading.Lock()

    def is_claimed(self, claim_key: str) -> bool:
        if self.error:
            raise self.error
        return claim_key in self.claims

    def commit(self, sign_up: SignUp) -> bool:
        if self.commit_error:
            raise self.commit_error
        with self._lock:
            if sign_up.claim_key in self.claims:
                return False
            self.claims[sign_up.claim_key] = sign_up.user_id
            self.users[sign_up.user_id] = sign_up
            self.add_pending(sign_up.event_id, sign_up.message, sign_up.created_time)
            return True

    def add_pending(self, event_id: str, message: Message | None, created: datetime) -> None:
        self.states[event_id] = "pending"
        self.messages[event_id] = message
        self.created[event_id] = created

    def pending(self, before: datetime, limit: int) -> list[PendingEvent]:
        if self.error:
            raise self.error
        waiting = [i for i, s in self.states.items() if s == "pending" and self.created[i] < before]
        waiting.sort(key=self.created.__getitem__)
        return [PendingEvent(i, self.messages[i], self.created[i]) for i in waiting[:limit]]

    def mark_published(self, event_id: str, now: datetime) -> None:
        if self.mark_error:
            raise self.mark_error
        self.states[event_id] = "published"

    def mark_refused(self, event_id: str, now: datetime) -> None:
        self.states[event_id] = "refused"


class FakePublisher:
    """Remembers what was published; `error_for` decides which message fails and how."""

    def __init__(self) -> None:
        self.published: list[Message] = []
        self.error_for: Callable[[Message], Exception | None] = lambda message: None

    def publish(self, message: Message) -> None:
        if error := self.error_for(message):
            raise error
        self.published.append(message)


class FakeHasher:
    """Hashes at no cost, and counts."""

    def __init__(self) -> None:
        self.count = 0
        self.before_return: Callable[[], object] = lambda: None

    def hash(self, password: str) -> StoredPassword:
        self.count += 1
        self.before_return()
        return StoredPassword(10, "k1", "$2b$10$not-a-real-hash")


@dataclass
class SignUpBench:
    """create_user and relay_outbox on fakes."""

    store: FakeUserStore = field(default_factory=FakeUserStore)
    publisher: FakePublisher = field(default_factory=FakePublisher)
    hasher: FakeHasher = field(default_factory=FakeHasher)
    clock: Clock = field(default_factory=Clock)
    encoding: Encoding = "JSON"
    tokens: Tokens = field(
        default_factory=lambda: Tokens(KEYS, "the-issuer", "the-audience", "at+jwt", 900)
    )

    def registration(self) -> Registration:
        return Registration(
            store=self.store,
            publisher=self.publisher,
            hasher=self.hasher,
            tokens=self.tokens,
            email_claim_key=KEY,
            source="/source",
            encoding=self.encoding,
            now=self.clock,
        )

    def relay(self) -> Relay:
        return Relay(self.store, self.publisher, 30, 60, self.clock)


class FakeDeliveryStore:
    """Deliveries in memory, each with a version number that every write raises."""

    def __init__(self) -> None:
        self.documents: dict[str, Versioned] = {}
        self.broken: list[tuple[object, str]] = []
        self.states: list[tuple[str, int]] = []
        self.before_put: Callable[[Delivery], None] = lambda delivery: None
        self.after_put: Callable[[Delivery], bool] = lambda delivery: True
        self.lock = threading.Lock()

    def read(self, delivery_id: str) -> Versioned | None:
        return self.documents.get(delivery_id)

    def put(self, delivery_id: str, delivery: Delivery, version: object) -> Versioned | None:
        self.before_put(delivery)
        with self.lock:
            found = self.documents.get(delivery_id)
            if (found.version if found else None) != version:
                return None
            written = Versioned(delivery, (found.version if found else 0) + 1)
            self.documents[delivery_id] = written
            self.states.append((delivery.state, delivery.attempts))
        return written if self.after_put(delivery) else None

    def record_broken(self, envelope: object, reason: str, now: datetime) -> None:
        self.broken.append((envelope, reason))

    @property
    def only(self) -> Delivery:
        (document,) = self.documents.values()
        return document.delivery


class FakeTransport:
    """Keeps mails; `errors` are raised first, one a mail."""

    def __init__(self) -> None:
        self.mails: list[Mail] = []
        self.errors: list[BaseException] = []
        self.before_send: Callable[[], object] = lambda: None

    def send(self, mail: Mail) -> None:
        self.before_send()
        if self.errors:
            raise self.errors.pop(0)
        self.mails.append(mail)


@dataclass
class MailBench:
    """send_email on fakes."""

    store: FakeDeliveryStore = field(default_factory=FakeDeliveryStore)
    transport: FakeTransport = field(default_factory=FakeTransport)
    clock: Clock = field(default_factory=Clock)

    def mailer(self) -> Mailer:
        return Mailer(
            store=self.store,
            transport=self.transport,
            templates=load_templates(),
            sender=Address("Sign-up", "no-reply", "example.com"),
            verify_url="https://accounts.example.com/verify",
            verify_ttl_seconds=3600,
            link_keys=KEYS,
            lease_seconds=45,
            project="demo-test",
            now=self.clock,
        )


def user_created(**changes: object) -> UserCreated:
    """An event, with changes."""
    fields = {
        "event_id": "e-1",
        "user_id": "u-1",
        "name": "Ada Lovelace",
        "email": "ada@example.com",
        "locale": "en",
        "created_time": START,
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    }
    return UserCreated(**fields | changes)  # type: ignore[arg-type]


def envelope(message: Message, message_id: str = "1") -> dict[str, object]:
    """What Pub/Sub pushes."""
    return {
        "message": {
            "data": base64.b64encode(message.data).decode(),
            "attributes": dict(message.attributes),
            "messageId": message_id,
            "publishTime": "2026-01-31T09:00:01Z",
        },
        "subscription": "projects/demo-test/subscriptions/send-email",
    }


def pushed(
    message_id: str = "1", encoding: Encoding = "JSON", **changes: object
) -> dict[str, object]:
    """What Pub/Sub pushes for an event, with changes."""
    return envelope(encode(user_created(**changes), "/source", encoding), message_id)

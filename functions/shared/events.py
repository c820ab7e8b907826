"""The `user.created` contract: what create_user promises its subscribers.

CloudEvents 1.0 over Pub/Sub, binary mode: the message data is the payload, the context
attributes are message attributes with the prefix `ce-`.

    attributes  {"ce-specversion": "1.0", "ce-id": event_id, "ce-type": "user.created",
                 "ce-source": "/projects/P/functions/create_user", "ce-subject": user_id,
                 "ce-time": "2026-01-31T09:00:00.000000Z", "ce-datacontenttype": "application/json",
                 "ce-dataschema": "urn:signup-cloud:user.created:1.0", "traceparent": "00-..."}
    data        {"schema_version": "1.0", "user_id": ..., "name": ..., "email": ...,
                 "locale": "en", "created_time": "2026-01-31T09:00:00.000000Z"},
                or the same in protobuf (user_created.proto), as `application/protobuf`

Rules:
1. `event_id` is the identity of an event: a republished event keeps it, while the message id
   and the CloudEvent id that the platform adds change.
2. Nothing secret, and only what subscribers need.
3. A minor version adds optional fields, and a reader ignores the fields it does not know. A
   reader refuses a major version it does not know.
4. `unwrap` and `decode` trust nobody: what they return is safe to use as a document id and as
   an address. Whatever the encoding, the same code decides.

Sources: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md,
https://github.com/google/knative-gcp/blob/main/docs/spec/pubsub-protocol-binding.md
"""

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from google.protobuf.message import DecodeError

from shared import user_created_pb2
from shared.strict_json import NotStrictJson, parse_object

USER_CREATED = "user.created"
SCHEMA_VERSION = "1.0"
MAX_DATA_BYTES = 64 * 1024

Encoding = Literal["JSON", "BINARY"]  # Pub/Sub's names for the encodings of a topic's schema
_CONTENT_TYPES: Mapping[Encoding, str] = {
    "JSON": "application/json",
    "BINARY": "application/protobuf",
}

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_VERSION = re.compile(r"([0-9]{1,4})\.[0-9]{1,4}")
_LOCALE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}")
# The shape create_user stores: a dot-atom (RFC 5321) and an IDNA domain, both ASCII.
_ADDRESS = re.compile(
    r"(?=.{3,254}$)(?!\.)(?!.*\.\.)(?!.*\.@)[a-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}"
    r"@[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)+"
)


class BrokenEvent(Exception):
    """A message that can never be understood. The reason is a constant: it quotes nothing."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Message:
    """What travels: the data and attributes of a Pub/Sub message."""

    data: bytes
    attributes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class UserCreated:
    """Someone signed up. `email` is the address as stored, in lower case."""

    event_id: str
    user_id: str
    name: str
    email: str
    locale: str
    created_time: datetime
    traceparent: str


def rfc3339(moment: datetime) -> str:
    """`2026-01-31T09:00:00.000000Z`, always with microseconds, so that text sorts as time."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def is_locale(value: str) -> bool:
    """Whether `value` is shaped like a language tag, such as `pt-BR`."""
    return _LOCALE.fullmatch(value) is not None


def is_address(value: str) -> bool:
    """Whether `value` is an address as an event may carry it: ASCII, lower case, a dot-atom."""
    return _ADDRESS.fullmatch(value) is not None


def encode(event: UserCreated, source: str, encoding: Encoding) -> Message:
    """The message that announces `event`; equal events give equal bytes."""
    payload = {
        "schema_version": SCHEMA_VERSION,
        "user_id": event.user_id,
        "name": event.name,
        "email": event.email,
        "locale": event.locale,
        "created_time": rfc3339(event.created_time),
    }
    if encoding == "BINARY":
        data = user_created_pb2.UserCreated(**payload).SerializeToString(deterministic=True)
    else:
        data = json.dumps(payload, ensure_ascii=False).encode("utf-8")
    attributes = {
        "ce-specversion": "1.0",
        "ce-id": event.event_id,
        "ce-type": USER_CREATED,
        "ce-source": source,
        "ce-subject": event.user_id,
        "ce-time": rfc3339(event.created_time),
        "ce-datacontenttype": _CONTENT_TYPES[encoding],
        "ce-dataschema": f"urn:signup-cloud:{USER_CREATED}:{SCHEMA_VERSION}",
        "traceparent": event.traceparent,
    }
    return Message(data, attributes)


def unwrap(envelope: object) -> Message:
    """The message inside what Pub/Sub pushes: `{"message": {"data": base64, "attributes": {}}}`.

    Raises:
        BrokenEvent: it is not shaped like that.
    """
    inner = envelope.get("message") if isinstance(envelope, Mapping) else None
    if not isinstance(inner, Mapping):
        raise BrokenEvent("no message")
    data, attributes = inner.get("data"), inner.get("attributes")
    if not isinstance(data, str) or not isinstance(attributes, Mapping):
        raise BrokenEvent("no data or no attributes")
    if not all(isinstance(text, str) for text in (*attributes, *attributes.values())):
        raise BrokenEvent("attributes are not text")
    try:
        return Message(base64.b64decode(data, validate=True), dict(attributes))
    except ValueError:
        raise BrokenEvent("data is not base64") from None


def decode(message: Message) -> UserCreated:
    """The event in `message`, in the encoding that its content type names.

    Raises:
        BrokenEvent: it is not a `user.created` of a version this reader knows.
    """
    attributes = message.attributes
    if attributes.get("ce-specversion") != "1.0":
        raise BrokenEvent("not a CloudEvent 1.0")
    if attributes.get("ce-type") != USER_CREATED:
        raise BrokenEvent("unknown event type")
    payload = _payload(message.data, attributes.get("ce-datacontenttype"))
    version = _VERSION.fullmatch(_text(payload, "schema_version", 9))
    if version is None or version[1] != SCHEMA_VERSION.partition(".")[0]:
        raise BrokenEvent("unknown schema_version")
    user_id = _id(payload.get("user_id"), "user_id")
    if attributes.get("ce-subject") != user_id:
        raise BrokenEvent("ce-subject is not the user_id")
    email = _text(payload, "email", 254)
    if not is_address(email):
        raise BrokenEvent("email is not an address")
    locale = _text(payload, "locale", 35)
    if not is_locale(locale):
        raise BrokenEvent("locale is not a language tag")
    return UserCreated(
        event_id=_id(attributes.get("ce-id"), "ce-id"),
        user_id=user_id,
        name=_text(payload, "name", 1000),
        email=email,
        locale=locale,
        created_time=_time(_text(payload, "created_time", 40)),
        traceparent=attributes.get("traceparent", ""),
    )


def in_the_other_encoding(message: Message) -> Message:
    """The same event, JSON as protobuf or protobuf as JSON; fields not known here get lost.

    Raises:
        BrokenEvent: as `decode`.
    """
    event = decode(message)
    is_json = message.attributes["ce-datacontenttype"] == _CONTENT_TYPES["JSON"]
    source = message.attributes.get("ce-source", "")
    return encode(event, source, "BINARY" if is_json else "JSON")


def _payload(data: bytes, content_type: str | None) -> Mapping[str, Any]:
    """The fields in `data` by name, of which nothing is checked yet; others may be among them."""
    if len(data) > MAX_DATA_BYTES:
        raise BrokenEvent("data too large")
    if content_type == _CONTENT_TYPES["JSON"]:
        try:
            return parse_object(data)
        except NotStrictJson as error:
            raise BrokenEvent(f"data: {error}") from None
    if content_type == _CONTENT_TYPES["BINARY"]:
        try:
            parsed = user_created_pb2.UserCreated.FromString(data)
        except (DecodeError, UnicodeDecodeError):  # the second by protobuf's pure Python runtime
            raise BrokenEvent("data: not the protobuf message") from None
        return {field.name: getattr(parsed, field.name) for field in parsed.DESCRIPTOR.fields}
    raise BrokenEvent("unknown content type")


def _text(payload: Mapping[str, Any], field: str, longest: int) -> str:
    value = payload.get(field)
    # protobuf cannot tell a missing field from an empty one, so nor does JSON.
    if not isinstance(value, str) or not 0 < len(value) <= longest:
        raise BrokenEvent(f"{field} is missing, empty, not text or too long")
    return value


def _id(value: object, field: str) -> str:
    if not isinstance(value, str) or _ID.fullmatch(value) is None:
        raise BrokenEvent(f"{field} is missing or not an id")
    return value


def _time(value: str) -> datetime:
    try:
        moment = datetime.fromisoformat(value).astimezone(UTC)
        zone = datetime.fromisoformat(value).tzinfo
    except (ValueError, OverflowError):
        raise BrokenEvent("created_time is not a time") from None
    # A century either way is a mistake, and would overflow the arithmetic done with it.
    if zone is None or not 2000 <= moment.year < 2100:
        raise BrokenEvent("created_time has no zone or is out of range")
    return moment

"""Names and limits of Pub/Sub resources: what a request may say, before any state is looked at.

1. A check either returns or raises InvalidArgument naming the field; nothing is corrected.
2. Sizes are bytes of UTF-8, durations are microseconds.

Sources: https://cloud.google.com/pubsub/docs/pubsub-basics#resource_names,
https://cloud.google.com/pubsub/quotas#resource_limits and the comments of
google/pubsub/v1/pubsub.proto. Texts: observed on Google's emulator 0.8.20 where it has one.
"""

import re
from collections.abc import Mapping, Sequence

from emulator.clock import SECOND_US
from emulator.errors import InvalidArgument, OutOfRange

DELETED_TOPIC = "_deleted-topic_"

MINUTE_US = 60 * SECOND_US
DAY_US = 24 * 60 * MINUTE_US

MIN_RETENTION_US = 10 * MINUTE_US
MAX_RETENTION_US = 31 * DAY_US
DEFAULT_RETENTION_US = 7 * DAY_US
DEFAULT_EXPIRATION_US = 31 * DAY_US
MIN_EXPIRATION_US = DAY_US
MAX_BACKOFF_US = 600 * SECOND_US
DEFAULT_MIN_BACKOFF_US = 10 * SECOND_US
MIN_ACK_DEADLINE_SECONDS = 10
MAX_ACK_DEADLINE_SECONDS = 600
MIN_DELIVERY_ATTEMPTS = 5
MAX_DELIVERY_ATTEMPTS = 100

MAX_PUBLISH_MESSAGES = 1000
MAX_PUBLISH_BYTES = 10_000_000
MAX_MESSAGE_BYTES = 10_000_000
MAX_ATTRIBUTES = 100
MAX_ATTRIBUTE_KEY_BYTES = 256
MAX_ATTRIBUTE_VALUE_BYTES = 1024
MAX_ORDERING_KEY_BYTES = 1024
MAX_ACK_IDS_BYTES = 512 * 1024
MAX_LABELS = 64

_PROJECT = re.compile(r"projects/([^/]+)")
_RESOURCE = re.compile(
    r"projects/(?P<project>[^/]+)/(?P<kind>topics|subscriptions|snapshots)"
    r"/(?P<id>[A-Za-z][A-Za-z0-9._~%+-]{2,254})"
)
# https://cloud.google.com/pubsub/docs/create-topic#labels: lower case letters, digits, _ and -.
_LABEL_KEY = re.compile(r"[^\W\dA-Z_-][^\WA-Z]*(?:-[^\WA-Z]*)*")
_LABEL_VALUE = re.compile(r"[^\WA-Z]*(?:-[^\WA-Z]*)*")


def check_name(name: str, kind: str) -> None:
    """Refuse a name that is not `projects/P/<kind>/ID`; `kind` as in "topics"."""
    match = _RESOURCE.fullmatch(name)
    if match is None or match["kind"] != kind or match["id"].startswith("goog"):
        raise InvalidArgument(f"Invalid [{kind}] name: (name={name})")


def check_project(project: str) -> str:
    """The prefix of the names of the project's resources, of `projects/P`."""
    if _PROJECT.fullmatch(project) is None:
        raise InvalidArgument(f"Invalid [projects] name: (name={project})")
    return project + "/"


def short_name(name: str) -> str:
    """`ID` of `projects/P/topics/ID`: how production names a resource in its errors."""
    return name.rpartition("/")[2]


def project_of(name: str) -> str:
    """`P` of `projects/P/topics/ID`."""
    return name.split("/")[1]


def check_labels(labels: Mapping[str, str]) -> None:
    """At most 64; a key starts with a letter; 63 characters each, no capitals."""
    if len(labels) > MAX_LABELS:
        raise InvalidArgument(f"labels: {len(labels)} were given, at most {MAX_LABELS} are allowed")
    for key, value in labels.items():
        if len(key) > 63 or not _LABEL_KEY.fullmatch(key):
            raise InvalidArgument(f"labels: invalid key {key!r}")
        if len(value) > 63 or not _LABEL_VALUE.fullmatch(value):
            raise InvalidArgument(f"labels: invalid value {value!r} of key {key!r}")


def _seconds(us: int) -> str:
    return f"{us / SECOND_US:.6f}".rstrip("0").rstrip(".") + "s"


def check_duration(field: str, us: int, low_us: int, high_us: int) -> None:
    """Refuse a duration outside [low_us, high_us]."""
    if not low_us <= us <= high_us:
        raise InvalidArgument(
            f"The value for {field} is out of bounds. You passed {_seconds(us)} in the request, "
            f"but the value must be between {_seconds(low_us)} and {_seconds(high_us)}."
        )


def check_ack_deadline(seconds: int, minimum: int) -> None:
    """Refuse an ack_deadline_seconds of a subscription outside its range."""
    if not minimum <= seconds <= MAX_ACK_DEADLINE_SECONDS:
        raise InvalidArgument(
            f"Invalid ack_deadline_seconds given: {seconds}. It must be between {minimum} and "
            f"{MAX_ACK_DEADLINE_SECONDS} (ack_deadline_secs out of bounds)."
        )


def check_delivery_attempts(attempts: int) -> None:
    """Refuse a max_delivery_attempts outside 5 to 100, in the code Google's emulator uses."""
    if attempts < MIN_DELIVERY_ATTEMPTS:
        raise OutOfRange(
            "The value for max_delivery_attempts is too small. You passed "
            f"{attempts} in the request, but the minimum value is {MIN_DELIVERY_ATTEMPTS}."
        )
    if attempts > MAX_DELIVERY_ATTEMPTS:
        raise OutOfRange(
            "The value for max_delivery_attempts is too large. You passed "
            f"{attempts} in the request, but the maximum value is {MAX_DELIVERY_ATTEMPTS}."
        )


def check_message(data: bytes, attributes: Mapping[str, str], ordering_key: str) -> int:
    """The size of a message to publish, in bytes; refuses one that is empty or too large."""
    size = len(data)
    if not size and not attributes:
        raise InvalidArgument("Some messages are empty: each must have data or an attribute")
    if attributes:
        if len(attributes) > MAX_ATTRIBUTES:
            raise InvalidArgument(
                f"attributes: a message has {len(attributes)}, at most {MAX_ATTRIBUTES} are allowed"
            )
        for key, value in attributes.items():
            key_bytes, value_bytes = len(key.encode()), len(value.encode())
            if not key:
                raise InvalidArgument("attributes: a key is empty")
            if key.startswith("goog"):
                raise InvalidArgument(f"attributes: key {key!r} starts with the reserved 'goog'")
            if key_bytes > MAX_ATTRIBUTE_KEY_BYTES:
                raise InvalidArgument(
                    f"attributes: a key has {key_bytes} bytes, at most "
                    f"{MAX_ATTRIBUTE_KEY_BYTES} are allowed"
                )
            if value_bytes > MAX_ATTRIBUTE_VALUE_BYTES:
                raise InvalidArgument(
                    f"attributes: the value of {key!r} has {value_bytes} bytes, at most "
                    f"{MAX_ATTRIBUTE_VALUE_BYTES} are allowed"
                )
            size += key_bytes + value_bytes
    if ordering_key:
        key_bytes = len(ordering_key.encode())
        if key_bytes > MAX_ORDERING_KEY_BYTES:
            raise InvalidArgument(
                f"ordering_key: it has {key_bytes} bytes, at most "
                f"{MAX_ORDERING_KEY_BYTES} are allowed"
            )
        size += key_bytes
    if size > MAX_MESSAGE_BYTES:
        raise InvalidArgument(
            f"The value for message is too large. You passed {size} bytes in the request, "
            f"but the maximum value is {MAX_MESSAGE_BYTES}."
        )
    return size


def check_publish(messages: Sequence[tuple[bytes, Mapping[str, str], str]]) -> None:
    """Refuse a whole Publish; `messages` are (data, attributes, ordering_key)."""
    if not messages:
        raise InvalidArgument("No messages to publish: messages is empty")
    if len(messages) > MAX_PUBLISH_MESSAGES:
        raise InvalidArgument(
            f"Too many messages to publish: messages has {len(messages)}, at most "
            f"{MAX_PUBLISH_MESSAGES} are allowed"
        )
    total = 0
    first_key = messages[0][2]
    for data, attributes, ordering_key in messages:
        total += check_message(data, attributes, ordering_key)
        if ordering_key != first_key:
            raise InvalidArgument(
                "ordering_key: all messages of one Publish must have the same ordering_key"
            )
    if total > MAX_PUBLISH_BYTES:
        raise InvalidArgument(
            f"Request payload size exceeds the limit: messages have {total} bytes, at most "
            f"{MAX_PUBLISH_BYTES} are allowed"
        )


def check_ack_ids(ack_ids: Sequence[str]) -> None:
    """Refuse a request without ack_ids."""
    if not ack_ids:
        raise InvalidArgument("No ack ids specified: ack_ids is empty")
    if sum(map(len, ack_ids)) > MAX_ACK_IDS_BYTES:
        raise InvalidArgument(
            f"Request payload size exceeds the limit: ack_ids, {MAX_ACK_IDS_BYTES} bytes"
        )

"""What is sent to a push endpoint for one message.

    {"message": {"data": "aGk=", "attributes": {"k": "v"}, "orderingKey": "o",
                 "messageId": "1700000000000000", "message_id": "1700000000000000",
                 "publishTime": "2026-11-23T06:06:03.184Z",
                 "publish_time": "2026-11-23T06:06:03.184Z"},
     "subscription": "projects/p/subscriptions/s", "deliveryAttempt": 1}

1. `deliveryAttempt` is there with a dead letter policy only; `attributes` and `orderingKey`
   are left out when empty, `data` never: functions-framework refuses a message without it.
2. Without the wrapper the body is the data alone; with `write_metadata` the rest is in headers.

Sources: https://cloud.google.com/pubsub/docs/push#receive_push and
https://cloud.google.com/pubsub/docs/payload-unwrapping; both spellings of the ids are also
what Google's emulator 0.8.20 sends.
"""

import base64
import json
import re
from typing import Any

from emulator.pubsub.dead_letter import rfc3339_ms
from emulator.pubsub.message import Delivery
from emulator.pubsub.settings import SubscriptionSettings

# https://cloud.google.com/pubsub/docs/push#receive_push
ACKED_STATUSES = frozenset({102, 200, 201, 202, 204})
_HEADERS = {"From": "noreply@google.com", "User-Agent": "CloudPubSub-Google"}
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NOT_IN_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def push_request(
    settings: SubscriptionSettings, delivery: Delivery
) -> tuple[dict[str, str], bytes]:
    """The headers and the body of the POST."""
    if settings.push.no_wrapper:
        headers = dict(_HEADERS)
        if settings.push.write_metadata:
            headers.update(_metadata(settings, delivery))
        return headers, delivery.message.data
    return {**_HEADERS, "Content-Type": "application/json"}, _wrapped(settings, delivery)


def _wrapped(settings: SubscriptionSettings, delivery: Delivery) -> bytes:
    stored = delivery.message
    publish_time = rfc3339_ms(stored.publish_time_us)
    message: dict[str, Any] = {}
    if stored.attributes:
        message["attributes"] = dict(stored.attributes)
    message["data"] = base64.b64encode(stored.data).decode()
    message["messageId"] = message["message_id"] = stored.message_id
    if stored.ordering_key:
        message["orderingKey"] = stored.ordering_key
    message["publishTime"] = message["publish_time"] = publish_time
    body: dict[str, Any] = {"message": message, "subscription": settings.name}
    if settings.dead_letter_policy is not None:
        body["deliveryAttempt"] = delivery.attempt
    return json.dumps(body, ensure_ascii=False).encode()


def _metadata(settings: SubscriptionSettings, delivery: Delivery) -> dict[str, str]:
    stored = delivery.message
    headers = {
        key: value
        for key, value in stored.attributes.items()
        # What HTTP cannot carry is left out, else the message could never be delivered.
        if _HEADER_NAME.fullmatch(key) and not _NOT_IN_VALUE.search(value)
    }
    headers["x-goog-pubsub-subscription-name"] = settings.name
    headers["x-goog-pubsub-message-id"] = stored.message_id
    headers["x-goog-pubsub-publish-time"] = rfc3339_ms(stored.publish_time_us)
    if stored.ordering_key and not _NOT_IN_VALUE.search(stored.ordering_key):
        headers["x-goog-pubsub-ordering-key"] = stored.ordering_key
    if settings.dead_letter_policy is not None:
        headers["x-goog-pubsub-delivery-attempt"] = str(delivery.attempt)
    return headers

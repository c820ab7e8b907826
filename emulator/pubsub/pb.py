"""The message classes of google.pubsub.v1 as protobuf has them, and times as it writes them.

The client library wraps its messages in proto-plus classes, several times slower; inside each
is a plain protobuf class, and these are they.
"""

from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from emulator.clock import SECOND_US
from emulator.errors import InvalidArgument
from emulator.message_types import import_types

(_types,) = import_types("google.pubsub_v1", "types.pubsub")


def _class(name: str) -> Any:
    return getattr(_types, name).meta.pb


Topic = _class("Topic")
Subscription = _class("Subscription")
Snapshot = _class("Snapshot")
PushConfig = _class("PushConfig")
PubsubMessage = _class("PubsubMessage")
ReceivedMessage = _class("ReceivedMessage")
GetTopicRequest = _class("GetTopicRequest")
UpdateTopicRequest = _class("UpdateTopicRequest")
PublishRequest = _class("PublishRequest")
PublishResponse = _class("PublishResponse")
ListTopicsRequest = _class("ListTopicsRequest")
ListTopicsResponse = _class("ListTopicsResponse")
ListTopicSubscriptionsRequest = _class("ListTopicSubscriptionsRequest")
ListTopicSubscriptionsResponse = _class("ListTopicSubscriptionsResponse")
ListTopicSnapshotsRequest = _class("ListTopicSnapshotsRequest")
ListTopicSnapshotsResponse = _class("ListTopicSnapshotsResponse")
DeleteTopicRequest = _class("DeleteTopicRequest")
DetachSubscriptionRequest = _class("DetachSubscriptionRequest")
DetachSubscriptionResponse = _class("DetachSubscriptionResponse")
GetSubscriptionRequest = _class("GetSubscriptionRequest")
UpdateSubscriptionRequest = _class("UpdateSubscriptionRequest")
ListSubscriptionsRequest = _class("ListSubscriptionsRequest")
ListSubscriptionsResponse = _class("ListSubscriptionsResponse")
DeleteSubscriptionRequest = _class("DeleteSubscriptionRequest")
ModifyPushConfigRequest = _class("ModifyPushConfigRequest")
PullRequest = _class("PullRequest")
PullResponse = _class("PullResponse")
ModifyAckDeadlineRequest = _class("ModifyAckDeadlineRequest")
AcknowledgeRequest = _class("AcknowledgeRequest")
StreamingPullRequest = _class("StreamingPullRequest")
StreamingPullResponse = _class("StreamingPullResponse")
CreateSnapshotRequest = _class("CreateSnapshotRequest")
UpdateSnapshotRequest = _class("UpdateSnapshotRequest")
GetSnapshotRequest = _class("GetSnapshotRequest")
ListSnapshotsRequest = _class("ListSnapshotsRequest")
ListSnapshotsResponse = _class("ListSnapshotsResponse")
DeleteSnapshotRequest = _class("DeleteSnapshotRequest")
SeekRequest = _class("SeekRequest")
SeekResponse = _class("SeekResponse")


def duration_us(field: str, duration: Duration) -> int:
    """Microseconds of a Duration; refuses one that is not normalised."""
    if not -1_000_000_000 < duration.nanos < 1_000_000_000:
        raise InvalidArgument(f"{field}: nanos is out of range")
    return duration.seconds * SECOND_US + duration.nanos // 1000


def set_duration(duration: Duration, us: int) -> None:
    """Write microseconds into a Duration."""
    duration.seconds, rest = divmod(us, SECOND_US)
    duration.nanos = rest * 1000


def timestamp_us(timestamp: Timestamp) -> int:
    """Microseconds since the epoch of a Timestamp."""
    return timestamp.seconds * SECOND_US + timestamp.nanos // 1000


def set_timestamp(timestamp: Timestamp, us: int) -> None:
    """Write microseconds since the epoch into a Timestamp."""
    timestamp.seconds, rest = divmod(us, SECOND_US)
    timestamp.nanos = rest * 1000

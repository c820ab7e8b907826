"""What a message that could not be delivered carries to the dead letter topic.

    {"CloudPubSubDeadLetterSourceSubscription": "my-sub",
     "CloudPubSubDeadLetterSourceSubscriptionProject": "my-project",
     "CloudPubSubDeadLetterSourceDeliveryCount": "5",
     "CloudPubSubDeadLetterSourceTopicPublishTime": "2026-11-23T06:06:03.184Z"}

Source: https://cloud.google.com/pubsub/docs/handling-failures#track-delivery-attempts;
formats observed: gcloud Pub/Sub emulator 0.8.20.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from emulator.pubsub import names
from emulator.pubsub.message import Delivery

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def rfc3339_ms(time_us: int) -> str:
    """`2026-11-23T06:06:03.184Z`: as JSON has a publish time, in milliseconds."""
    moment = _EPOCH + timedelta(microseconds=time_us)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def dead_letter_attributes(subscription_name: str, delivery: Delivery) -> Mapping[str, str]:
    """The message's own attributes and the four that tell where it came from."""
    prefix = "CloudPubSubDeadLetterSource"
    return {
        **delivery.message.attributes,
        f"{prefix}Subscription": names.short_name(subscription_name),
        f"{prefix}SubscriptionProject": names.project_of(subscription_name),
        f"{prefix}DeliveryCount": str(delivery.failures),
        f"{prefix}TopicPublishTime": rfc3339_ms(delivery.message.publish_time_us),
    }

"""google.pubsub.v1.Publisher: requests translated for the broker, and back.

Every method destructures its request, makes one call of the broker and builds the reply.
"""

from collections.abc import Callable
from typing import Any

from google.protobuf.empty_pb2 import Empty

from emulator.pubsub import pb, translate
from emulator.pubsub.message import NO_ATTRIBUTES
from emulator.pubsub.pages import page
from emulator.pubsub.runtime import Runtime
from emulator.wire import Context, Rpc, Service


class Publisher:
    """The methods, on one runtime."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._broker = runtime.broker
        self._lenient = runtime.options.lenient

    def create_topic(self, request: Any, _context: Context) -> Any:
        """CreateTopic."""
        settings = translate.topic_from(request, lenient=self._lenient)
        return translate.topic_to(self._broker.create_topic(settings).settings)

    def update_topic(self, request: Any, _context: Context) -> Any:
        """UpdateTopic."""
        present = self._broker.topic(request.topic.name).settings
        settings = translate.updated_topic(
            present, request.topic, request.update_mask.paths, lenient=self._lenient
        )
        topic = self._broker.update_topic(settings, self._runtime.now_us())
        return translate.topic_to(topic.settings)

    def publish(self, request: Any, _context: Context) -> Any:
        """Publish. message_id and publish_time of a request are ignored, as in production."""
        drafts = [
            (
                message.data,
                dict(message.attributes) if message.attributes else NO_ATTRIBUTES,
                message.ordering_key,
            )
            for message in request.messages
        ]
        messages = self._broker.publish(request.topic, drafts, self._runtime.now_us())
        self._runtime.settle()
        return pb.PublishResponse(message_ids=[str(m.sequence) for m in messages])

    def get_topic(self, request: Any, _context: Context) -> Any:
        """GetTopic."""
        return translate.topic_to(self._broker.topic(request.topic).settings)

    def list_topics(self, request: Any, _context: Context) -> Any:
        """ListTopics."""
        names, token = page(
            self._broker.topics_in(request.project), request.page_size, request.page_token
        )
        topics = self._broker.topics
        return pb.ListTopicsResponse(
            topics=[translate.topic_to(topics[name].settings) for name in names],
            next_page_token=token,
        )

    def list_topic_subscriptions(self, request: Any, _context: Context) -> Any:
        """ListTopicSubscriptions."""
        topic = self._broker.topic(request.topic)
        names = sorted(s.settings.name for s in topic.subscriptions)
        shown, token = page(names, request.page_size, request.page_token)
        return pb.ListTopicSubscriptionsResponse(subscriptions=shown, next_page_token=token)

    def list_topic_snapshots(self, request: Any, _context: Context) -> Any:
        """ListTopicSnapshots."""
        topic = self._broker.topic(request.topic)
        now_us = self._runtime.now_us()
        names = sorted(s.name for s in topic.snapshots if s.expire_us > now_us)
        shown, token = page(names, request.page_size, request.page_token)
        return pb.ListTopicSnapshotsResponse(snapshots=shown, next_page_token=token)

    def delete_topic(self, request: Any, _context: Context) -> Any:
        """DeleteTopic."""
        self._broker.delete_topic(request.topic)
        return Empty()

    def detach_subscription(self, request: Any, _context: Context) -> Any:
        """DetachSubscription."""
        self._broker.detach_subscription(request.subscription, self._runtime.now_us())
        return pb.DetachSubscriptionResponse()


def publisher_service(runtime: Runtime) -> Service:
    """The table of google.pubsub.v1.Publisher."""
    publisher = Publisher(runtime)
    table: dict[str, tuple[Any, Any, Callable[[Any, Context], Any]]] = {
        "CreateTopic": (pb.Topic, pb.Topic, publisher.create_topic),
        "UpdateTopic": (pb.UpdateTopicRequest, pb.Topic, publisher.update_topic),
        "Publish": (pb.PublishRequest, pb.PublishResponse, publisher.publish),
        "GetTopic": (pb.GetTopicRequest, pb.Topic, publisher.get_topic),
        "ListTopics": (pb.ListTopicsRequest, pb.ListTopicsResponse, publisher.list_topics),
        "ListTopicSubscriptions": (
            pb.ListTopicSubscriptionsRequest,
            pb.ListTopicSubscriptionsResponse,
            publisher.list_topic_subscriptions,
        ),
        "ListTopicSnapshots": (
            pb.ListTopicSnapshotsRequest,
            pb.ListTopicSnapshotsResponse,
            publisher.list_topic_snapshots,
        ),
        "DeleteTopic": (pb.DeleteTopicRequest, Empty, publisher.delete_topic),
        "DetachSubscription": (
            pb.DetachSubscriptionRequest,
            pb.DetachSubscriptionResponse,
            publisher.detach_subscription,
        ),
    }
    return Service("google.pubsub.v1.Publisher", {name: Rpc(*row) for name, row in table.items()})

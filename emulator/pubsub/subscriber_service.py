"""google.pubsub.v1.Subscriber: requests translated for the broker, and back.

Every method destructures its request, makes one call of the broker and builds the reply.
Pull waits in the subscription's feed; StreamingPull is in streaming.py.
"""

import asyncio
import secrets
from collections.abc import Callable
from typing import Any

from google.protobuf.empty_pb2 import Empty

from emulator.errors import InvalidArgument, ServiceError
from emulator.pubsub import names, pb, translate
from emulator.pubsub.consumer import Consumer
from emulator.pubsub.feed import MAX_BATCH_BYTES, MAX_BATCH_MESSAGES, Waiter
from emulator.pubsub.message import Delivery
from emulator.pubsub.pages import page
from emulator.pubsub.runtime import Runtime
from emulator.pubsub.streaming import StreamingPull
from emulator.pubsub.subscription import Subscription
from emulator.wire import Context, Rpc, Service

# A waiting Pull answers an empty list this long before its caller gives up, and after this
# long anyway. Google's emulator 0.8.20 holds it 59 to 60 s, a near miss of the usual 60.
_PULL_MARGIN_SECONDS = 1.0
_MAX_PULL_SECONDS = 50.0


def refuse_invalid(subscription: Subscription, invalid: list[str]) -> None:
    """With exactly-once delivery, tell which ack ids no longer hold a lease.

    Raises:
        InvalidArgument: with `PERMANENT_FAILURE_INVALID_ACK_ID` for each, as clients expect:
            https://cloud.google.com/pubsub/docs/exactly-once-delivery. Observed: gcloud
            Pub/Sub emulator 0.8.20 (INVALID_ARGUMENT).
    """
    if invalid and subscription.settings.enable_exactly_once_delivery:
        raise InvalidArgument(
            "Some acknowledgement ids in the request were invalid. This could be because the "
            "acknowledgement ids have expired or the acknowledgement ids were malformed.",
            dict.fromkeys(invalid, "PERMANENT_FAILURE_INVALID_ACK_ID"),
        )


class Subscriber:
    """The methods, on one runtime."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._broker = runtime.broker
        self._lenient = runtime.options.lenient

    def create_subscription(self, request: Any, _context: Context) -> Any:
        """CreateSubscription."""
        if not request.name:  # "If the name is not provided, the server will assign a random name"
            self._broker.topic(request.topic)
            project = names.project_of(request.topic)
            request.name = f"projects/{project}/subscriptions/subscription-{secrets.token_hex(8)}"
        settings = translate.subscription_from(request, lenient=self._lenient)
        subscription = self._broker.create_subscription(settings, self._runtime.now_us())
        self._runtime.settle()
        return translate.subscription_to(subscription)

    def get_subscription(self, request: Any, _context: Context) -> Any:
        """GetSubscription."""
        return translate.subscription_to(self._broker.subscription(request.subscription))

    def update_subscription(self, request: Any, _context: Context) -> Any:
        """UpdateSubscription."""
        present = self._broker.subscription(request.subscription.name).settings
        settings = translate.updated_subscription(
            present, request.subscription, request.update_mask.paths, lenient=self._lenient
        )
        subscription = self._broker.update_subscription(settings, self._runtime.now_us())
        self._runtime.settle()
        return translate.subscription_to(subscription)

    def list_subscriptions(self, request: Any, _context: Context) -> Any:
        """ListSubscriptions."""
        shown, token = page(
            self._broker.subscriptions_in(request.project), request.page_size, request.page_token
        )
        subscriptions = self._broker.subscriptions
        return pb.ListSubscriptionsResponse(
            subscriptions=[translate.subscription_to(subscriptions[name]) for name in shown],
            next_page_token=token,
        )

    def delete_subscription(self, request: Any, _context: Context) -> Any:
        """DeleteSubscription."""
        self._broker.delete_subscription(request.subscription, self._runtime.now_us())
        return Empty()

    def modify_push_config(self, request: Any, _context: Context) -> Any:
        """ModifyPushConfig."""
        push = translate.push_from(request.push_config)
        self._broker.modify_push_config(request.subscription, push, self._runtime.now_us())
        return Empty()

    def acknowledge(self, request: Any, _context: Context) -> Any:
        """Acknowledge."""
        subscription = self._broker.subscription(request.subscription)
        names.check_ack_ids(request.ack_ids)
        invalid = subscription.acknowledge(request.ack_ids, self._runtime.now_us())
        self._runtime.settle()
        refuse_invalid(subscription, invalid)
        return Empty()

    def modify_ack_deadline(self, request: Any, _context: Context) -> Any:
        """ModifyAckDeadline."""
        subscription = self._broker.subscription(request.subscription)
        names.check_ack_ids(request.ack_ids)
        invalid = subscription.modify_ack_deadline(
            request.ack_ids, request.ack_deadline_seconds, self._runtime.now_us()
        )
        self._runtime.settle()
        refuse_invalid(subscription, invalid)
        return Empty()

    async def pull(self, request: Any, context: Context) -> Any:
        """Pull: what is there, or what comes while the caller waits."""
        subscription = self._broker.subscription(request.subscription)
        if request.max_messages <= 0:
            raise InvalidArgument("No max_messages specified: max_messages must be positive")
        subscription.check_takeable(push=False)
        consumer = Consumer()
        limit = min(request.max_messages, MAX_BATCH_MESSAGES)
        batch = subscription.take(consumer, limit, MAX_BATCH_BYTES, self._runtime.now_us())
        if not batch and not request.return_immediately:
            batch = await self._wait(subscription, consumer, limit, context)
        self._runtime.settle()
        response = pb.PullResponse()
        translate.add_received(
            response.received_messages,
            batch,
            attempts=subscription.settings.dead_letter_policy is not None,
        )
        return response

    async def _wait(
        self, subscription: Subscription, consumer: Consumer, limit: int, context: Context
    ) -> list[Delivery]:
        future: asyncio.Future[list[Delivery]] = self._runtime.loop.create_future()

        def refuse(error: ServiceError) -> None:
            if not future.done():
                future.set_exception(error)

        def deliver(batch: list[Delivery]) -> None:
            if future.done():  # cancelled, or timed out, on this very turn of the loop
                subscription.release(consumer, seen=False)
            else:
                future.set_result(batch)

        def time_out() -> None:
            if not future.done():
                future.set_result([])

        remaining = context.time_remaining()
        seconds = _MAX_PULL_SECONDS
        if remaining is not None:
            margin = min(_PULL_MARGIN_SECONDS, remaining / 4)
            seconds = min(seconds, max(0.0, remaining - margin))
        waiter = Waiter(consumer, limit, deliver, refuse)
        feed = self._runtime.feeds[subscription]
        feed.wait(waiter)
        subscription.attached += 1
        timer = self._runtime.loop.call_later(seconds, time_out)
        try:
            return await future
        except asyncio.CancelledError:
            subscription.release(consumer, seen=False)
            raise
        finally:
            timer.cancel()
            feed.leave(waiter)
            subscription.attached -= 1

    def create_snapshot(self, request: Any, _context: Context) -> Any:
        """CreateSnapshot."""
        translate.refuse_tags(request, lenient=self._lenient)
        name = request.name
        if not name:  # "If the name is not provided, the server will assign a random name"
            self._broker.subscription(request.subscription)
            project = names.project_of(request.subscription)
            name = f"projects/{project}/snapshots/snapshot-{secrets.token_hex(8)}"
        snapshot = self._broker.create_snapshot(
            name, request.subscription, dict(request.labels), self._runtime.now_us()
        )
        return translate.snapshot_to(snapshot)

    def get_snapshot(self, request: Any, _context: Context) -> Any:
        """GetSnapshot."""
        return translate.snapshot_to(
            self._broker.snapshot(request.snapshot, self._runtime.now_us())
        )

    def list_snapshots(self, request: Any, _context: Context) -> Any:
        """ListSnapshots."""
        now_us = self._runtime.now_us()
        shown, token = page(
            self._broker.snapshots_in(request.project, now_us),
            request.page_size,
            request.page_token,
        )
        snapshots = self._broker.snapshots
        return pb.ListSnapshotsResponse(
            snapshots=[translate.snapshot_to(snapshots[name]) for name in shown],
            next_page_token=token,
        )

    def update_snapshot(self, request: Any, _context: Context) -> Any:
        """UpdateSnapshot: its labels; `expire_time` is output only."""
        now_us = self._runtime.now_us()
        name = request.snapshot.name
        self._broker.snapshot(name, now_us)
        translate.check_mask(
            "Snapshot", pb.Snapshot.DESCRIPTOR, request.update_mask.paths, frozenset({"labels"})
        )
        labels = dict(request.snapshot.labels)
        return translate.snapshot_to(self._broker.update_snapshot(name, labels, now_us))

    def delete_snapshot(self, request: Any, _context: Context) -> Any:
        """DeleteSnapshot."""
        self._broker.delete_snapshot(request.snapshot, self._runtime.now_us())
        return Empty()

    def seek(self, request: Any, _context: Context) -> Any:
        """Seek, to a time or to a snapshot."""
        now_us = self._runtime.now_us()
        target = request.WhichOneof("target")
        if target == "time":
            time_us = pb.timestamp_us(request.time)
            self._broker.seek_to_time(request.subscription, time_us, now_us)
        elif target == "snapshot":
            self._broker.seek_to_snapshot(request.subscription, request.snapshot, now_us)
        else:
            raise InvalidArgument(
                "No target was specified in the SeekRequest. Must specify either a time or a "
                "snapshot"
            )
        self._runtime.settle()
        return pb.SeekResponse()


def subscriber_service(runtime: Runtime) -> Service:
    """The table of google.pubsub.v1.Subscriber."""
    subscriber = Subscriber(runtime)
    table: dict[str, tuple[Any, Any, Callable[[Any, Context], Any]]] = {
        "CreateSubscription": (pb.Subscription, pb.Subscription, subscriber.create_subscription),
        "GetSubscription": (
            pb.GetSubscriptionRequest,
            pb.Subscription,
            subscriber.get_subscription,
        ),
        "UpdateSubscription": (
            pb.UpdateSubscriptionRequest,
            pb.Subscription,
            subscriber.update_subscription,
        ),
        "ListSubscriptions": (
            pb.ListSubscriptionsRequest,
            pb.ListSubscriptionsResponse,
            subscriber.list_subscriptions,
        ),
        "DeleteSubscription": (
            pb.DeleteSubscriptionRequest,
            Empty,
            subscriber.delete_subscription,
        ),
        "ModifyPushConfig": (pb.ModifyPushConfigRequest, Empty, subscriber.modify_push_config),
        "Acknowledge": (pb.AcknowledgeRequest, Empty, subscriber.acknowledge),
        "ModifyAckDeadline": (
            pb.ModifyAckDeadlineRequest,
            Empty,
            subscriber.modify_ack_deadline,
        ),
        "Pull": (pb.PullRequest, pb.PullResponse, subscriber.pull),
        "CreateSnapshot": (pb.CreateSnapshotRequest, pb.Snapshot, subscriber.create_snapshot),
        "GetSnapshot": (pb.GetSnapshotRequest, pb.Snapshot, subscriber.get_snapshot),
        "ListSnapshots": (
            pb.ListSnapshotsRequest,
            pb.ListSnapshotsResponse,
            subscriber.list_snapshots,
        ),
        "UpdateSnapshot": (pb.UpdateSnapshotRequest, pb.Snapshot, subscriber.update_snapshot),
        "DeleteSnapshot": (pb.DeleteSnapshotRequest, Empty, subscriber.delete_snapshot),
        "Seek": (pb.SeekRequest, pb.SeekResponse, subscriber.seek),
    }
    rpcs = {name: Rpc(*row) for name, row in table.items()}
    rpcs["StreamingPull"] = Rpc(
        pb.StreamingPullRequest,
        pb.StreamingPullResponse,
        StreamingPull(runtime).serve,
        stream_in=True,
        stream_out=True,
    )
    return Service("google.pubsub.v1.Subscriber", rpcs)

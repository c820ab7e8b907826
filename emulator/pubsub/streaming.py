"""StreamingPull: one stream between a subscriber and its subscription.

1. The first request names the subscription and the limits; later ones ack, move deadlines,
   or change the stream's deadline. Anything else aborts the stream with INVALID_ARGUMENT.
2. Messages are written as they come, never more than the limits allow to be outstanding.
3. When the client closes its side, the stream ends with OK and what is leased stays leased.
   When it is cancelled or lost, what is leased to it goes back at once.
4. With exactly-once delivery every request's ack ids are confirmed.
5. A client of protocol_version 1 pings with empty requests and reconnects if nothing comes
   back within 15 s: each is answered by an empty response.

Sources: the comments of StreamingPullRequest and StreamingPullResponse in pubsub.proto; for
rule 5 StreamingSubscriberConnection.java of googleapis/java-pubsub.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

from emulator.clock import SECOND_US
from emulator.errors import InvalidArgument, ServiceError
from emulator.pubsub import pb, translate
from emulator.pubsub.consumer import Consumer
from emulator.pubsub.feed import MAX_BATCH_MESSAGES, Feed, Waiter
from emulator.pubsub.message import Delivery
from emulator.pubsub.names import MAX_ACK_DEADLINE_SECONDS
from emulator.pubsub.runtime import Runtime
from emulator.pubsub.subscription import Subscription
from emulator.wire import Context

CANCELLATION_GRACE_SECONDS = 0.05


class _Stream:
    """One open stream."""

    def __init__(self, runtime: Runtime, first: Any) -> None:
        self._runtime = runtime
        self._subscription: Subscription = runtime.broker.subscription(first.subscription)
        self._subscription.check_takeable(push=False)
        self._feed: Feed = runtime.feeds[self._subscription]
        self._consumer = Consumer(
            ack_deadline_us=self._deadline_us(first.stream_ack_deadline_seconds),
            max_messages=first.max_outstanding_messages,
            max_bytes=first.max_outstanding_bytes,
        )
        self._waiter = Waiter(self._consumer, MAX_BATCH_MESSAGES, self._deliver, self._end)
        self._answers_pings = first.protocol_version >= 1
        self._replies: deque[Any] = deque()
        self._batch: list[Delivery] | None = None
        self._error: ServiceError | None = None
        self._half_closed = False
        self._woken: asyncio.Future[None] | None = None
        self._reader: asyncio.Task[None] | None = None
        self._released = False
        self._subscription.attached += 1

    def _deadline_us(self, seconds: int) -> int:
        low = self._runtime.options.min_ack_deadline_seconds
        if not low <= seconds <= MAX_ACK_DEADLINE_SECONDS:
            raise InvalidArgument(
                f"Invalid stream_ack_deadline_seconds given: {seconds}. It must be between "
                f"{low} and {MAX_ACK_DEADLINE_SECONDS}."
            )
        return seconds * SECOND_US

    # -- what wakes the writer --------------------------------------------------------------

    def _wake(self) -> None:
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)

    def _deliver(self, batch: list[Delivery]) -> None:
        self._batch = batch
        self._runtime.settle()
        self._wake()

    def _end(self, error: ServiceError) -> None:
        self._error = error
        self._wake()

    def release(self) -> None:
        """The call is over; unless the client ended it cleanly, what it had goes back."""
        if self._released:
            return
        self._released = True
        if self._reader is not None:
            self._reader.cancel()
        self._feed.leave(self._waiter)
        self._subscription.attached -= 1
        if not self._half_closed:
            self._subscription.release(self._consumer)
            self._runtime.settle()

    # -- requests ---------------------------------------------------------------------------

    def handle(self, request: Any, *, first: bool = False) -> None:
        """Apply one request.

        Raises:
            InvalidArgument: it sets what only a first request may, or is malformed.
        """
        if not first:
            for field in (
                "subscription",
                "max_outstanding_messages",
                "max_outstanding_bytes",
                "protocol_version",
            ):
                if getattr(request, field):
                    raise InvalidArgument(f"{field}: only the first request may set it")
            if request.stream_ack_deadline_seconds:
                self._consumer.ack_deadline_us = self._deadline_us(
                    request.stream_ack_deadline_seconds
                )
        if len(request.modify_deadline_ack_ids) != len(request.modify_deadline_seconds):
            raise InvalidArgument(
                "modify_deadline_seconds: it must be as long as modify_deadline_ack_ids"
            )
        now_us = self._runtime.now_us()
        if request.ack_ids:
            ack_ids = list(request.ack_ids)
            invalid = self._subscription.acknowledge(ack_ids, now_us)
            self._confirm("acknowledge_confirmation", ack_ids, invalid)
        if request.modify_deadline_ack_ids:
            self._modify(request, now_us)
        if self._answers_pings and not first and not request.ByteSize():
            self._replies.append(self._response())
            self._wake()
        self._runtime.settle()

    def _modify(self, request: Any, now_us: int) -> None:
        by_seconds: dict[int, list[str]] = {}
        for ack_id, seconds in zip(
            request.modify_deadline_ack_ids, request.modify_deadline_seconds, strict=True
        ):
            by_seconds.setdefault(seconds, []).append(ack_id)
        invalid: list[str] = []
        for seconds, ack_ids in by_seconds.items():
            invalid += self._subscription.modify_ack_deadline(ack_ids, seconds, now_us)
        self._confirm(
            "modify_ack_deadline_confirmation", list(request.modify_deadline_ack_ids), invalid
        )

    def _confirm(self, field: str, ack_ids: list[str], invalid: list[str]) -> None:
        if not self._subscription.settings.enable_exactly_once_delivery:
            return
        response = self._response()
        confirmation = getattr(response, field)
        bad = set(invalid)
        confirmation.ack_ids.extend(ack_id for ack_id in ack_ids if ack_id not in bad)
        confirmation.invalid_ack_ids.extend(invalid)
        self._replies.append(response)
        self._wake()

    def listen(self, requests: AsyncIterator[Any]) -> None:
        """Apply requests until the client closes its side."""
        self._reader = self._runtime.loop.create_task(self._read(requests))

    async def _read(self, requests: AsyncIterator[Any]) -> None:
        try:
            async for request in requests:
                self.handle(request)
        except ServiceError as error:
            self._end(error)
            return
        # A cancelled call shows the end of its requests before its cancellation (observed:
        # grpcio 1.85): wait for that, or what it held would stay leased.
        await asyncio.sleep(CANCELLATION_GRACE_SECONDS)
        self._half_closed = True
        self._wake()

    # -- replies ----------------------------------------------------------------------------

    def _response(self) -> Any:
        settings = self._subscription.settings
        response = pb.StreamingPullResponse()
        properties = response.subscription_properties
        properties.exactly_once_delivery_enabled = settings.enable_exactly_once_delivery
        properties.message_ordering_enabled = settings.enable_message_ordering
        return response

    async def replies(self) -> AsyncIterator[Any]:
        """Each response, until the stream ends.

        Raises:
            ServiceError: what ended it.
        """
        self._feed.wait(self._waiter)
        while True:
            while self._replies:
                yield self._replies.popleft()
            batch, self._batch = self._batch, None
            if batch:
                response = self._response()
                translate.add_received(
                    response.received_messages,
                    batch,
                    attempts=self._subscription.settings.dead_letter_policy is not None,
                )
                yield response
                self._feed.wait(self._waiter)
                continue
            if self._error is not None:
                raise self._error
            if self._half_closed:
                return
            if not self._replies:
                self._woken = self._runtime.loop.create_future()
                await self._woken


class StreamingPull:
    """The method, on one runtime."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def serve(self, requests: AsyncIterator[Any], context: Context) -> AsyncIterator[Any]:
        """One call."""
        first = await anext(aiter(requests), None)
        if first is None:
            raise InvalidArgument("subscription: the first request must name it")
        stream = _Stream(self._runtime, first)
        # The call may also end while a reply is being written, where no exception comes here.
        done: Any = context  # grpc's stub asks for a type that it does not export
        done.add_done_callback(lambda _context: stream.release())
        try:
            stream.handle(first, first=True)
            stream.listen(requests)
            async for reply in stream.replies():
                yield reply
        finally:
            stream.release()

"""One subscription's messages: who has which, until when, and what comes next.

1. A message that was published after the subscription, and passes its filter, is handed out
   until it is acked, dead-lettered, purged by a seek, or older than the retention.
2. At most one lease per message lives at a time. Each lease has an ack_id of its own.
3. A nack or a missed deadline is a failure: it raises delivery_attempt, starts the backoff
   and may dead-letter. A consumer that goes away fails nothing: what it had returns at once,
   unless delivery is exactly-once: then it returns at the deadline.
4. With ordering, a key's messages go out in order and to one consumer at a time. When one
   comes back, everything of its key after it that is still out comes back too, in order.
5. A late ack (after the deadline, or after the stream broke, with the message not handed out
   again) still counts, unless the delivery is exactly-once or ordered. An ack after a nack
   does not.
6. Redelivered and new messages take turns, so that neither starves.

Not here: topics and names (broker.py), seeking (seek.py), waiting (feed.py).
Source: https://cloud.google.com/pubsub/docs/subscription-properties and .../ordering.
DIFFERS: production may deliver acked messages of a key again after a nack of an earlier one.
"""

import re
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from emulator.clock import SECOND_US
from emulator.errors import FailedPrecondition, InvalidArgument, NotFound
from emulator.pubsub.backoff import retry_delay_us
from emulator.pubsub.consumer import Consumer
from emulator.pubsub.filters import parse_filter
from emulator.pubsub.leases import NEVER, Timetable
from emulator.pubsub.message import DONE, LEASED, READY, WAITING, Delivery, KeyQueue, Message
from emulator.pubsub.names import MAX_ACK_DEADLINE_SECONDS, short_name
from emulator.pubsub.ordering import KeyQueues
from emulator.pubsub.settings import SubscriptionSettings

_ACK_ID = re.compile(r"[0-9a-f]+-[0-9a-f]+-[0-9a-f]+")


def _lease_end(delivery: Delivery) -> int | None:
    return delivery.deadline_us if delivery.state == LEASED else None


def _backoff_end(thing: Delivery | KeyQueue) -> int | None:
    if isinstance(thing, KeyQueue):
        return thing.not_before_us or None
    return thing.deadline_us if thing.state == WAITING else None


class Subscription:
    """The queue of one subscription. Every time is microseconds since the epoch."""

    def __init__(
        self,
        serial: int,
        settings: SubscriptionSettings,
        now_us: int,
        *,
        random: Callable[[], float],
        dead_letter: "Callable[[Subscription, Delivery, int], bool]",
        schedule: "Callable[[Subscription], None]",
    ) -> None:
        """`random` gives [0, 1); `dead_letter` forwards, or says False if it cannot.

        `schedule` hears of an earlier `wakeup_us`.
        """
        self.serial = serial
        self.deleted = False
        self.notify: Callable[[], None] = lambda: None  # something can be taken, or all changed
        self.acked: dict[int, Message] = {}  # retain_acked_messages, in the order acked
        self.topic_retention_us = 0
        self.wakeup_us = NEVER  # when the broker is to call advance()
        self.active_us = now_us
        self.attached = 0  # consumers connected: an attached subscription does not expire
        self._random = random
        self._dead_letter = dead_letter
        self._schedule = schedule
        self._leases_made = 0
        self._ready: deque[Any] = deque()  # Message | KeyQueue
        self._returned: deque[Delivery] = deque()
        self._turn_of_returned = True
        self._deliveries: dict[int, Delivery] = {}
        self._leases: dict[str, Delivery] = {}
        self._keys = KeyQueues(self._ready, self._deliveries)
        self._expiries: Timetable[Delivery] = Timetable(_lease_end)
        self._backoffs: Timetable[Delivery | KeyQueue] = Timetable(_backoff_end)
        self.configure(settings)

    # -- settings ---------------------------------------------------------------------------

    def configure(self, settings: SubscriptionSettings) -> None:
        """Take new settings; waiting consumers hear of it."""
        self.settings = settings
        self._filter = parse_filter(settings.filter) if settings.filter else None
        self._ack_deadline_us = settings.ack_deadline_seconds * SECOND_US
        self._exactly_once = settings.enable_exactly_once_delivery
        self._ordered = settings.enable_message_ordering
        if not settings.retain_acked_messages:
            self.acked.clear()
        self._plan(self._next_us())
        self.notify()

    @property
    def retention_us(self) -> int:
        """How long an unacked message stays, from its publish_time."""
        return max(self.settings.message_retention_us, self.topic_retention_us)

    def check_takeable(self, *, push: bool) -> None:
        """Refuse to hand out from a subscription that is gone, or of the other kind."""
        if self.deleted:
            raise NotFound(f"Resource not found (resource={short_name(self.settings.name)}).")
        if self.settings.detached:
            raise FailedPrecondition(
                f"Subscription is detached (resource={short_name(self.settings.name)})."
            )
        if push != bool(self.settings.push.endpoint):
            raise FailedPrecondition("This method is not supported for this subscription type.")

    # -- publish and take -------------------------------------------------------------------

    def enqueue(self, messages: Sequence[Message], now_us: int) -> None:
        """New messages of the topic, in order."""
        wanted = self._filter
        if wanted is not None:
            messages = [m for m in messages if wanted.matches(m.attributes)]
        if not messages:
            return
        if self._ordered:
            for message in messages:
                if message.ordering_key:
                    self._keys.add(message)
                else:
                    self._ready.append(message)
        else:
            self._ready.extend(messages)
        self._plan(messages[0].publish_time_us + self.retention_us)
        self.notify()

    def has_ready(self) -> bool:
        """Whether a consumer that owns no key may get something (a stale token may deceive)."""
        return bool(self._ready or self._returned)

    def ready_count(self) -> int:
        """About how much `has_ready` speaks of; a key counts as one."""
        return len(self._ready) + len(self._returned)

    def take(self, consumer: Consumer, limit: int, max_bytes: int, now_us: int) -> list[Delivery]:
        """Lease up to `limit` messages and about `max_bytes` to the consumer."""
        if self.wakeup_us <= now_us:
            self.advance(now_us)
        self.active_us = now_us
        batch: list[Delivery] = []
        if consumer.closed:
            return batch
        limit = min(limit, consumer.max_messages - consumer.outstanding_messages)
        room = min(max_bytes, consumer.max_bytes - consumer.outstanding_bytes)
        oldest_us = now_us - self.retention_us
        duration_us = consumer.ack_deadline_us or self._ack_deadline_us
        deadline_us = now_us + duration_us
        while len(batch) < limit and room > 0:
            delivery = self._next(consumer, oldest_us)
            if delivery is None:
                break
            self._leases_made += 1
            ack_id = f"{self.serial:x}-{delivery.message.sequence:x}-{self._leases_made:x}"
            delivery.ack_id = ack_id
            delivery.state = LEASED
            delivery.deadline_us = deadline_us
            delivery.consumer = consumer
            self._leases[ack_id] = delivery
            self._expiries.add(deadline_us, delivery, len(self._leases))
            size = delivery.message.size
            consumer.outstanding_messages += 1
            consumer.outstanding_bytes += size
            room -= size
            batch.append(delivery)
        if batch:
            self._plan(deadline_us)
        return batch

    def _next(self, consumer: Consumer, oldest_us: int) -> Delivery | None:
        """The next message for this consumer, in no queue any more."""
        while True:
            if consumer.keys:
                delivery = self._keys.take(consumer.keys, consumer, oldest_us)
                if delivery is not None:
                    return delivery
                continue
            returned = self._returned
            if returned and (self._turn_of_returned or not self._ready):
                self._turn_of_returned = False
                delivery = returned.popleft()
                if delivery.state != READY:
                    continue
                if delivery.message.publish_time_us <= oldest_us:
                    self._forget(delivery)
                    continue
                return delivery
            self._turn_of_returned = True
            ready = self._ready
            if not ready:
                return None
            item = ready[0]
            if isinstance(item, KeyQueue):
                delivery = self._keys.take(ready, consumer, oldest_us)
                if delivery is not None:
                    return delivery
                continue
            ready.popleft()
            if item.publish_time_us <= oldest_us:
                continue
            delivery = self._deliveries[item.sequence] = Delivery(item, None)
            return delivery

    # -- settle -----------------------------------------------------------------------------

    def acknowledge(self, ack_ids: Iterable[str], now_us: int) -> list[str]:
        """The messages are done; returns the ack_ids that name nothing that can be acked.

        Raises:
            InvalidArgument: an ack_id was never made here (unless delivery is exactly-once).
        """
        self._before_settling(ack_ids, now_us)
        invalid = []
        for ack_id in ack_ids:
            delivery = self._leases.get(ack_id)
            if delivery is not None:
                self._end_lease(delivery)
            else:
                delivery = self._late(ack_id)
                if delivery is None:
                    invalid.append(ack_id)
                    continue
            self._retain(delivery.message, now_us)
            self._forget(delivery)
        return invalid

    def modify_ack_deadline(self, ack_ids: Iterable[str], seconds: int, now_us: int) -> list[str]:
        """Move the deadlines to `seconds` from now, 0 being a nack; returns what has no lease.

        Raises:
            InvalidArgument: an ack_id was never made here (unless delivery is exactly-once),
                or `seconds` is out of range.
        """
        if seconds < 0:
            raise InvalidArgument("ack_deadline_seconds: Ack deadline cannot be negative")
        if seconds > MAX_ACK_DEADLINE_SECONDS:
            raise InvalidArgument(
                f"ack_deadline_seconds: {seconds} is more than {MAX_ACK_DEADLINE_SECONDS}"
            )
        self._before_settling(ack_ids, now_us)
        invalid = []
        deadline_us = now_us + seconds * SECOND_US
        for ack_id in ack_ids:
            delivery = self._leases.get(ack_id)
            if delivery is None:
                invalid.append(ack_id)
            elif seconds == 0:
                self._fail(delivery, now_us, nack=True)
            else:
                earlier = deadline_us < delivery.deadline_us
                delivery.deadline_us = deadline_us
                if earlier:  # a later end is looked up when the first one comes
                    self._expiries.add(deadline_us, delivery, len(self._leases))
        if seconds:
            self._plan(deadline_us)
        return invalid

    def _before_settling(self, ack_ids: Iterable[str], now_us: int) -> None:
        if not self._exactly_once:
            for ack_id in ack_ids:
                if ack_id not in self._leases and not _ACK_ID.fullmatch(ack_id):
                    raise InvalidArgument(f"Invalid ack id (ack_id={ack_id})")
        if self.wakeup_us <= now_us:
            self.advance(now_us)
        self.active_us = now_us

    def _late(self, ack_id: str) -> Delivery | None:
        if self._exactly_once:
            return None
        serial, sequence, _ = ack_id.split("-")
        if int(serial, 16) != self.serial:
            return None
        delivery = self._deliveries.get(int(sequence, 16))
        if delivery is None or delivery.ack_id != ack_id or delivery.key is not None:
            return None
        return delivery

    def _end_lease(self, delivery: Delivery) -> None:
        del self._leases[delivery.ack_id]
        consumer = delivery.consumer
        delivery.consumer = None
        if consumer is not None:
            was_full = consumer.full
            consumer.outstanding_messages -= 1
            consumer.outstanding_bytes -= delivery.message.size
            if was_full and (self._ready or self._returned or consumer.keys):
                self.notify()

    def _forget(self, delivery: Delivery) -> None:
        """The message is out of this subscription, its lease having ended."""
        delivery.state = DONE
        sequence = delivery.message.sequence
        self._deliveries.pop(sequence, None)
        key = delivery.key
        if key is not None:
            key.outstanding.pop(sequence, None)
            if self._keys.offer(key):
                self.notify()

    def _retain(self, message: Message, now_us: int) -> None:
        if not self.settings.retain_acked_messages:
            return
        acked = self.acked
        acked[message.sequence] = message
        oldest_us = now_us - self.settings.message_retention_us
        while acked:
            first = next(iter(acked))
            if acked[first].publish_time_us > oldest_us:
                break
            del acked[first]

    def _fail(self, delivery: Delivery, now_us: int, *, nack: bool) -> None:
        """A nack or a missed deadline."""
        self._end_lease(delivery)
        delivery.failures += 1
        if nack:
            delivery.ack_id = ""
        policy = self.settings.dead_letter_policy
        if (
            policy is not None
            and delivery.failures >= policy.max_delivery_attempts
            and self._dead_letter(self, delivery, now_us)
        ):
            self._forget(delivery)
            return
        delay_us = 0
        retry = self.settings.retry_policy
        if retry is not None:
            delay_us = retry_delay_us(
                retry.minimum_backoff_us,
                retry.maximum_backoff_us,
                delivery.failures,
                self._random(),
            )
        delivery.deadline_us = now_us + delay_us
        if delivery.key is not None:
            self._put_back_in_order(delivery.key, delivery)
            if delay_us:
                delivery.key.not_before_us = delivery.deadline_us
                self._backoffs.add(delivery.deadline_us, delivery.key, len(self._deliveries))
                self._plan(delivery.deadline_us)
            self._keys.offer(delivery.key)
        elif delay_us:
            delivery.state = WAITING
            self._backoffs.add(delivery.deadline_us, delivery, len(self._deliveries))
            self._plan(delivery.deadline_us)
        else:
            delivery.state = READY
            self._returned.append(delivery)
        self.notify()

    def _put_back_in_order(self, key: KeyQueue, first: Delivery) -> None:
        """`first` and what is out of its key after it become pending again, leases ended."""
        for delivery in self._keys.put_back(key, first):
            if delivery.consumer is not None:
                self._end_lease(delivery)

    def release(self, consumer: Consumer, *, seen: bool = True) -> None:
        """The consumer is gone: what it had goes back at once, and no failure is counted.

        With exactly-once delivery a message that the consumer may have `seen` stays leased: it
        "is guaranteed not to be resent before the message's acknowledgment deadline expires".
        """
        consumer.closed = True
        if self._exactly_once and seen:
            return
        held = [d for d in self._leases.values() if d.consumer is consumer]
        held.sort(key=lambda delivery: delivery.message.sequence)
        unordered = []
        for delivery in held:
            if delivery.state != LEASED or delivery.consumer is not consumer:
                continue  # put back with an earlier one of its key
            if delivery.key is not None:
                self._put_back_in_order(delivery.key, delivery)
                self._keys.offer(delivery.key)
            else:
                self._end_lease(delivery)
                delivery.state = READY
                unordered.append(delivery)
        self._returned.extendleft(reversed(unordered))
        consumer.keys.clear()
        if held:
            self.notify()

    # -- time -------------------------------------------------------------------------------

    def advance(self, now_us: int) -> None:
        """Apply what time alone changes up to now."""
        for delivery in self._expiries.due(now_us):
            self._fail(delivery, now_us, nack=False)
        woken = False
        for thing in self._backoffs.due(now_us):
            woken = True
            if isinstance(thing, KeyQueue):
                thing.not_before_us = 0
                self._keys.offer(thing)
            else:
                thing.state = READY
                self._returned.append(thing)
        oldest_us = now_us - self.retention_us
        ready = self._ready
        while ready and isinstance(ready[0], Message) and ready[0].publish_time_us <= oldest_us:
            ready.popleft()
        self.wakeup_us = NEVER
        self._plan(self._next_us())
        if woken:
            self.notify()

    def expired(self, now_us: int) -> bool:
        """Whether the expiration policy deletes it now."""
        ttl_us = self.settings.expiration_us
        if ttl_us is None:
            return False
        if self.attached:
            self.active_us = now_us
        return self.active_us + ttl_us <= now_us

    def _next_us(self) -> int:
        next_us = min(self._expiries.next_us(), self._backoffs.next_us())
        if self._ready and isinstance(self._ready[0], Message):
            next_us = min(next_us, self._ready[0].publish_time_us + self.retention_us)
        if self.settings.expiration_us is not None:
            next_us = min(next_us, self.active_us + self.settings.expiration_us)
        return next_us

    def _plan(self, at_us: int) -> None:
        if at_us < self.wakeup_us:
            self.wakeup_us = at_us
            self._schedule(self)

    def wants(self, message: Message) -> bool:
        """Whether its filter lets the message through."""
        return self._filter is None or self._filter.matches(message.attributes)

    # -- the whole backlog ------------------------------------------------------------------

    def unacked(self) -> list[Message]:
        """Every message it still has to deliver or to see acked, in the order published."""
        found = {m.sequence: m for m in self._ready if isinstance(m, Message)}
        found.update((m.sequence, m) for m in self._keys.pending())
        found.update((sequence, d.message) for sequence, d in self._deliveries.items())
        return [found[sequence] for sequence in sorted(found)]

    def replace_backlog(self, messages: Iterable[Message], now_us: int) -> None:
        """Make exactly these the unacked ones.

        What stays unacked keeps its lease and attempts, except that with ordering all leases
        end, so that order holds from the start.
        """
        wanted = {m.sequence: m for m in messages}
        for sequence, delivery in list(self._deliveries.items()):
            keep = sequence in wanted
            if keep and not self._ordered:
                continue
            if delivery.state == LEASED:
                self._end_lease(delivery)
            delivery.state = READY if keep else DONE
            if not keep:
                del self._deliveries[sequence]
        self._ready.clear()
        self._keys.clear()
        if self._ordered:
            self._returned.clear()
            self._backoffs.clear()
        for sequence in sorted(wanted):
            message = wanted[sequence]
            delivery_before = self._deliveries.get(sequence)
            if self._ordered and message.ordering_key:
                self._keys.add(delivery_before or message)
            elif delivery_before is None:
                self._ready.append(message)
            elif self._ordered:
                self._returned.append(delivery_before)
        self.advance(now_us)
        self.notify()

    def drop_backlog(self, now_us: int) -> None:
        """Forget every message, acked ones too."""
        self.replace_backlog((), now_us)
        self.acked.clear()

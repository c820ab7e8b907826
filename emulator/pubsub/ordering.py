"""Messages with ordering keys, in one subscription: which may go out next, and to whom.

1. A key's messages are outstanding or pending, and all outstanding ones come before all
   pending ones.
2. While some are outstanding only their consumer, the key's owner, may take more of the key,
   and no more than its `key_window` at a time.
3. A key that has something to take stands once in one queue: its owner's, or the
   subscription's where it waits among the messages without a key.
4. When a message comes back, it and all that are out after it are pending again, in order.

Source: https://cloud.google.com/pubsub/docs/ordering
"""

from collections import deque
from collections.abc import Iterator
from typing import Any

from emulator.pubsub.consumer import Consumer
from emulator.pubsub.message import READY, Delivery, KeyQueue, Message


class KeyQueues:
    """The keys of a subscription. `ready` and `deliveries` are the subscription's own."""

    def __init__(self, ready: deque[Any], deliveries: dict[int, Delivery]) -> None:
        self._ready = ready
        self._deliveries = deliveries
        self._keys: dict[str, KeyQueue] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, item: Message | Delivery) -> None:
        """Put a message, or one that was handed out before, at the end of its key."""
        message = item.message if isinstance(item, Delivery) else item
        name = message.ordering_key
        key = self._keys.get(name)
        if key is None:
            key = self._keys[name] = KeyQueue(name)
        if isinstance(item, Delivery):
            item.key = key
        key.pending.append(item)
        self.offer(key)

    def offer(self, key: KeyQueue) -> bool:
        """Queue the key where it can be taken from, if it can; forget it if nothing is left.

        Returns whether it can be taken from.
        """
        if not key.pending:
            if not key.outstanding and self._keys.get(key.key) is key:
                del self._keys[key.key]
            return False
        if key.not_before_us:
            return False
        owner = key.owner
        if owner is not None and not key.outstanding:
            owner = key.owner = None
        if owner is None:
            place: deque[Any] = self._ready
        elif len(key.outstanding) >= owner.key_window:
            return False
        else:
            place = owner.keys
        if key.place is not place:
            key.place = place
            place.append(key)
        return True

    def take(self, place: deque[Any], consumer: Consumer, oldest_us: int) -> Delivery | None:
        """The next message of the key at the head of `place`, now outstanding with `consumer`.

        None if that was a stale token or too old: look again. The key keeps its place in its
        owner's queue while it has more.
        """
        key: KeyQueue = place[0]
        if key.place is not place or key.not_before_us:
            self._leave(place, key)
            return None
        while key.pending:
            item = key.pending.popleft()
            message = item.message if isinstance(item, Delivery) else item
            if message.publish_time_us <= oldest_us:
                self._deliveries.pop(message.sequence, None)
                continue
            if isinstance(item, Delivery):
                delivery = item
            else:
                delivery = self._deliveries[message.sequence] = Delivery(message, key)
            key.outstanding[message.sequence] = delivery
            key.owner = consumer
            if place is not consumer.keys or len(key.outstanding) >= consumer.key_window:
                self._leave(place, key)
                self.offer(key)
            return delivery
        self._leave(place, key)
        self.offer(key)
        return None

    def _leave(self, place: deque[Any], key: KeyQueue) -> None:
        place.popleft()
        if key.place is place:
            key.place = None

    def put_back(self, key: KeyQueue, first: Delivery) -> list[Delivery]:
        """`first`, and what is out of its key after it, are pending again; returns them all.

        The caller ends their leases and offers the key.
        """
        start = first.message.sequence
        back = [delivery for sequence, delivery in key.outstanding.items() if sequence >= start]
        for delivery in back:
            del key.outstanding[delivery.message.sequence]
            delivery.state = READY
        key.pending.extendleft(reversed(back))
        return back

    def pending(self) -> Iterator[Message]:
        """Every pending message, key by key."""
        for key in self._keys.values():
            for item in key.pending:
                yield item.message if isinstance(item, Delivery) else item

    def clear(self) -> None:
        """Forget every key; tokens of them, wherever they are, are stale."""
        for key in self._keys.values():
            key.place = None
            key.pending.clear()
        self._keys.clear()

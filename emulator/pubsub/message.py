"""A stored message, and its way through one subscription.

1. A message is stored once, whatever the number of subscriptions; nobody changes it.
2. A subscription keeps nothing of its own about a message until it first hands it out: a
   backlog costs one pointer per message and subscription.
"""

from collections import deque
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emulator.pubsub.consumer import Consumer

NO_ATTRIBUTES: Mapping[str, str] = MappingProxyType({})

READY = 0  # waits for somebody to take it
LEASED = 1  # with a consumer, until its deadline
WAITING = 2  # waits for its backoff to end
DONE = 3  # acked, dead-lettered, expired or purged


class Message:
    """What was published; `sequence` grows with every message of the broker."""

    __slots__ = ("attributes", "data", "ordering_key", "publish_time_us", "sequence")

    def __init__(
        self,
        sequence: int,
        publish_time_us: int,
        data: bytes,
        attributes: Mapping[str, str],
        ordering_key: str,
    ) -> None:
        self.sequence = sequence
        self.publish_time_us = publish_time_us
        self.data = data
        self.attributes = attributes
        self.ordering_key = ordering_key

    @property
    def message_id(self) -> str:
        """The id that publisher and subscribers see."""
        return str(self.sequence)

    @property
    def size(self) -> int:
        """Bytes, as flow control counts them."""
        size = len(self.data)
        if self.attributes:
            for key, value in self.attributes.items():
                size += len(key) + len(value)
        return size


class Delivery:
    """A message that one subscription has handed out at least once and not yet got rid of.

    `failures` counts nacks and missed deadlines. `ack_id` names the current lease, or the last
    one that ended without a nack: an ack that comes late may still count (see
    `Subscription.acknowledge`).
    """

    __slots__ = ("ack_id", "consumer", "deadline_us", "failures", "key", "message", "state")

    def __init__(self, message: Message, key: "KeyQueue | None") -> None:
        self.message = message
        self.key = key
        self.failures = 0
        self.state = READY
        self.ack_id = ""
        self.deadline_us = 0
        self.consumer: Consumer | None = None

    @property
    def attempt(self) -> int:
        """delivery_attempt: 1 + nacks + missed deadlines."""
        return self.failures + 1


class KeyQueue:
    """The messages of one ordering key in one subscription, in the order published.

    `outstanding` (leased, by sequence) all come before `pending`. `owner` is the one consumer
    that may take more while some are outstanding. `place` is the queue in which this key
    waits its turn, if any; a token found in another queue is stale. Until `not_before_us`
    (0: none) it backs off as a whole.
    """

    __slots__ = ("key", "not_before_us", "outstanding", "owner", "pending", "place")

    def __init__(self, key: str) -> None:
        self.key = key
        self.pending: deque[Message | Delivery] = deque()
        self.outstanding: dict[int, Delivery] = {}
        self.owner: Consumer | None = None
        self.place: object = None
        self.not_before_us = 0

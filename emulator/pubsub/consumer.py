"""One taker of messages: a Pull call, a StreamingPull stream, or the pusher.

Flow control counts what was handed to it and neither acked, nacked nor timed out.
Source: max_outstanding_messages and max_outstanding_bytes of StreamingPullRequest.
"""

from collections import deque

from emulator.pubsub.message import KeyQueue

UNLIMITED = 1 << 62


class Consumer:
    """The limits and the load of one taker; `key_window` bounds what is out per ordering key."""

    __slots__ = (
        "ack_deadline_us",
        "closed",
        "key_window",
        "keys",
        "max_bytes",
        "max_messages",
        "outstanding_bytes",
        "outstanding_messages",
    )

    def __init__(
        self,
        *,
        ack_deadline_us: int = 0,
        max_messages: int = 0,
        max_bytes: int = 0,
        key_window: int = 0,
    ) -> None:
        """Zero or less means: the subscription's deadline; no limit."""
        self.ack_deadline_us = ack_deadline_us
        self.max_messages = max_messages if max_messages > 0 else UNLIMITED
        self.max_bytes = max_bytes if max_bytes > 0 else UNLIMITED
        self.key_window = key_window if key_window > 0 else UNLIMITED
        self.outstanding_messages = 0
        self.outstanding_bytes = 0
        self.keys: deque[KeyQueue] = deque()  # those it owns that have more for it
        self.closed = False

    @property
    def full(self) -> bool:
        """It takes no more until some of what it has is settled."""
        return (
            self.outstanding_messages >= self.max_messages
            or self.outstanding_bytes >= self.max_bytes
        )

"""The outbox: an event is written with the user it announces, and published from there.

    pending    committed with the user, perhaps published already without our knowing
    published  Pub/Sub has it
    refused    can never be published as it is; kept for a person to look at

Rules:
1. What was committed is published at least once, always with the same event_id: create_user
   tries at once, `Relay` tries whatever is still pending after a while.
2. Any number of relays may run at once. Two may publish the same event, which subscribers
   tolerate by event_id; marking it twice changes nothing.
3. One bad record is set aside; it does not stop the others. An outage stops the run.
4. An event may have been written before the encoding of the topic's schema was changed. So one
   that is refused is offered in the other encoding too before it is set aside.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from shared import logs
from shared.documents import StoreUnavailable
from shared.events import BrokenEvent, Message, in_the_other_encoding

RELAY_BATCH = 100


class PublishUnavailable(Exception):
    """Pub/Sub did not confirm in time. The message may still have been published."""


class PublishRefused(Exception):
    """Pub/Sub will never accept this message."""


class Publisher(Protocol):
    """Where events go."""

    def publish(self, message: Message) -> None:
        """Return when Pub/Sub has the message; raise one of the two errors above otherwise."""
        ...


@dataclass(frozen=True, slots=True)
class PendingEvent:
    """A pending record; `message` is None where the record cannot be read."""

    event_id: str
    message: Message | None
    created_time: datetime


class OutboxStore(Protocol):
    """Where pending events wait."""

    def pending(self, before: datetime, limit: int) -> list[PendingEvent]:
        """The oldest pending records created before a time, oldest first."""
        ...

    def mark_published(self, event_id: str, now: datetime) -> None:
        """Record that Pub/Sub has the event."""
        ...

    def mark_refused(self, event_id: str, now: datetime) -> None:
        """Take a record that can never be published out of the queue."""
        ...


@dataclass(frozen=True, slots=True)
class RelayRun:
    """What one run did. `remaining`: more is waiting. `outage`: what ended the run early.

    `oldest_pending_seconds` is the age of the oldest event that it found, 0 if it found none, None
    if it could not look: an alert watches it.
    """

    oldest_pending_seconds: float | None
    published: int
    failed: int
    remaining: bool
    outage: str | None


@dataclass(frozen=True, slots=True)
class Relay:
    """Publishes what create_user left pending."""

    store: OutboxStore
    publisher: Publisher
    min_age_seconds: float
    budget_seconds: float
    now: Callable[[], datetime]

    def run(self) -> RelayRun:
        """Publish pending events, oldest first, until none is left or the budget is spent."""
        started = self.now()
        oldest_seconds: float | None = None
        published = failed = 0
        remaining, outage = True, None
        try:
            for event in self._waiting(started - timedelta(seconds=self.min_age_seconds)):
                if oldest_seconds is None:
                    oldest_seconds = (started - event.created_time).total_seconds()
                if self.now() - started > timedelta(seconds=self.budget_seconds):
                    break
                with logs.bound(event_id=event.event_id):
                    if self._publish(event):
                        published += 1
                    else:
                        failed += 1
            else:
                remaining = False
                oldest_seconds = oldest_seconds or 0.0
        except StoreUnavailable:
            outage = "Firestore"
        except PublishUnavailable:
            failed += 1
            outage = "Pub/Sub"
        return RelayRun(oldest_seconds, published, failed, remaining, outage)

    def _waiting(self, before: datetime) -> Iterator[PendingEvent]:
        """The pending events; a batch has left the queue when the next one is asked for."""
        while found := self.store.pending(before, RELAY_BATCH):
            yield from found

    def _publish(self, event: PendingEvent) -> bool:
        try:
            if event.message is None:
                raise PublishRefused("unreadable record")
            self._offer(event.message)
        except PublishRefused as error:
            logs.write("ERROR", "outbox_event_refused", **logs.error_fields(error))
            self.store.mark_refused(event.event_id, self.now())
            return False
        self.store.mark_published(event.event_id, self.now())
        logs.write("INFO", "outbox_event_published", by="relay")
        return True

    def _offer(self, message: Message) -> None:
        try:
            self.publisher.publish(message)
        except PublishRefused as refused:
            try:
                other = in_the_other_encoding(message)
            except BrokenEvent:
                raise refused from None
            self.publisher.publish(other)

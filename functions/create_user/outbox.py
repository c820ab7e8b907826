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
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from shared import logs
from shared.documents import StoreUnavailable
from shared.events import Message

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
    """What one run did. `remaining`: more is waiting. `outage`: what ended the run early."""

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
        """Publish the oldest pending events, at most RELAY_BATCH, until the budget is spent."""
        started = self.now()
        published = failed = 0
        try:
            before = started - timedelta(seconds=self.min_age_seconds)
            found = self.store.pending(before, RELAY_BATCH + 1)
            for event in found[:RELAY_BATCH]:
                if self.now() - started > timedelta(seconds=self.budget_seconds):
                    break
                with logs.bound(event_id=event.event_id):
                    if self._publish(event):
                        published += 1
                    else:
                        failed += 1
        except StoreUnavailable:
            return RelayRun(published, failed, remaining=True, outage="Firestore")
        except PublishUnavailable:
            return RelayRun(published, failed + 1, remaining=True, outage="Pub/Sub")
        return RelayRun(published, failed, len(found) > published + failed, outage=None)

    def _publish(self, event: PendingEvent) -> bool:
        try:
            if event.message is None:
                raise PublishRefused("unreadable record")
            self.publisher.publish(event.message)
        except PublishRefused as error:
            logs.write("ERROR", "outbox_event_refused", **logs.error_fields(error))
            self.store.mark_refused(event.event_id, self.now())
            return False
        self.store.mark_published(event.event_id, self.now())
        logs.write("INFO", "outbox_event_published", by="relay")
        return True

"""The relay: at least once, oldest first, bounded, and not stopped by one bad record."""

from datetime import timedelta

import pytest

from create_user.outbox import RELAY_BATCH, PublishRefused, PublishUnavailable, RelayRun
from shared.documents import StoreUnavailable
from shared.events import Encoding, Message, encode
from tests.unit.fakes import ENCODINGS, START, SignUpBench, user_created


@pytest.fixture
def bench() -> SignUpBench:
    made = SignUpBench()
    made.clock.advance(3600)
    return made


def add(bench: SignUpBench, count: int) -> None:
    for number in range(count):
        message = Message(b"{}", {"ce-id": f"e{number}"})
        bench.store.add_pending(f"e{number}", message, START + timedelta(seconds=number))


def published_ids(bench: SignUpBench) -> list[str]:
    return [message.attributes["ce-id"] for message in bench.publisher.published]


def test_pending_events_are_published_oldest_first(bench: SignUpBench) -> None:
    """And each is marked, so that a second run has nothing to do."""
    add(bench, 3)
    assert bench.relay().run() == RelayRun(3600, 3, 0, remaining=False, outage=None)
    assert published_ids(bench) == ["e0", "e1", "e2"]
    assert bench.relay().run() == RelayRun(0, 0, 0, remaining=False, outage=None)


def test_a_run_goes_on_batch_after_batch(bench: SignUpBench) -> None:
    """After an outage much is pending: one run publishes what its time allows."""
    add(bench, 2 * RELAY_BATCH + 5)
    published = 2 * RELAY_BATCH + 5
    assert bench.relay().run() == RelayRun(3600, published, 0, remaining=False, outage=None)
    assert published_ids(bench) == [f"e{number}" for number in range(published)]


def test_one_run_is_bounded_in_time(bench: SignUpBench) -> None:
    """A slow Pub/Sub takes the budget, not more; the rest remains."""
    add(bench, 10)

    def slow(message: Message) -> None:
        bench.clock.advance(25)

    bench.publisher.error_for = slow
    assert bench.relay().run() == RelayRun(3600, 3, 0, remaining=True, outage=None)


@pytest.mark.parametrize("kind", ["refused by Pub/Sub", "unreadable"])
def test_a_bad_record_is_set_aside_and_the_rest_goes_on(bench: SignUpBench, kind: str) -> None:
    """It leaves the queue, so that it cannot fill it; it is not lost."""
    add(bench, 3)
    if kind == "unreadable":
        bench.store.messages["e0"] = None
    else:
        bench.publisher.error_for = lambda message: (
            PublishRefused("bad") if message.attributes["ce-id"] == "e0" else None
        )
    assert bench.relay().run() == RelayRun(3600, 2, 1, remaining=False, outage=None)
    assert bench.store.states == {"e0": "refused", "e1": "published", "e2": "published"}


@pytest.mark.parametrize(("written", "wanted"), [ENCODINGS, ENCODINGS[::-1]])
def test_an_event_written_before_the_encoding_changed_is_published(
    bench: SignUpBench, written: Encoding, wanted: Encoding
) -> None:
    """The topic takes the new encoding only; the event keeps its event_id."""
    event = user_created()
    bench.store.add_pending("e-1", encode(event, "/source", written), START)
    expected = encode(event, "/source", wanted)
    bench.publisher.error_for = lambda message: (
        None if message == expected else PublishRefused("not of the schema")
    )
    assert bench.relay().run() == RelayRun(3600, 1, 0, remaining=False, outage=None)
    assert bench.publisher.published == [expected]
    assert bench.store.states == {"e-1": "published"}


def test_an_event_refused_in_both_encodings_is_set_aside(bench: SignUpBench) -> None:
    """Once, not for ever."""
    bench.store.add_pending("e-1", encode(user_created(), "/source", "JSON"), START)
    bench.publisher.error_for = lambda message: PublishRefused("bad")
    assert bench.relay().run() == RelayRun(3600, 0, 1, remaining=False, outage=None)
    assert bench.store.states == {"e-1": "refused"}


def test_an_outage_of_pubsub_ends_the_run(bench: SignUpBench) -> None:
    """One timeout, not a hundred; everything stays pending."""
    add(bench, 10)
    bench.publisher.error_for = lambda message: PublishUnavailable("down")
    assert bench.relay().run() == RelayRun(3600, 0, 1, remaining=True, outage="Pub/Sub")
    assert set(bench.store.states.values()) == {"pending"}


@pytest.mark.parametrize("step", ["error", "mark_error"])
def test_an_outage_of_firestore_ends_the_run(bench: SignUpBench, step: str) -> None:
    """What was published and not marked is published again by the next run."""
    add(bench, 2)
    setattr(bench.store, step, StoreUnavailable("down"))
    run = bench.relay().run()
    assert run.outage == "Firestore"
    assert run.remaining
    assert run.oldest_pending_seconds == (None if step == "error" else 3600)
    setattr(bench.store, step, None)
    assert bench.relay().run().published == 2


def test_two_relays_at_once_lose_nothing(bench: SignUpBench) -> None:
    """A second relay that runs between a publish and its mark publishes twice, at worst."""
    add(bench, 3)
    once: list[RelayRun] = []

    def interleave(message: Message) -> None:
        if not once:
            once.append(RelayRun(3600, 0, 0, remaining=False, outage=None))
            once.append(bench.relay().run())

    bench.publisher.error_for = interleave
    bench.relay().run()
    assert set(published_ids(bench)) == {"e0", "e1", "e2"}
    assert set(bench.store.states.values()) == {"published"}

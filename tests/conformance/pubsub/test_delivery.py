"""Pull and leases: what is delivered, to whom, for how long, and when again."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from google.api_core.exceptions import InvalidArgument

from tests.conformance.features import differs, feature
from tests.conformance.pubsub.conftest import Pubsub, Stream, data

DOCS = "https://cloud.google.com/pubsub/docs"
PULL = f"{DOCS}/pull"
LEASE = f"{DOCS}/lease-management"
REFERENCE = f"{DOCS}/reference/rpc/google.pubsub.v1"


@feature("A pull waits for a message", production=PULL)
def test_waiting_pull_is_answered_by_a_publish(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    threading.Timer(0.3, pubsub.send, (topic, b"late")).start()
    began = time.monotonic()
    assert data(pubsub.take(subscription)) == [b"late"]
    assert 0.2 < time.monotonic() - began < 2


@feature("return_immediately does not wait", production=f"{REFERENCE}#pullrequest")
def test_immediate_pull_of_an_empty_backlog_is_empty(pubsub: Pubsub) -> None:
    subscription = pubsub.subscription(pubsub.topic())
    began = time.monotonic()
    assert pubsub.take_now(subscription) == []
    assert time.monotonic() - began < 2


@feature("max_messages is kept to", production=f"{REFERENCE}#pullrequest")
def test_pull_returns_at_most_max_messages(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    pubsub.send(topic, *[b"%d" % i for i in range(10)])
    assert len(pubsub.take_now(subscription, max_messages=3)) <= 3


@feature("max_messages is kept to", production=f"{REFERENCE}#pullrequest")
@pytest.mark.parametrize(
    "max_messages", [0, pytest.param(-1, marks=differs(gcloud="-1 is accepted"))]
)
def test_pull_of_no_messages_is_refused(pubsub: Pubsub, max_messages: int) -> None:
    subscription = pubsub.subscription(pubsub.topic())
    with pytest.raises(InvalidArgument, match=r"(?i)max_?messages"):
        pubsub.pull(timeout=3, subscription=subscription, max_messages=max_messages)


@feature("An acknowledged message is not delivered again", production=LEASE)
def test_acknowledged_message_does_not_return(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    pubsub.send(topic, b"done")
    received = pubsub.take(subscription)
    pubsub.extend(subscription, received, 1)
    pubsub.ack(subscription, received)
    pubsub.send(topic, b"control")
    pubsub.extend(subscription, pubsub.take(subscription), 2)
    assert data(pubsub.take(subscription)) == [b"control"]


@feature("A leased message is not delivered to another", production=LEASE)
def test_leased_message_is_not_delivered_meanwhile(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    pubsub.send(topic, b"leased")
    pubsub.take(subscription)
    assert pubsub.before(topic, subscription) == []


@feature("Each delivery has an ack id of its own", production=f"{REFERENCE}#receivedmessage")
def test_redelivery_has_a_fresh_ack_id(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    pubsub.send(topic, b"again")
    ack_ids = set()
    for _ in range(3):
        received = pubsub.take(subscription)
        ack_ids.add(received[0].ack_id)
        pubsub.nack(subscription, received)
    assert len(ack_ids) == 3


@feature("ModifyAckDeadline shortens and extends a lease", production=LEASE)
def test_deadline_is_what_was_last_asked_for(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    pubsub.send(topic, b"short", b"long")
    short, long = pubsub.take(subscription, 2)
    pubsub.extend(subscription, [short, long], 1)
    pubsub.extend(subscription, [long], 60)
    began = time.monotonic()
    assert pubsub.take(subscription)[0].message.message_id == short.message.message_id
    assert 0.5 < time.monotonic() - began < 3
    assert pubsub.before(topic, subscription) == []


@feature("A nack gives the message back at once", production=f"{DOCS}/handling-failures")
def test_nacked_message_returns_at_once(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    pubsub.send(topic, b"again")
    pubsub.nack(subscription, pubsub.take(subscription))
    began = time.monotonic()
    assert data(pubsub.take(subscription)) == [b"again"]
    assert time.monotonic() - began < 1


@feature("A deadline is 0 to 600 seconds", production=f"{REFERENCE}#modifyackdeadlinerequest")
@pytest.mark.parametrize(
    "seconds", [-1, pytest.param(601, marks=differs(gcloud="601 is accepted"))]
)
def test_deadline_out_of_range_is_refused(pubsub: Pubsub, seconds: int) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    pubsub.send(topic, b"x")
    received = pubsub.take(subscription)
    with pytest.raises(InvalidArgument, match=r"(?i)deadline"):
        pubsub.extend(subscription, received, seconds)


@feature("An ack id is needed", production=f"{REFERENCE}#acknowledgerequest")
@pytest.mark.parametrize("rpc", ["acknowledge", "modify_ack_deadline"])
def test_request_without_ack_ids_is_refused(pubsub: Pubsub, rpc: str) -> None:
    subscription = pubsub.subscription(pubsub.topic())
    with pytest.raises(InvalidArgument):
        getattr(pubsub, rpc)(subscription=subscription, ack_ids=[])


@feature("A late or second ack is no error", production=f"{REFERENCE}#acknowledgerequest")
def test_second_ack_is_no_error(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    pubsub.send(topic, b"x")
    received = pubsub.take(subscription)
    pubsub.ack(subscription, received)
    pubsub.ack(subscription, received)
    pubsub.nack(subscription, received)
    assert pubsub.before(topic, subscription) == []


def wait_for_total(streams: list[Stream], count: int, within: float = 5.0) -> None:
    """Return once the streams together have received `count` messages."""
    end = time.monotonic() + within
    while sum(len(stream.received) for stream in streams) < count:
        assert time.monotonic() < end, f"{[len(s.received) for s in streams]}: {count} wanted"
        streams[0].wait_for(lambda s: sum(len(t.received) for t in streams) >= count, 0.05)


@feature("Subscribers of one subscription share its messages", production=f"{DOCS}/subscriber")
def test_two_streams_share_fairly(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    streams = [pubsub.stream(subscription, max_outstanding_messages=100) for _ in range(2)]
    sent = 0
    while sent < 100 and not (sent >= 40 and all(stream.received for stream in streams)):
        sent += 1
        pubsub.send(topic, b"%d" % sent)
        wait_for_total(streams, sent)
    assert min(len(stream.received) for stream in streams) >= sent // 10


@feature("Subscribers of one subscription share its messages", production=f"{DOCS}/subscriber")
def test_no_message_goes_to_two_streams(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    streams = [pubsub.stream(subscription) for _ in range(3)]
    ids = pubsub.send(topic, *[b"%d" % i for i in range(300)])
    wait_for_total(streams, 300)
    received = [r.message.message_id for stream in streams for r in stream.received]
    assert sorted(received) == sorted(ids)


ATTEMPTS = f"{REFERENCE}#receivedmessage"


@feature("delivery_attempt is 0 without a dead letter policy", production=ATTEMPTS)
def test_attempts_are_not_counted_without_a_policy(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    pubsub.send(topic, b"x")
    assert pubsub.take(subscription)[0].delivery_attempt == 0


@feature("delivery_attempt counts nacks and passed deadlines", production=ATTEMPTS)
def test_attempts_are_counted_per_subscription(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    policy = {"dead_letter_topic": pubsub.topic(), "max_delivery_attempts": 10}
    busy = pubsub.subscription(topic, dead_letter_policy=policy)
    calm = pubsub.subscription(topic, dead_letter_policy=policy)
    pubsub.send(topic, b"x")
    attempts = []
    for seconds in (0, 1, 0):
        received = pubsub.take(busy)
        attempts.append(received[0].delivery_attempt)
        pubsub.extend(busy, received, seconds)
    attempts.append(pubsub.take(busy)[0].delivery_attempt)
    assert attempts == [1, 2, 3, 4]
    assert pubsub.take(calm)[0].delivery_attempt == 1


@feature("Subscribers of one subscription share its messages", production=f"{DOCS}/subscriber")
def test_waiting_pulls_get_one_message_each(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    with ThreadPoolExecutor() as pool:
        pulls = [pool.submit(pubsub.take, subscription) for _ in range(3)]
        for i in range(3):
            pubsub.send(topic, b"%d" % i)
        received = [message for pull in pulls for message in pull.result()]
    assert sorted(data(received)) == [b"0", b"1", b"2"]


@feature(
    "A pull may bring 1,000 messages",
    production="https://cloud.google.com/pubsub/quotas#resource_limits",
)
def test_thousand_messages_are_pulled_and_acknowledged(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    pubsub.send(topic, *[b"%d" % i for i in range(1000)])
    received = pubsub.take(subscription, 1000)
    assert len({r.message.message_id for r in received}) == 1000
    pubsub.ack(subscription, received)
    assert pubsub.before(topic, subscription) == []

"""Publishing: what a message gets, and the limits a publish is held to."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.api_core.exceptions import InvalidArgument
from google.cloud import pubsub_v1

from tests.conformance.features import feature
from tests.conformance.pubsub.conftest import Pubsub, data

QUOTAS = "https://cloud.google.com/pubsub/quotas#resource_limits"
PUBLISHER = "https://cloud.google.com/pubsub/docs/publisher"
MB = 1_000_000


@feature("A message arrives as it was published", production=PUBLISHER)
def test_message_arrives_whole(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    before = datetime.now(UTC)
    [message_id] = pubsub.send(topic, {"data": b"\x00\xff", "attributes": {"a": "ü", "b": ""}})
    [received] = pubsub.take(subscription)
    message = received.message
    assert (message.data, dict(message.attributes)) == (b"\x00\xff", {"a": "ü", "b": ""})
    assert message.message_id == message_id
    assert abs(message.publish_time - before) < timedelta(seconds=5)


@feature("Every subscription gets every message", production=PUBLISHER)
def test_each_subscription_gets_a_copy(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    subscriptions = [pubsub.subscription(topic) for _ in range(3)]
    pubsub.send(topic, b"one", b"two")
    for subscription in subscriptions:
        assert sorted(data(pubsub.take(subscription, 2))) == [b"one", b"two"]


@feature("A subscription gets what is published after it was made", production=PUBLISHER)
def test_new_subscription_does_not_get_older_messages(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    pubsub.send(topic, b"earlier")
    assert pubsub.before(topic, pubsub.subscription(topic)) == []


@feature("Message ids are unique and in the order of the request", production=PUBLISHER)
def test_message_ids_differ(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    ids = pubsub.send(topic, *[b"%d" % i for i in range(100)])
    assert len(set(ids)) == 100
    received = pubsub.take(subscription, 100)
    assert {r.message.message_id: r.message.data for r in received} == {
        message_id: b"%d" % i for i, message_id in enumerate(ids)
    }


@feature("The hand-written publisher's batches are accepted", production=PUBLISHER)
def test_publisher_client_publishes(
    pubsub: Pubsub, publisher_client: pubsub_v1.PublisherClient
) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    futures = [publisher_client.publish(topic, b"%d" % i, color="red") for i in range(20)]
    ids = {future.result(10) for future in futures}
    received = pubsub.take(subscription, 20)
    assert {r.message.message_id for r in received} == ids
    assert {r.message.attributes["color"] for r in received} == {"red"}


@feature("A message needs data or an attribute", production=PUBLISHER)
def test_empty_message_is_refused(pubsub: Pubsub) -> None:
    with pytest.raises(InvalidArgument):
        pubsub.send(pubsub.topic(), b"")


@feature("A message needs data or an attribute", production=PUBLISHER)
def test_message_of_attributes_alone_is_accepted(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    pubsub.send(topic, {"attributes": {"a": "b"}})
    assert dict(pubsub.take(subscription)[0].message.attributes) == {"a": "b"}


@feature("A publish of nothing is refused", production=QUOTAS)
def test_publish_without_messages_is_refused(pubsub: Pubsub) -> None:
    with pytest.raises(InvalidArgument):
        pubsub.send(pubsub.topic())


@feature("At most 1,000 messages in a request", production=QUOTAS)
def test_more_than_a_thousand_messages_are_refused(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    assert len(pubsub.send(topic, *[b"x"] * 1000)) == 1000
    with pytest.raises(InvalidArgument, match=r"(?i)messages"):
        pubsub.send(topic, *[b"x"] * 1001)


@feature(
    "At most 10 MB in a request",
    production=QUOTAS,
    gcloud="not checked; what is over the transport's limit is never answered",
)
@pytest.mark.parametrize(
    "messages", [[b"x" * (10 * MB + 1)], [b"x" * 6 * MB] * 2], ids=["message", "request"]
)
def test_too_large_a_request_is_refused(pubsub: Pubsub, messages: list[bytes]) -> None:
    topic = pubsub.topic()
    with pytest.raises(InvalidArgument, match=r"size|bytes|large|10"):
        pubsub.publish(timeout=2, topic=topic, messages=[{"data": m} for m in messages])


@feature("At most 10 MB in a request", production=QUOTAS)
def test_large_message_arrives_whole(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    pubsub.send(topic, b"x" * 9_900_000)
    assert len(pubsub.take(subscription)[0].message.data) == 9_900_000


@feature("Attributes: 100 of them, keys 256 bytes, values 1,024 bytes", production=QUOTAS)
def test_attributes_up_to_the_limits_are_accepted(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    attributes = {f"{i:0256d}": "v" * 1024 for i in range(100)}
    assert pubsub.send(topic, {"attributes": attributes})


@feature(
    "Attributes: 100 of them, keys 256 bytes, values 1,024 bytes",
    production=QUOTAS,
    gcloud="not checked",
)
@pytest.mark.parametrize(
    "attributes",
    [
        pytest.param({f"k{i}": "v" for i in range(101)}, id="101 attributes"),
        pytest.param({"k" * 257: "v"}, id="key of 257 bytes"),
        pytest.param({"ü" * 129: "v"}, id="key of 129 two-byte letters"),
        pytest.param({"k": "v" * 1025}, id="value of 1025 bytes"),
        pytest.param({"": "v"}, id="empty key"),
    ],
)
def test_attributes_over_the_limits_are_refused(pubsub: Pubsub, attributes: dict[str, str]) -> None:
    with pytest.raises(InvalidArgument, match=r"(?i)attribute"):
        pubsub.send(pubsub.topic(), {"data": b"x", "attributes": attributes})


@feature(
    "An attribute's key must not begin with «goog»",
    production=PUBLISHER + "#using-attributes",
    gcloud="not checked",
)
def test_reserved_attribute_is_refused(pubsub: Pubsub) -> None:
    with pytest.raises(InvalidArgument, match="goog"):
        pubsub.send(pubsub.topic(), {"data": b"x", "attributes": {"google": "x"}})


@feature("An ordering key is at most 1,024 bytes", production=QUOTAS, gcloud="not checked")
def test_long_ordering_key_is_refused(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    pubsub.send(topic, {"data": b"x", "ordering_key": "k" * 1024})
    with pytest.raises(InvalidArgument, match=r"(?i)ordering.?key"):
        pubsub.send(topic, {"data": b"x", "ordering_key": "k" * 1025})


@feature("A refused publish publishes nothing", production=PUBLISHER)
def test_one_bad_message_refuses_the_request(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    messages: list[dict[str, Any]] = [{"data": b"good"}, {"data": b""}]
    with pytest.raises(InvalidArgument):
        pubsub.send(topic, *messages)
    assert pubsub.before(topic, subscription) == []


@feature(
    "A request carries one ordering key",
    production="https://cloud.google.com/pubsub/docs/ordering",
    gcloud="not checked",
)
def test_two_ordering_keys_in_a_request_are_refused(pubsub: Pubsub) -> None:
    messages = [{"data": b"x", "ordering_key": key} for key in ("a", "b")]
    with pytest.raises(InvalidArgument, match=r"(?i)ordering.?key"):
        pubsub.send(pubsub.topic(), *messages)

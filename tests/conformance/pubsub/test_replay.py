"""Replay: retention, seek to a time, snapshots."""

from datetime import UTC, datetime, timedelta

import pytest
from google.api_core.exceptions import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound

from tests.conformance.features import feature
from tests.conformance.pubsub.conftest import Pubsub, data

DOCS = "https://cloud.google.com/pubsub/docs"
REPLAY = f"{DOCS}/replay-overview"
REFERENCE = f"{DOCS}/reference/rpc/google.pubsub.v1"
HOUR = timedelta(hours=1)


def now() -> datetime:
    return datetime.now(UTC)


@feature(
    "Seek to the past brings acknowledged messages back, where they are kept", production=REPLAY
)
def test_seek_to_the_past_redelivers_retained_messages(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic, retain_acked_messages=True)
    pubsub.send(topic, b"a", b"b")
    pubsub.ack(subscription, pubsub.take(subscription, 2))
    pubsub.seek(subscription=subscription, time=now() - HOUR)
    assert sorted(data(pubsub.take(subscription, 2))) == [b"a", b"b"]


@feature(
    "Seek to the past brings acknowledged messages back, where they are kept", production=REPLAY
)
def test_seek_to_the_past_without_retention_brings_nothing_back(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    pubsub.send(topic, b"a")
    pubsub.ack(subscription, pubsub.take(subscription))
    pubsub.seek(subscription=subscription, time=now() - HOUR)
    assert pubsub.before(topic, subscription) == []


@feature("A topic's retention lets every subscription seek back", production=REPLAY)
def test_topic_retention_allows_a_seek(pubsub: Pubsub) -> None:
    topic = pubsub.topic(message_retention_duration={"seconds": 3600})
    subscription = pubsub.subscription(topic)
    pubsub.send(topic, b"a")
    pubsub.ack(subscription, pubsub.take(subscription))
    pubsub.seek(subscription=subscription, time=now() - timedelta(minutes=10))
    assert data(pubsub.take(subscription)) == [b"a"]


@feature("A topic's retention lets every subscription seek back", production=REPLAY)
def test_new_subscription_can_seek_to_before_it_was_made(pubsub: Pubsub) -> None:
    topic = pubsub.topic(message_retention_duration={"seconds": 3600})
    pubsub.send(topic, b"a")
    subscription = pubsub.subscription(topic)
    pubsub.seek(subscription=subscription, time=now() - timedelta(minutes=10))
    assert data(pubsub.take(subscription)) == [b"a"]


@feature("Seek to the future purges", production=REPLAY)
def test_seek_to_the_future_acknowledges_the_backlog(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    pubsub.send(topic, b"leased")
    leased = pubsub.take(subscription)
    pubsub.send(topic, b"waiting")
    pubsub.seek(subscription=subscription, time=now() + HOUR)
    pubsub.nack(subscription, leased)
    pubsub.seek(subscription=subscription, time=now() - HOUR)
    assert pubsub.before(topic, subscription) == []


@feature("Seek to a time splits the backlog there", production=REPLAY)
def test_seek_splits_by_publish_time(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic, retain_acked_messages=True)
    pubsub.send(topic, b"old")
    old = pubsub.take(subscription)
    pubsub.ack(subscription, old)
    pubsub.extend(subscription, old, 0)
    boundary = old[0].message.publish_time + timedelta(milliseconds=20)
    while now() <= boundary + timedelta(milliseconds=20):
        pubsub.get_subscription(subscription=subscription)
    pubsub.send(topic, b"new")
    pubsub.ack(subscription, pubsub.take(subscription))
    pubsub.seek(subscription=subscription, time=boundary)
    assert pubsub.before(topic, subscription) == [b"new"]


@feature("Seek to a snapshot restores what was unacknowledged then", production=REPLAY)
def test_seek_to_a_snapshot_restores_it(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    pubsub.send(topic, b"acked before")
    pubsub.ack(subscription, pubsub.take(subscription))
    pubsub.send(topic, b"unacked")
    snapshot = pubsub.name("snapshots")
    pubsub.create_snapshot(name=snapshot, subscription=subscription)
    pubsub.send(topic, b"after")
    pubsub.ack(subscription, pubsub.take(subscription, 2))
    pubsub.seek(subscription=subscription, snapshot=snapshot)
    assert sorted(data(pubsub.take(subscription, 2))) == [b"after", b"unacked"]


@feature("Another subscription of the topic may seek to a snapshot", production=REPLAY)
def test_snapshot_serves_another_subscription(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    other = pubsub.subscription(topic)
    pubsub.send(topic, b"a")
    snapshot = pubsub.name("snapshots")
    pubsub.create_snapshot(name=snapshot, subscription=subscription)
    pubsub.ack(other, pubsub.take(other))
    pubsub.seek(subscription=other, snapshot=snapshot)
    assert data(pubsub.take(other)) == [b"a"]


@feature("A snapshot of another topic cannot be sought", production=f"{REFERENCE}#seekrequest")
def test_seek_to_a_snapshot_of_another_topic_is_refused(pubsub: Pubsub) -> None:
    subscription, other = pubsub.subscription(pubsub.topic()), pubsub.subscription(pubsub.topic())
    snapshot = pubsub.name("snapshots")
    pubsub.create_snapshot(name=snapshot, subscription=subscription)
    with pytest.raises(FailedPrecondition):
        pubsub.seek(subscription=other, snapshot=snapshot)


@feature("A seek needs a time or a snapshot", production=f"{REFERENCE}#seekrequest")
def test_seek_to_nothing_is_refused(pubsub: Pubsub) -> None:
    subscription = pubsub.subscription(pubsub.topic())
    with pytest.raises(InvalidArgument):
        pubsub.seek(subscription=subscription)


@feature("Seek to an unknown snapshot is NOT_FOUND", production=f"{REFERENCE}#seekrequest")
def test_seek_to_an_unknown_snapshot_is_not_found(pubsub: Pubsub) -> None:
    subscription = pubsub.subscription(pubsub.topic())
    with pytest.raises(NotFound):
        pubsub.seek(subscription=subscription, snapshot=pubsub.name("snapshots"))


@feature(
    "Snapshots are created, read, listed and deleted",
    production=f"{DOCS}/replay-message",
    gcloud="labels of a snapshot are dropped",
)
def test_snapshot_reads_back_until_deleted(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    name = pubsub.name("snapshots")
    made = pubsub.create_snapshot(
        name=name, subscription=pubsub.subscription(topic), labels={"a": "b"}
    )
    assert (made.name, made.topic, dict(made.labels)) == (name, topic, {"a": "b"})
    assert timedelta(days=6) < made.expire_time - now() < timedelta(days=8)
    assert pubsub.get_snapshot(snapshot=name) == made
    assert [s.name for s in pubsub.list_snapshots(project=pubsub.project)] == [name]
    assert list(pubsub.list_topic_snapshots(topic=topic)) == [name]
    pubsub.delete_snapshot(snapshot=name)
    with pytest.raises(NotFound):
        pubsub.get_snapshot(snapshot=name)


@feature("A snapshot's name is its own", production=f"{REFERENCE}#createsnapshotrequest")
def test_second_snapshot_of_a_name_already_exists(pubsub: Pubsub) -> None:
    subscription = pubsub.subscription(pubsub.topic())
    name = pubsub.name("snapshots")
    pubsub.create_snapshot(name=name, subscription=subscription)
    with pytest.raises(AlreadyExists):
        pubsub.create_snapshot(name=name, subscription=subscription)


@feature(
    "UpdateSnapshot changes labels",
    production=f"{REFERENCE}#updatesnapshotrequest",
    gcloud="UNIMPLEMENTED",
)
def test_snapshot_is_updated_by_mask(pubsub: Pubsub) -> None:
    name = pubsub.name("snapshots")
    pubsub.create_snapshot(name=name, subscription=pubsub.subscription(pubsub.topic()))
    changed = pubsub.update_snapshot(
        snapshot={"name": name, "labels": {"a": "b"}}, update_mask={"paths": ["labels"]}
    )
    assert dict(changed.labels) == {"a": "b"}


@feature("Lists are paged with stable tokens", production=f"{REFERENCE}#listsnapshotsrequest")
def test_snapshots_are_listed_in_pages(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    names = set()
    for _ in range(3):
        name = pubsub.name("snapshots")
        names.add(pubsub.create_snapshot(name=name, subscription=subscription).name)
    pages = list(pubsub.list_snapshots(project=pubsub.project, page_size=2).pages)
    assert [len(page.snapshots) for page in pages] == [2, 1]
    assert {s.name for page in pages for s in page.snapshots} == names
    of_topic = list(pubsub.list_topic_snapshots(topic=topic, page_size=2).pages)
    assert [len(page.snapshots) for page in of_topic] == [2, 1]


@feature(
    "A snapshot without a name gets one",
    production=f"{REFERENCE}#createsnapshotrequest",
    gcloud="INVALID_ARGUMENT",
)
def test_snapshot_without_a_name_gets_one(pubsub: Pubsub) -> None:
    subscription = pubsub.subscription(pubsub.topic())
    name = pubsub.create_snapshot(subscription=subscription).name
    assert name.startswith(f"{pubsub.project}/snapshots/")
    assert pubsub.get_snapshot(snapshot=name).name == name

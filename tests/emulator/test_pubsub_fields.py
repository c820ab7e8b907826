"""Every field of a topic and a subscription is honoured, refused by name, or output only."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from google.iam.v1 import iam_policy_pb2, policy_pb2
from google.protobuf.duration_pb2 import Duration

from emulator.clock import ManualClock
from emulator.errors import Aborted, InvalidArgument, NotFound, Unimplemented
from emulator.pubsub import pb, translate
from emulator.pubsub.broker import Broker
from emulator.pubsub.pages import page
from emulator.pubsub.runtime import PubSubOptions, Runtime
from emulator.pubsub.schema_kinds import compile_schema
from emulator.pubsub.schemas import SchemaRegistry

TOPIC = "projects/p/topics/t-1"
NAME = "projects/p/subscriptions/s-1"
TOPIC_FIELDS = {
    "name": TOPIC,
    "labels": {"a": "b"},
    "message_retention_duration": Duration(seconds=600),
}
SUBSCRIPTION_FIELDS: dict[str, Any] = {
    "name": NAME,
    "topic": TOPIC,
    "push_config": {
        "push_endpoint": "https://x/",
        "attributes": {"x-goog-version": "v1"},
        "oidc_token": {"service_account_email": "a@b", "audience": "me"},
        "no_wrapper": {"write_metadata": True},
    },
    "ack_deadline_seconds": 20,
    "retain_acked_messages": True,
    "message_retention_duration": Duration(seconds=1200, nanos=5000),
    "labels": {"a": "b"},
    "enable_message_ordering": True,
    "expiration_policy": {"ttl": Duration(seconds=86400)},
    "filter": "attributes:x",
    "dead_letter_policy": {"dead_letter_topic": TOPIC, "max_delivery_attempts": 7},
    "retry_policy": {
        "minimum_backoff": Duration(seconds=1),
        "maximum_backoff": Duration(seconds=2),
    },
    "enable_exactly_once_delivery": True,
}
UNSUPPORTED_TOPIC = {
    "kms_key_name": "projects/p/locations/l/keyRings/r/cryptoKeys/k",
    "ingestion_data_source_settings": {"aws_kinesis": {"stream_arn": "a"}},
    "message_transforms": [{"javascript_udf": {"function_name": "f", "code": "c"}}],
    "message_storage_policy": {"allowed_persistence_regions": ["europe-west1"]},
    "tags": {"123/environment": "production"},
}
UNSUPPORTED_SUBSCRIPTION = {
    "bigquery_config": {"table": "p.d.t"},
    "cloud_storage_config": {"bucket": "b"},
    "bigtable_config": {"table": "t"},
    "message_transforms": [{"javascript_udf": {"function_name": "f", "code": "c"}}],
    "tags": {"123/environment": "production"},
}
TOPIC_OUTPUT = {"state", "satisfies_pzs"}
SUBSCRIPTION_OUTPUT = {
    "state",
    "detached",
    "topic_message_retention_duration",
    "analytics_hub_subscription_info",
}


@pytest.fixture
def broker() -> Iterator[Broker]:
    broker = Broker(random=lambda: 0.5, schemas=SchemaRegistry(compile_schema))
    broker.create_topic(translate.topic_from(pb.Topic(**TOPIC_FIELDS), lenient=False))
    return broker


def test_no_field_is_accepted_and_ignored():
    """Each field of the installed messages is in exactly one of the lists above."""
    topic = {"schema_settings", *TOPIC_FIELDS, *UNSUPPORTED_TOPIC, *TOPIC_OUTPUT}
    assert topic == set(pb.Topic.DESCRIPTOR.fields_by_name)
    subscription = {*SUBSCRIPTION_FIELDS, *UNSUPPORTED_SUBSCRIPTION, *SUBSCRIPTION_OUTPUT}
    assert subscription == set(pb.Subscription.DESCRIPTOR.fields_by_name)


def test_topic_reads_back(broker: Broker):
    """What was asked for is what is shown."""
    shown = translate.topic_to(broker.topic(TOPIC).settings)
    assert shown == pb.Topic(**TOPIC_FIELDS, state=1)


def test_subscription_reads_back(broker: Broker):
    """Every field, exactly once aside: that is for pull subscriptions."""
    asked = pb.Subscription(**SUBSCRIPTION_FIELDS | {"enable_exactly_once_delivery": False})
    made = broker.create_subscription(translate.subscription_from(asked, lenient=False), 0)
    shown = translate.subscription_to(made)
    asked.state = 1
    pb.set_duration(asked.topic_message_retention_duration, 600_000_000)
    assert shown == asked


def test_output_only_fields_are_ignored(broker: Broker):
    """They may be set in a request and change nothing."""
    asked = pb.Subscription(name=NAME, topic=TOPIC, detached=True, state=2)
    made = broker.create_subscription(translate.subscription_from(asked, lenient=False), 0)
    assert not translate.subscription_to(made).detached


def test_defaults_are_productions(broker: Broker):
    """10 s, 7 days, 31 days; retry and dead letter policies fill in theirs."""
    asked = pb.Subscription(
        name=NAME,
        topic=TOPIC,
        retry_policy={},
        dead_letter_policy={"dead_letter_topic": TOPIC},
    )
    made = broker.create_subscription(translate.subscription_from(asked, lenient=False), 0)
    shown = translate.subscription_to(made)
    assert shown.ack_deadline_seconds == 10
    assert shown.message_retention_duration.seconds == 7 * 86400
    assert shown.expiration_policy.ttl.seconds == 31 * 86400
    assert shown.retry_policy.minimum_backoff.seconds == 10
    assert shown.retry_policy.maximum_backoff.seconds == 600
    assert shown.dead_letter_policy.max_delivery_attempts == 5


@pytest.mark.parametrize("field", UNSUPPORTED_TOPIC)
def test_unsupported_topic_field_is_refused_by_name(field: str):
    """UNIMPLEMENTED, and why."""
    asked = pb.Topic(name=TOPIC, **{field: UNSUPPORTED_TOPIC[field]})
    with pytest.raises(Unimplemented, match=rf"Topic\.{field} is not supported: "):
        translate.topic_from(asked, lenient=False)


@pytest.mark.parametrize("field", UNSUPPORTED_SUBSCRIPTION)
def test_unsupported_subscription_field_is_refused_by_name(field: str):
    """UNIMPLEMENTED, and why."""
    asked = pb.Subscription(name=NAME, topic=TOPIC, **{field: UNSUPPORTED_SUBSCRIPTION[field]})
    with pytest.raises(Unimplemented, match=rf"Subscription\.{field} is not supported: "):
        translate.subscription_from(asked, lenient=False)


def test_lenient_mode_stores_echoes_and_warns(broker: Broker, caplog: pytest.LogCaptureFixture):
    """For code that only needs them to be accepted; an update changes them too."""
    caplog.set_level(logging.WARNING)
    asked = pb.Topic(name="projects/p/topics/lenient", **UNSUPPORTED_TOPIC)
    topic = broker.create_topic(translate.topic_from(asked, lenient=True))
    asked.state = 1
    assert translate.topic_to(topic.settings) == asked
    assert all(f"Topic.{field} is stored" in caplog.text for field in UNSUPPORTED_TOPIC)
    changed = translate.updated_topic(
        topic.settings,
        pb.Topic(name=asked.name, kms_key_name="other"),
        ["kms_key_name", "message_transforms"],
        lenient=True,
    )
    shown = translate.topic_to(changed)
    assert shown.kms_key_name == "other"
    assert not shown.message_transforms
    assert shown.tags == asked.tags
    subscription = pb.Subscription(name=NAME, topic=TOPIC, **UNSUPPORTED_SUBSCRIPTION)
    made = broker.create_subscription(translate.subscription_from(subscription, lenient=True), 0)
    shown = translate.subscription_to(made)
    for field in UNSUPPORTED_SUBSCRIPTION:
        assert getattr(shown, field) == getattr(subscription, field)


@pytest.mark.parametrize(
    ("paths", "why"),
    [
        ([], "must be set"),
        (["nope"], "nope is not a known Subscription field"),
        (["topic"], "the topic field in the Subscription is not mutable"),
        (["filter"], "not mutable"),
        (["enable_message_ordering"], "not mutable"),
        (["labels", "name"], "not mutable"),
    ],
)
def test_update_mask_is_checked(broker: Broker, paths: list[str], why: str):
    """In the words of Google's emulator."""
    settings = translate.subscription_from(pb.Subscription(name=NAME, topic=TOPIC), lenient=False)
    with pytest.raises(InvalidArgument, match=why):
        translate.updated_subscription(settings, pb.Subscription(name=NAME), paths, lenient=False)


def test_update_changes_what_is_named_and_nothing_else(broker: Broker):
    """A field that is named and not given goes back to its default."""
    before = pb.Subscription(**SUBSCRIPTION_FIELDS | {"enable_exactly_once_delivery": False})
    settings = translate.subscription_from(before, lenient=False)
    given = pb.Subscription(name=NAME, ack_deadline_seconds=30, labels={"c": "d"})
    changed = translate.updated_subscription(
        settings, given, ["ack_deadline_seconds", "labels", "push_config"], lenient=False
    )
    assert changed.ack_deadline_seconds == 30
    assert changed.labels == {"c": "d"}
    assert changed.push.endpoint == ""
    assert changed.retry_policy == settings.retry_policy
    assert changed.filter == settings.filter


def test_pages_are_stable_while_names_come_and_go():
    """The token is the last name seen."""
    items = [f"n{i}" for i in range(5)]
    first, token = page(items, 2, "")
    assert list(first) == ["n0", "n1"]
    items.remove("n0")
    items.insert(0, "a")
    second, token = page(items, 2, token)
    assert list(second) == ["n2", "n3"]
    last, token = page(items, 2, token)
    assert (list(last), token) == (["n4"], "")


@pytest.mark.parametrize(("size", "token"), [(-1, ""), (0, "garbage!"), (0, "é")])
def test_bad_page_is_refused(size: int, token: str):
    """A negative size, or a token never given."""
    with pytest.raises(InvalidArgument, match="page_"):
        page(["a"], size, token)


def test_iam_policies_are_kept_per_resource_until_it_is_deleted():
    """Returned with an etag; a stale one is refused; nothing is enforced."""
    import asyncio

    from emulator.pubsub.iam_service import IamPolicies

    async def scenario() -> None:
        runtime = Runtime(ManualClock(), PubSubOptions())
        policies: Any = IamPolicies(runtime)
        get = iam_policy_pb2.GetIamPolicyRequest(resource=TOPIC)
        with pytest.raises(NotFound):
            policies.get_iam_policy(get, None)
        topic = translate.topic_from(pb.Topic(name=TOPIC), lenient=False)
        runtime.broker.create_topic(topic)
        empty = policies.get_iam_policy(get, None)
        binding = policy_pb2.Binding(role="roles/pubsub.publisher", members=["user:a@b"])
        asked = policy_pb2.Policy(bindings=[binding], etag=empty.etag)
        request = iam_policy_pb2.SetIamPolicyRequest(resource=TOPIC, policy=asked)
        made = policies.set_iam_policy(request, None)
        assert list(made.bindings) == [binding]
        assert policies.get_iam_policy(get, None) == made
        with pytest.raises(Aborted):
            policies.set_iam_policy(request, None)
        test = iam_policy_pb2.TestIamPermissionsRequest(
            resource=TOPIC, permissions=["pubsub.topics.publish"]
        )
        assert list(policies.permissions(test, None).permissions) == ["pubsub.topics.publish"]
        runtime.broker.delete_topic(TOPIC)
        runtime.broker.create_topic(topic)
        assert not policies.get_iam_policy(get, None).bindings

    asyncio.run(scenario())

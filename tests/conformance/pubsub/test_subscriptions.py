"""Subscriptions: their defaults, ranges, changes, lists, deletion and detachment."""

from typing import Any

import pytest
from google.api_core.exceptions import (
    AlreadyExists,
    FailedPrecondition,
    GoogleAPICallError,
    InvalidArgument,
    MethodNotImplemented,
    NotFound,
    OutOfRange,
)

from tests.conformance.features import differs, feature
from tests.conformance.pubsub.conftest import Pubsub

DOCS = "https://cloud.google.com/pubsub/docs"
REFERENCE = f"{DOCS}/reference/rpc/google.pubsub.v1"
PROPERTIES = f"{DOCS}/subscription-properties"
DAY = 86400


@feature("A subscription's defaults", production=PROPERTIES)
def test_defaults_are_those_documented(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    made = pubsub.get_subscription(subscription=pubsub.subscription(topic))
    assert made.topic == topic
    assert made.ack_deadline_seconds == 10
    assert made.message_retention_duration.total_seconds() == 7 * DAY
    assert not made.retain_acked_messages
    assert not made.detached


@feature(
    "A subscription expires after 31 days by default",
    production=PROPERTIES,
    gcloud="no expiration policy is shown",
)
def test_expiration_policy_is_31_days_by_default(pubsub: Pubsub) -> None:
    made = pubsub.get_subscription(subscription=pubsub.subscription(pubsub.topic()))
    assert made.expiration_policy.ttl.total_seconds() == 31 * DAY


@feature("An expiration policy is kept as asked for", production=PROPERTIES)
@pytest.mark.parametrize("policy", [{}, {"ttl": {"seconds": 8 * DAY}}], ids=["never", "8 days"])
def test_expiration_policy_is_kept(pubsub: Pubsub, policy: dict[str, Any]) -> None:
    name = pubsub.subscription(pubsub.topic(), expiration_policy=policy)
    made = pubsub.get_subscription(subscription=name)
    assert "expiration_policy" in made
    wanted = policy["ttl"]["seconds"] if policy else 0
    assert made.expiration_policy.ttl.total_seconds() == wanted


@feature("Every field reads back as created", production=f"{REFERENCE}#subscription")
def test_subscription_reads_back_as_created(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    fields: dict[str, Any] = {
        "ack_deadline_seconds": 60,
        "retain_acked_messages": True,
        "message_retention_duration": {"seconds": DAY},
        "labels": {"team": "a"},
        "enable_message_ordering": True,
        "filter": "attributes:kind",
        "dead_letter_policy": {"dead_letter_topic": topic, "max_delivery_attempts": 7},
        "retry_policy": {"minimum_backoff": {"seconds": 5}, "maximum_backoff": {"seconds": 50}},
        "enable_exactly_once_delivery": True,
    }
    name = pubsub.name("subscriptions")
    created = pubsub.create_subscription(name=name, topic=topic, **fields)
    assert created == pubsub.get_subscription(subscription=name)
    assert created.ack_deadline_seconds == 60
    assert created.retain_acked_messages
    assert created.message_retention_duration.total_seconds() == DAY
    assert dict(created.labels) == {"team": "a"}
    assert created.enable_message_ordering
    assert created.filter == "attributes:kind"
    assert created.dead_letter_policy.dead_letter_topic == topic
    assert created.dead_letter_policy.max_delivery_attempts == 7
    assert created.retry_policy.minimum_backoff.total_seconds() == 5
    assert created.retry_policy.maximum_backoff.total_seconds() == 50
    assert created.enable_exactly_once_delivery


@feature(
    "A subscription shows its topic's retention",
    production=f"{REFERENCE}#subscription",
    gcloud="not shown",
)
def test_topic_retention_is_shown(pubsub: Pubsub) -> None:
    name = pubsub.subscription(pubsub.topic(message_retention_duration={"seconds": 1200}))
    made = pubsub.get_subscription(subscription=name)
    assert made.topic_message_retention_duration.total_seconds() == 1200


@feature("Unknown and taken names", production=f"{DOCS}/reference/error-codes")
def test_subscription_to_an_unknown_topic_is_not_found(pubsub: Pubsub) -> None:
    with pytest.raises(NotFound):
        pubsub.subscription(pubsub.name("topics"))


@feature("Unknown and taken names", production=f"{DOCS}/reference/error-codes")
def test_second_subscription_of_a_name_already_exists(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    with pytest.raises(AlreadyExists):
        pubsub.create_subscription(name=pubsub.subscription(topic), topic=topic)


@feature("Unknown and taken names", production=f"{DOCS}/reference/error-codes")
@pytest.mark.parametrize(
    ("rpc", "fields"),
    [
        ("get_subscription", {}),
        ("delete_subscription", {}),
        ("pull", {"max_messages": 1}),
        ("acknowledge", {"ack_ids": ["x"]}),
        ("modify_ack_deadline", {"ack_ids": ["x"], "ack_deadline_seconds": 10}),
        ("modify_push_config", {"push_config": {}}),
        ("seek", {"time": {"seconds": 1}}),
        ("create_snapshot", {"name": "projects/p/snapshots/abc"}),
    ],
)
def test_unknown_subscription_is_not_found(
    pubsub: Pubsub, rpc: str, fields: dict[str, Any]
) -> None:
    with pytest.raises(NotFound):
        getattr(pubsub, rpc)(subscription=pubsub.name("subscriptions"), **fields)


ACK_DEADLINE, RETENTION, BACKOFF = (r"(?i)ack.?deadline", r"(?i)retention", r"(?i)backoff")
LONG_FILTER = f'attributes.a = "{"x" * 256}"'
UNCHECKED = differs(gcloud="not checked")

RANGES = [
    pytest.param("ack_deadline_seconds", ACK_DEADLINE, 9, marks=UNCHECKED, id="deadline of 9 s"),
    pytest.param("ack_deadline_seconds", ACK_DEADLINE, 601, id="deadline of 601 s"),
    pytest.param("ack_deadline_seconds", ACK_DEADLINE, -1, id="deadline of -1 s"),
    pytest.param("message_retention_duration", RETENTION, {"seconds": 599}, id="retention low"),
    pytest.param(
        "message_retention_duration", RETENTION, {"seconds": 31 * DAY + 1}, id="retention high"
    ),
    pytest.param(
        "expiration_policy",
        r"(?i)expiration",
        {"ttl": {"seconds": DAY - 1}},
        marks=UNCHECKED,
        id="expiration in less than a day",
    ),
    pytest.param(
        "retry_policy", BACKOFF, {"minimum_backoff": {"seconds": 601}}, id="minimum backoff"
    ),
    pytest.param(
        "retry_policy", BACKOFF, {"maximum_backoff": {"seconds": 601}}, id="maximum backoff"
    ),
    pytest.param(
        "retry_policy",
        BACKOFF,
        {"minimum_backoff": {"seconds": 20}, "maximum_backoff": {"seconds": 10}},
        id="minimum backoff over the maximum",
    ),
    pytest.param("filter", r"(?i)filter", LONG_FILTER, marks=UNCHECKED, id="filter"),
    pytest.param("labels", r"(?i)label", {"Upper": "x"}, marks=UNCHECKED, id="label"),
    pytest.param("push_config", r"(?i)push", {"push_endpoint": "not a url"}, id="endpoint"),
]


@feature("Values outside their range are refused by the field's name", production=PROPERTIES)
@pytest.mark.parametrize(("field", "named", "value"), RANGES)
def test_value_outside_its_range_is_refused(
    pubsub: Pubsub, field: str, named: str, value: object
) -> None:
    with pytest.raises((InvalidArgument, OutOfRange), match=named):
        pubsub.subscription(pubsub.topic(), **{field: value})


@feature("max_delivery_attempts is 5 to 100", production=f"{DOCS}/dead-letter-topics")
@pytest.mark.parametrize("attempts", [4, 101])
def test_delivery_attempts_outside_their_range_are_refused(pubsub: Pubsub, attempts: int) -> None:
    topic = pubsub.topic()
    with pytest.raises((InvalidArgument, OutOfRange), match=r"(?i)delivery.?attempts"):
        pubsub.subscription(
            topic,
            dead_letter_policy={"dead_letter_topic": topic, "max_delivery_attempts": attempts},
        )


CHANGES: list[tuple[str, Any]] = [
    ("ack_deadline_seconds", 30),
    ("retain_acked_messages", True),
    ("message_retention_duration", {"seconds": 3 * DAY}),
    ("labels", {"b": "2"}),
    ("expiration_policy", {"ttl": {"seconds": 40 * DAY}}),
    ("retry_policy", {"minimum_backoff": {"seconds": 3}, "maximum_backoff": {"seconds": 30}}),
    ("push_config", {"push_endpoint": "http://127.0.0.1:9/never"}),
    ("enable_exactly_once_delivery", True),
]


@feature(
    "UpdateSubscription changes what the mask names",
    production=f"{REFERENCE}#updatesubscriptionrequest",
)
@pytest.mark.parametrize(
    ("field", "value"),
    [
        pytest.param(
            *change,
            id=change[0],
            marks=[differs(gcloud="labels and expiration_policy are refused")]
            if change[0] in ("labels", "expiration_policy")
            else [],
        )
        for change in CHANGES
    ],
)
def test_field_is_updated_by_mask(pubsub: Pubsub, field: str, value: object) -> None:
    topic = pubsub.topic()
    name = pubsub.subscription(topic, labels={"a": "1"})
    before = pubsub.get_subscription(subscription=name)
    wanted = type(before)({field: value})
    changed = pubsub.update_subscription(
        subscription={"name": name, field: value}, update_mask={"paths": [field]}
    )
    assert getattr(changed, field) == getattr(wanted, field)
    assert changed == pubsub.get_subscription(subscription=name)
    for other, _ in CHANGES:
        if other != field:
            assert getattr(changed, other) == getattr(before, other)


@feature(
    "A policy is set and removed by the mask", production=f"{REFERENCE}#updatesubscriptionrequest"
)
def test_dead_letter_policy_is_added_and_removed(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    name = pubsub.subscription(topic)
    policy = {"dead_letter_topic": topic, "max_delivery_attempts": 6}
    mask = {"paths": ["dead_letter_policy"]}
    changed = pubsub.update_subscription(
        subscription={"name": name, "dead_letter_policy": policy}, update_mask=mask
    )
    assert changed.dead_letter_policy.max_delivery_attempts == 6
    pubsub.update_subscription(subscription={"name": name}, update_mask=mask)
    assert "dead_letter_policy" not in pubsub.get_subscription(subscription=name)


@feature("Topic, filter and message ordering cannot be changed", production=PROPERTIES)
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("topic", "projects/p/topics/other"),
        ("filter", "attributes:a"),
        ("enable_message_ordering", True),
        ("name", "x"),
    ],
)
def test_immutable_field_is_refused(pubsub: Pubsub, field: str, value: object) -> None:
    name = pubsub.subscription(pubsub.topic())
    with pytest.raises(InvalidArgument):
        pubsub.update_subscription(
            subscription={field: value} | {"name": name}, update_mask={"paths": [field]}
        )


@feature("A mask must name known fields", production=f"{REFERENCE}#updatesubscriptionrequest")
@pytest.mark.parametrize("paths", [[], ["no_such_field"]])
def test_bad_update_mask_is_refused(pubsub: Pubsub, paths: list[str]) -> None:
    name = pubsub.subscription(pubsub.topic())
    with pytest.raises(InvalidArgument):
        pubsub.update_subscription(subscription={"name": name}, update_mask={"paths": paths})


@feature(
    "A refused update changes nothing",
    production=f"{REFERENCE}#updatesubscriptionrequest",
    gcloud="the fields before the refused one are changed",
)
def test_refused_update_leaves_the_subscription_alone(pubsub: Pubsub) -> None:
    name = pubsub.subscription(pubsub.topic())
    before = pubsub.get_subscription(subscription=name)
    with pytest.raises(GoogleAPICallError):
        pubsub.update_subscription(
            subscription={
                "name": name,
                "retain_acked_messages": True,
                "ack_deadline_seconds": 1000,
            },
            update_mask={"paths": ["retain_acked_messages", "ack_deadline_seconds"]},
        )
    assert pubsub.get_subscription(subscription=name) == before


@feature(
    "ModifyPushConfig turns pull into push and back",
    production=f"{REFERENCE}#modifypushconfigrequest",
)
def test_push_config_is_set_and_cleared(pubsub: Pubsub) -> None:
    name = pubsub.subscription(pubsub.topic())
    url = "http://127.0.0.1:9/never"
    pubsub.modify_push_config(subscription=name, push_config={"push_endpoint": url})
    assert pubsub.get_subscription(subscription=name).push_config.push_endpoint == url
    pubsub.modify_push_config(subscription=name, push_config={})
    assert pubsub.get_subscription(subscription=name).push_config.push_endpoint == ""


@feature(
    "A push subscription cannot be pulled", production=f"{DOCS}/push", gcloud="the pull is served"
)
def test_pull_of_a_push_subscription_is_refused(pubsub: Pubsub) -> None:
    push = {"push_endpoint": "http://127.0.0.1:9/never"}
    name = pubsub.subscription(pubsub.topic(), push_config=push)
    with pytest.raises(FailedPrecondition):
        pubsub.pull(timeout=3, subscription=name, max_messages=1)


@feature("Lists are paged with stable tokens", production=f"{REFERENCE}#listsubscriptionsrequest")
def test_subscriptions_are_listed_in_pages(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    names = {pubsub.subscription(topic) for _ in range(5)}
    pages = list(pubsub.list_subscriptions(project=pubsub.project, page_size=2).pages)
    assert [len(page.subscriptions) for page in pages] == [2, 2, 1]
    assert {s.name for page in pages for s in page.subscriptions} == names


@feature(
    "DeleteSubscription drops its backlog", production=f"{REFERENCE}#deletesubscriptionrequest"
)
def test_deleted_subscription_starts_anew(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    name = pubsub.subscription(topic)
    pubsub.send(topic, b"dropped")
    pubsub.delete_subscription(subscription=name)
    with pytest.raises(NotFound):
        pubsub.get_subscription(subscription=name)
    pubsub.create_subscription(name=name, topic=topic)
    assert pubsub.before(topic, name) == []


@feature("DetachSubscription", production=f"{DOCS}/detach-subscriptions", gcloud="UNIMPLEMENTED")
def test_detached_subscription_loses_its_messages_and_refuses_pulls(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    name = pubsub.subscription(topic)
    pubsub.send(topic, b"dropped")
    pubsub.detach_subscription(subscription=name)
    assert pubsub.get_subscription(subscription=name).detached
    assert list(pubsub.list_topic_subscriptions(topic=topic)) == []
    with pytest.raises(FailedPrecondition):
        pubsub.pull(timeout=3, subscription=name, max_messages=1)


@feature(
    "What a backend cannot do is not accepted and ignored",
    production=PROPERTIES,
    gcloud="accepted and ignored",
)
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("bigquery_config", {"table": "p.d.t"}),
        ("cloud_storage_config", {"bucket": "bucket"}),
        ("bigtable_config", {"table": "projects/p/instances/i/tables/t"}),
        (
            "message_transforms",
            [{"javascript_udf": {"function_name": "f", "code": "function f(m) { return m; }"}}],
        ),
    ],
    ids=["bigquery_config", "cloud_storage_config", "bigtable_config", "message_transforms"],
)
def test_unsupported_subscription_field_is_refused_by_name(
    pubsub: Pubsub, field: str, value: object
) -> None:
    with pytest.raises(MethodNotImplemented, match=field):
        pubsub.subscription(pubsub.topic(), **{field: value})


@feature(
    "What a backend cannot do is not accepted and ignored",
    production=PROPERTIES,
    gcloud="accepted and ignored",
)
def test_unsupported_field_is_refused_in_an_update(pubsub: Pubsub) -> None:
    name = pubsub.subscription(pubsub.topic())
    with pytest.raises(MethodNotImplemented, match="bigquery_config"):
        pubsub.update_subscription(
            subscription={"name": name, "bigquery_config": {"table": "p.d.t"}},
            update_mask={"paths": ["bigquery_config"]},
        )


@feature(
    "A subscription may be in another project than its topic",
    production=f"{DOCS}/create-subscription",
)
def test_subscription_of_another_project_receives(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    name = f"{pubsub.project}-other/subscriptions/abc"
    assert pubsub.create_subscription(name=name, topic=topic).name == name
    pubsub.send(topic, b"x")
    assert pubsub.take(name)[0].message.data == b"x"
    assert list(pubsub.list_subscriptions(project=pubsub.project)) == []
    assert list(pubsub.list_topic_subscriptions(topic=topic)) == [name]


@feature(
    "A topic's name is not a subscription's", production=f"{DOCS}/pubsub-basics#resource_names"
)
@pytest.mark.parametrize("name", ["projects/p/topics/abc", "subscriptions/abc", "abc"])
def test_malformed_subscription_name_is_refused(pubsub: Pubsub, name: str) -> None:
    with pytest.raises(InvalidArgument):
        pubsub.create_subscription(name=name, topic=pubsub.topic())


@feature("A subscription without a name gets one", production=f"{REFERENCE}#subscription")
def test_subscription_without_a_name_gets_one(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    names = {pubsub.create_subscription(topic=topic).name for _ in range(2)}
    assert len(names) == 2
    assert {name.rsplit("/", 1)[0] for name in names} == {f"{pubsub.project}/subscriptions"}
    assert set(pubsub.list_topic_subscriptions(topic=topic)) == names


@feature("A subscription without a name gets one", production=f"{REFERENCE}#subscription")
def test_unnamed_subscription_to_an_unknown_topic_is_not_found(pubsub: Pubsub) -> None:
    with pytest.raises(NotFound):
        pubsub.create_subscription(topic=pubsub.name("topics"))

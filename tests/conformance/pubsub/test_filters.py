"""Filters: the documented language, in what is delivered and in what is refused."""

import pytest
from google.api_core.exceptions import InvalidArgument

from tests.conformance.features import feature
from tests.conformance.pubsub.conftest import Pubsub, data
from tests.conformance.pubsub.endpoint import Endpoint

FILTER = "https://cloud.google.com/pubsub/docs/subscription-message-filter"
COM = {"domain": "com", "iana.org/language_tag": "en"}
NEVER_APPLIED = "stored and returned, never applied"

# A filter, attributes that match it, and attributes that do not.
CASES: list[tuple[str, dict[str, str], dict[str, str]]] = [
    ("attributes:domain", COM, {"other": "x"}),
    ('attributes:"iana.org/language_tag"', COM, {"iana": "x"}),
    ('attributes.domain = "com"', COM, {"domain": "COM"}),
    ('attributes.domain = "com"', COM, {}),
    ('attributes."iana.org/language_tag" = "en"', COM, {"iana.org/language_tag": "fr"}),
    ('attributes.domain != "com"', {"domain": "org"}, COM),
    ('hasPrefix(attributes.domain, "co")', COM, {"domain": "aco"}),
    ("NOT attributes:domain", {"other": "x"}, COM),
    ("-attributes:domain", {"other": "x"}, COM),
    ('attributes:domain AND attributes.domain = "com"', COM, {"domain": "org"}),
    ('attributes.domain = "org" OR attributes.domain = "com"', COM, {"domain": "net"}),
    (
        'attributes:domain AND (attributes:absent OR attributes.domain = "com")',
        COM,
        {"domain": "x"},
    ),
    ('NOT (attributes:absent OR attributes.domain = "com")', {"domain": "org"}, COM),
    ('NOT attributes:absent AND attributes.domain = "com"', COM, COM | {"absent": "x"}),
    ('attributes.domain = "c\\"o\\\\m"', {"domain": 'c"o\\m'}, COM),
    ('attributes.domain = "\\u00fc"', {"domain": "ü"}, {"domain": "u"}),
]

WRONG = [
    "this is (not a filter",
    "attributes",
    "attributes.domain",
    "attributes.domain = com",
    'attributes.domain > "com"',
    'data = "x"',
    'attributes.domain = "com',
    'hasPrefix(attributes, "co")',
    "hasPrefix(attributes.domain)",
    'attributes:a AND attributes:b OR attributes:c',
    "attributes:a and attributes:b",
    "attributes:a AND",
    "(attributes:a",
]  # fmt: skip


@feature("Filters decide what is delivered", production=FILTER, gcloud=NEVER_APPLIED)
@pytest.mark.parametrize(("filter_", "matching", "other"), CASES)
def test_message_is_delivered_if_it_matches(
    pubsub: Pubsub, filter_: str, matching: dict[str, str], other: dict[str, str]
) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic, filter=filter_)
    pubsub.send(topic, {"data": b"other", "attributes": other})
    pubsub.send(topic, {"data": b"matching", "attributes": matching})
    seen: list[bytes] = []
    while b"matching" not in seen:
        seen.extend(data(pubsub.take(subscription, at_most=10)))
    assert seen == [b"matching"]


@feature("A filter's syntax is checked", production=FILTER, gcloud="any text is accepted")
@pytest.mark.parametrize("filter_", WRONG)
def test_wrong_filter_is_refused(pubsub: Pubsub, filter_: str) -> None:
    with pytest.raises(InvalidArgument, match=r"(?i)filter"):
        pubsub.subscription(pubsub.topic(), filter=filter_)


@feature("A filter is at most 256 bytes", production=FILTER, gcloud="any length is accepted")
def test_long_filter_is_refused(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    start = 'attributes.a = "'
    pubsub.subscription(topic, filter=start + "x" * (255 - len(start)) + '"')
    with pytest.raises(InvalidArgument, match=r"(?i)filter"):
        pubsub.subscription(topic, filter=start + "x" * (256 - len(start)) + '"')


@feature("What a filter drops counts as acknowledged", production=FILTER)
def test_other_subscriptions_still_get_it(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    pubsub.subscription(topic, filter="attributes:absent")
    everything = pubsub.subscription(topic)
    pubsub.send(topic, b"x")
    assert pubsub.take(everything)[0].message.data == b"x"


@feature("A dead letter subscription may filter by source", production=FILTER, gcloud=NEVER_APPLIED)
def test_dead_letters_are_filtered_by_their_source(pubsub: Pubsub) -> None:
    topic, dead = pubsub.topic(), pubsub.topic()
    policy = {"dead_letter_topic": dead, "max_delivery_attempts": 5}
    subscription = pubsub.subscription(topic, dead_letter_policy=policy)
    source = "attributes.CloudPubSubDeadLetterSourceSubscription"
    mine = pubsub.subscription(dead, filter=f'{source} = "{subscription.rsplit("/", 1)[1]}"')
    pubsub.send(dead, b"not a dead letter")
    pubsub.send(topic, b"poison")
    for _ in range(5):
        pubsub.nack(subscription, pubsub.take(subscription))
    assert data(pubsub.take(mine)) == [b"poison"]


@feature("Filters apply to push", production=FILTER, gcloud=NEVER_APPLIED)
def test_push_is_filtered(pubsub: Pubsub, endpoint: Endpoint) -> None:
    topic = pubsub.topic()
    config = {"push_endpoint": endpoint.url}
    pubsub.subscription(
        topic, filter='attributes.kind = "b"', push_config=config, enable_message_ordering=True
    )
    for kind in ("a", "b"):
        pubsub.send(
            topic, {"data": kind.encode(), "attributes": {"kind": kind}, "ordering_key": "k"}
        )
    pushes = endpoint.take_until(lambda push: push.data == b"b")
    assert [push.data for push in pushes] == [b"b"]

"""Topics: created, read, changed, listed and deleted as documented."""

import pytest
from google.api_core.exceptions import (
    AlreadyExists,
    InvalidArgument,
    MethodNotImplemented,
    NotFound,
)
from google.protobuf.duration_pb2 import Duration

from tests.conformance.features import differs, feature
from tests.conformance.pubsub.conftest import Pubsub

DOCS = "https://cloud.google.com/pubsub/docs"
REFERENCE = f"{DOCS}/reference/rpc/google.pubsub.v1"


@feature("CreateTopic and GetTopic return what was asked for", production=f"{DOCS}/create-topic")
def test_topic_reads_back_as_created(pubsub: Pubsub) -> None:
    name = pubsub.name("topics")
    created = pubsub.create_topic(
        name=name, labels={"team": "a"}, message_retention_duration={"seconds": 3600}
    )
    assert created == pubsub.get_topic(topic=name)
    assert (created.name, dict(created.labels)) == (name, {"team": "a"})
    assert created.message_retention_duration.total_seconds() == 3600


@feature("A name that is taken is refused", production=f"{DOCS}/reference/error-codes")
def test_second_topic_of_a_name_already_exists(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    with pytest.raises(AlreadyExists):
        pubsub.create_topic(name=topic)


@feature("An unknown topic is NOT_FOUND", production=f"{DOCS}/reference/error-codes")
@pytest.mark.parametrize(
    "rpc",
    [
        "get_topic",
        "delete_topic",
        pytest.param("list_topic_subscriptions", marks=differs(gcloud="an empty list")),
    ],
)
def test_unknown_topic_is_not_found(pubsub: Pubsub, rpc: str) -> None:
    with pytest.raises(NotFound):
        getattr(pubsub, rpc)(topic=pubsub.name("topics"))


@feature("An unknown topic is NOT_FOUND", production=f"{DOCS}/reference/error-codes")
def test_publish_to_an_unknown_topic_is_not_found(pubsub: Pubsub) -> None:
    with pytest.raises(NotFound):
        pubsub.send(pubsub.name("topics"), b"lost")


@feature(
    "NOT_FOUND says «Resource not found (resource=...)»",
    production=f"{DOCS}/reference/error-codes",
    gcloud="says «Topic not found»",
)
def test_message_of_not_found_names_the_resource(pubsub: Pubsub) -> None:
    with pytest.raises(NotFound, match=r"Resource not found \(resource=absent\)"):
        pubsub.get_topic(topic=f"{pubsub.project}/topics/absent")


@feature("Resource ids follow the naming rules", production=f"{DOCS}/pubsub-basics#resource_names")
@pytest.mark.parametrize(
    "topic_id", ["ab", "1abc", "-abc", "goog-abc", "a" * 256, "with space", "a/b/c", "ümlaut", ""]
)
def test_bad_topic_id_is_refused(pubsub: Pubsub, topic_id: str) -> None:
    with pytest.raises(InvalidArgument):
        pubsub.create_topic(name=f"{pubsub.project}/topics/{topic_id}")


@feature("Resource ids follow the naming rules", production=f"{DOCS}/pubsub-basics#resource_names")
@pytest.mark.parametrize("topic_id", ["abc", "a" * 255, "A-b_c.d~e+f%25"])
def test_good_topic_id_is_accepted(pubsub: Pubsub, topic_id: str) -> None:
    name = f"{pubsub.project}/topics/{topic_id}"
    assert pubsub.create_topic(name=name).name == name


@feature(
    "UpdateTopic changes labels",
    production=f"{REFERENCE}#updatetopicrequest",
    gcloud="refused: «labels is not a known Topic field»",
)
def test_labels_are_updated_by_mask(pubsub: Pubsub) -> None:
    topic = pubsub.topic(labels={"a": "1", "b": "2"})
    changed = pubsub.update_topic(
        topic={"name": topic, "labels": {"c": "3"}}, update_mask={"paths": ["labels"]}
    )
    assert dict(changed.labels) == {"c": "3"}
    assert changed == pubsub.get_topic(topic=topic)


@feature(
    "UpdateTopic changes only what the mask names", production=f"{REFERENCE}#updatetopicrequest"
)
def test_update_leaves_what_the_mask_does_not_name(pubsub: Pubsub) -> None:
    topic = pubsub.topic(labels={"a": "1"})
    changed = pubsub.update_topic(
        topic={"name": topic, "labels": {"b": "2"}, "message_retention_duration": {"seconds": 700}},
        update_mask={"paths": ["message_retention_duration"]},
    )
    assert changed.message_retention_duration.total_seconds() == 700
    assert dict(changed.labels) == {"a": "1"}


@feature("A mask must name known, mutable fields", production=f"{REFERENCE}#updatetopicrequest")
@pytest.mark.parametrize("paths", [[], ["no_such_field"], ["name"]])
def test_bad_update_mask_is_refused(pubsub: Pubsub, paths: list[str]) -> None:
    topic = pubsub.topic()
    with pytest.raises(InvalidArgument):
        pubsub.update_topic(topic={"name": topic}, update_mask={"paths": paths})


@feature(
    "UpdateTopic of an unknown topic is NOT_FOUND", production=f"{REFERENCE}#updatetopicrequest"
)
def test_update_of_an_unknown_topic_is_not_found(pubsub: Pubsub) -> None:
    with pytest.raises(NotFound):
        pubsub.update_topic(
            topic={"name": pubsub.name("topics"), "message_retention_duration": {"seconds": 700}},
            update_mask={"paths": ["message_retention_duration"]},
        )


@feature("A topic keeps messages 10 minutes to 31 days", production=f"{REFERENCE}#topic")
@pytest.mark.parametrize("seconds", [599, 31 * 86400 + 1])
def test_topic_retention_outside_its_range_is_refused(pubsub: Pubsub, seconds: int) -> None:
    with pytest.raises(InvalidArgument, match=r"(?i)message_?retention"):
        pubsub.topic(message_retention_duration=Duration(seconds=seconds))


@feature("Lists are paged with stable tokens", production=f"{REFERENCE}#listtopicsrequest")
def test_topics_are_listed_in_pages(pubsub: Pubsub) -> None:
    topics = {pubsub.topic() for _ in range(5)}
    pages = list(pubsub.list_topics(project=pubsub.project, page_size=2).pages)
    assert [len(page.topics) for page in pages] == [2, 2, 1]
    assert {topic.name for page in pages for topic in page.topics} == topics


@feature("Lists are paged with stable tokens", production=f"{REFERENCE}#listtopicsrequest")
def test_page_token_holds_when_a_listed_topic_is_deleted(pubsub: Pubsub) -> None:
    topics = {pubsub.topic() for _ in range(4)}
    first = next(pubsub.list_topics(project=pubsub.project, page_size=2).pages)
    seen = [topic.name for topic in first.topics]
    pubsub.delete_topic(topic=seen[0])
    rest = pubsub.list_topics(project=pubsub.project, page_token=first.next_page_token)
    assert {*seen, *(topic.name for topic in rest)} == topics


@feature(
    "Lists are paged with stable tokens",
    production=f"{REFERENCE}#listtopicsrequest",
    gcloud="not checked",
)
@pytest.mark.parametrize("fields", [{"page_token": "no such token"}, {"page_size": -1}])
def test_bad_paging_is_refused(pubsub: Pubsub, fields: dict[str, object]) -> None:
    pubsub.topic()
    with pytest.raises(InvalidArgument):
        pubsub.list_topics(project=pubsub.project, **fields)


@feature("Lists show one project", production=f"{REFERENCE}#listtopicsrequest")
def test_other_projects_are_not_listed(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    pubsub.create_topic(name=f"{pubsub.project}-other/topics/abc")
    assert [t.name for t in pubsub.list_topics(project=pubsub.project)] == [topic]


@feature("A topic lists its subscriptions", production=f"{REFERENCE}#listtopicsubscriptionsrequest")
def test_subscriptions_of_a_topic_are_listed_in_pages(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    pubsub.subscription(pubsub.topic())
    mine = {pubsub.subscription(topic) for _ in range(3)}
    pages = list(pubsub.list_topic_subscriptions(topic=topic, page_size=2).pages)
    assert [len(page.subscriptions) for page in pages] == [2, 1]
    assert {name for page in pages for name in page.subscriptions} == mine


@feature("DeleteTopic", production=f"{REFERENCE}#deletetopicrequest")
def test_deleted_topic_is_gone(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    pubsub.delete_topic(topic=topic)
    with pytest.raises(NotFound):
        pubsub.get_topic(topic=topic)


@feature(
    "A subscription outlives its topic as «_deleted-topic_»",
    production=f"{REFERENCE}#deletetopicrequest",
)
def test_subscription_of_a_deleted_topic_keeps_its_backlog(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    pubsub.send(topic, b"kept")
    pubsub.delete_topic(topic=topic)
    assert pubsub.get_subscription(subscription=subscription).topic == "_deleted-topic_"
    assert pubsub.take(subscription)[0].message.data == b"kept"


@feature(
    "A subscription outlives its topic as «_deleted-topic_»",
    production=f"{REFERENCE}#deletetopicrequest",
)
def test_new_topic_of_the_same_name_has_no_subscriptions(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    pubsub.delete_topic(topic=topic)
    pubsub.create_topic(name=topic)
    assert list(pubsub.list_topic_subscriptions(topic=topic)) == []
    assert pubsub.get_subscription(subscription=subscription).topic == "_deleted-topic_"


@feature(
    "Labels follow the rules of resource labels", production=f"{DOCS}/labels", gcloud="not checked"
)
@pytest.mark.parametrize(
    "labels", [{"Upper": "a"}, {"a": "Upper"}, {"1digit": "a"}, {"a": "b" * 64}, {"": "a"}]
)
def test_bad_label_is_refused(pubsub: Pubsub, labels: dict[str, str]) -> None:
    with pytest.raises(InvalidArgument, match=r"(?i)label"):
        pubsub.topic(labels=labels)


@feature(
    "What a backend cannot do is not accepted and ignored",
    production=f"{REFERENCE}#topic",
    gcloud="accepted and ignored",
)
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("kms_key_name", "projects/p/locations/l/keyRings/r/cryptoKeys/k"),
        (
            "message_transforms",
            [{"javascript_udf": {"function_name": "f", "code": "function f(m) { return m; }"}}],
        ),
        (
            "ingestion_data_source_settings",
            {
                "aws_kinesis": {
                    "stream_arn": "s",
                    "consumer_arn": "c",
                    "aws_role_arn": "r",
                    "gcp_service_account": "a@b.c",
                }
            },
        ),
    ],
    ids=["kms_key_name", "message_transforms", "ingestion_data_source_settings"],
)
def test_unsupported_topic_field_is_refused_by_name(
    pubsub: Pubsub, field: str, value: object
) -> None:
    with pytest.raises(MethodNotImplemented, match=field):
        pubsub.topic(**{field: value})

"""Schema revisions: committed if compatible, rolled back, deleted, and bound to topics."""

import json
from typing import Any

import pytest
from google.api_core.exceptions import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
)
from google.pubsub_v1.types import Schema

from tests.conformance.features import feature
from tests.conformance.pubsub.conftest import Pubsub

DOCS = "https://cloud.google.com/pubsub/docs"
REFERENCE = f"{DOCS}/reference/rpc/google.pubsub.v1"
COMMIT = f"{DOCS}/commit-schema-revision"


def avro(*fields: dict[str, Any]) -> dict[str, Any]:
    """An Avro schema with `name` and the fields given."""
    every = [{"name": "name", "type": "string"}, *fields]
    record = {"type": "record", "name": "State", "fields": every}
    return {"type_": Schema.Type.AVRO, "definition": json.dumps(record)}


def proto(fields: str) -> dict[str, Any]:
    """A protocol buffer schema with these fields."""
    definition = f'syntax = "proto3"; message State {{ {fields} }}'
    return {"type_": Schema.Type.PROTOCOL_BUFFER, "definition": definition}


OPTIONAL = {"name": "motto", "type": ["null", "string"], "default": None}


def create(pubsub: Pubsub, schema: dict[str, Any]) -> Any:
    return pubsub.create_schema(parent=pubsub.project, schema=schema, schema_id="state")


def commit(pubsub: Pubsub, name: str, schema: dict[str, Any]) -> Any:
    return pubsub.commit_schema(name=name, schema={"name": name, **schema})


@feature("CommitSchema adds a revision", production=COMMIT)
def test_commit_makes_the_latest_revision(pubsub: Pubsub) -> None:
    first = create(pubsub, avro())
    second = commit(pubsub, first.name, avro(OPTIONAL))
    assert second.revision_id != first.revision_id
    assert pubsub.get_schema(name=first.name).definition == second.definition
    assert (
        pubsub.get_schema(name=f"{first.name}@{first.revision_id}").definition == first.definition
    )


@feature(
    "Revisions are listed",
    production=f"{REFERENCE}#listschemarevisionsrequest",
)
def test_revisions_are_listed(pubsub: Pubsub) -> None:
    first = create(pubsub, avro())
    second = commit(pubsub, first.name, avro(OPTIONAL))
    listed = list(pubsub.list_schema_revisions(name=first.name))
    assert {s.revision_id for s in listed} == {second.revision_id, first.revision_id}


@feature(
    "An Avro revision must be compatible both ways",
    production=COMMIT,
    gcloud="any Avro revision is accepted",
)
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(avro({"name": "n", "type": "int"}), id="added field without a default"),
        pytest.param(
            {**avro(), "definition": avro()["definition"].replace('"string"', '"int"')},
            id="changed type",
        ),
    ],
)
def test_incompatible_avro_revision_is_refused(pubsub: Pubsub, change: dict[str, Any]) -> None:
    first = create(pubsub, avro())
    with pytest.raises(InvalidArgument):
        commit(pubsub, first.name, change)
    assert len(list(pubsub.list_schema_revisions(name=first.name))) == 1


@feature(
    "A protocol buffer revision may add and remove optional fields",
    production=COMMIT,
    gcloud="UNIMPLEMENTED: no protocol buffers",
)
def test_optional_protobuf_field_may_be_added(pubsub: Pubsub) -> None:
    first = create(pubsub, proto("string name = 1;"))
    added = commit(pubsub, first.name, proto("string name = 1; optional string motto = 2;"))
    assert added.revision_id != first.revision_id


@feature(
    "A protocol buffer revision may not change a field",
    production=COMMIT,
    gcloud="UNIMPLEMENTED: no protocol buffers",
)
@pytest.mark.parametrize("fields", ["int64 name = 1;", "string renamed = 1;"])
def test_changed_protobuf_field_is_refused(pubsub: Pubsub, fields: str) -> None:
    first = create(pubsub, proto("string name = 1;"))
    with pytest.raises(InvalidArgument):
        commit(pubsub, first.name, proto(fields))


@feature(
    "A revision keeps the schema's type",
    production=COMMIT,
    gcloud="UNIMPLEMENTED: no protocol buffers",
)
def test_commit_of_another_type_is_refused(pubsub: Pubsub) -> None:
    first = create(pubsub, avro())
    with pytest.raises(InvalidArgument):
        commit(pubsub, first.name, proto("string name = 1;"))


@feature("CommitSchema of an unknown schema is NOT_FOUND", production=COMMIT)
def test_commit_to_an_unknown_schema_is_not_found(pubsub: Pubsub) -> None:
    with pytest.raises(NotFound):
        commit(pubsub, pubsub.name("schemas", "unknown"), avro())


@feature(
    "RollbackSchema makes a copy of an old revision",
    production=f"{REFERENCE}#rollbackschemarequest",
)
def test_rollback_commits_the_old_definition_anew(pubsub: Pubsub) -> None:
    first = create(pubsub, avro())
    second = commit(pubsub, first.name, avro(OPTIONAL))
    back = pubsub.rollback_schema(name=first.name, revision_id=first.revision_id)
    assert back.definition == first.definition
    assert back.revision_id not in {first.revision_id, second.revision_id}
    assert len(list(pubsub.list_schema_revisions(name=first.name))) == 3


@feature("DeleteSchemaRevision", production=f"{REFERENCE}#deleteschemarevisionrequest")
def test_revision_is_deleted(pubsub: Pubsub) -> None:
    first = create(pubsub, avro())
    second = commit(pubsub, first.name, avro(OPTIONAL))
    pubsub.delete_schema_revision(name=f"{first.name}@{first.revision_id}")
    listed = list(pubsub.list_schema_revisions(name=first.name))
    assert [s.revision_id for s in listed] == [second.revision_id]


@feature("A schema has at most 20 revisions", production=COMMIT)
def test_revision_over_the_limit_is_refused(pubsub: Pubsub) -> None:
    name = create(pubsub, avro()).name
    for _ in range(19):
        commit(pubsub, name, avro(OPTIONAL))
    with pytest.raises((InvalidArgument, FailedPrecondition, ResourceExhausted)):
        commit(pubsub, name, avro(OPTIONAL))
    assert len(list(pubsub.list_schema_revisions(name=name))) == 20


@feature(
    "The last revision cannot be deleted", production=f"{REFERENCE}#deleteschemarevisionrequest"
)
def test_only_revision_cannot_be_deleted(pubsub: Pubsub) -> None:
    first = create(pubsub, avro())
    with pytest.raises((InvalidArgument, FailedPrecondition)):
        pubsub.delete_schema_revision(name=f"{first.name}@{first.revision_id}")


def payload(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


@feature("Any revision of a topic's schema is accepted", production=f"{DOCS}/schemas")
def test_messages_of_both_revisions_are_accepted(pubsub: Pubsub) -> None:
    first = create(pubsub, avro())
    topic = pubsub.topic(schema_settings={"schema": first.name, "encoding": "JSON"})
    subscription = pubsub.subscription(topic)
    second = commit(pubsub, first.name, avro(OPTIONAL))
    pubsub.send(topic, payload(name="old"))
    pubsub.send(topic, payload(name="new", motto={"string": "x"}))
    received = pubsub.take(subscription, 2)
    by_name = {json.loads(r.message.data)["name"]: r.message.attributes for r in received}
    revision = "googclient_schemarevisionid"
    assert by_name["old"][revision] == first.revision_id
    assert by_name["new"][revision] == second.revision_id


@feature(
    "first and last revision bound what a topic accepts",
    production=f"{DOCS}/associate-schema-topic",
)
def test_revision_range_is_enforced(pubsub: Pubsub) -> None:
    first = create(pubsub, avro())
    second = commit(pubsub, first.name, avro(OPTIONAL))
    settings = {"schema": first.name, "encoding": "JSON"}
    old = pubsub.topic(schema_settings=settings | {"last_revision_id": first.revision_id})
    new = pubsub.topic(schema_settings=settings | {"first_revision_id": second.revision_id})
    with pytest.raises(InvalidArgument):
        pubsub.send(new, payload(name="a"))
    for topic, revision, message in (
        (old, first, payload(name="a")),
        (new, second, payload(name="a", motto={"string": "x"})),
    ):
        subscription = pubsub.subscription(topic)
        pubsub.send(topic, message)
        attributes = pubsub.take(subscription)[0].message.attributes
        assert attributes["googclient_schemarevisionid"] == revision.revision_id

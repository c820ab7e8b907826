"""The registry of schemas: names, revisions, and which revision a message conforms to."""

import json

import pytest

from emulator.errors import AlreadyExists, InvalidArgument, NotFound, ResourceExhausted
from emulator.pubsub.schemas import (
    MAX_DEFINITION_BYTES,
    CompiledSchema,
    Encoding,
    SchemaRegistry,
    SchemaRevision,
    SchemaSettings,
    SchemaSource,
    SchemaType,
)

PROJECT = "projects/p"
NAME = "projects/p/schemas/s-1"


class Words:
    """A made-up kind of schema: a definition lists words, a message must be one of them.

    Revisions are compatible when they share a word; "!" does not compile.
    """

    def __init__(self, source: SchemaSource) -> None:
        if source.definition == "!":
            raise InvalidArgument("does not compile")
        self.words = source.definition.split()

    def check(self, data: bytes, encoding: Encoding) -> None:
        word = json.loads(data) if encoding is Encoding.JSON else data.decode()
        if word not in self.words:
            raise InvalidArgument(f"{word} is not in {self.words}")

    def incompatibility(self, earlier: CompiledSchema) -> str | None:
        assert isinstance(earlier, Words)
        return None if {*self.words} & {*earlier.words} else "no word in common"


def source(definition: str, kind: SchemaType = SchemaType.AVRO) -> SchemaSource:
    return SchemaSource(kind, definition)


@pytest.fixture
def registry() -> SchemaRegistry:
    return SchemaRegistry(Words)


def create(registry: SchemaRegistry, definition: str = "a b", name: str = "s-1") -> SchemaRevision:
    return registry.create(PROJECT, name, source(definition), revision_id="r0", now_us=10)


def commit(registry: SchemaRegistry, definition: str, revision_id: str) -> SchemaRevision:
    return registry.commit(NAME, source(definition), revision_id=revision_id, now_us=20)


def settings(first: str = "", last: str = "") -> SchemaSettings:
    return SchemaSettings(NAME, Encoding.BINARY, first, last)


def revision_of(registry: SchemaRegistry, data: bytes, first: str = "", last: str = "") -> str:
    checked = registry.check_message(settings(first, last), data)
    return checked["googclient_schemarevisionid"]


def test_created_schema_is_found_by_name_and_by_revision(registry: SchemaRegistry) -> None:
    """One name gives the last revision, with @ any revision."""
    created = create(registry)
    assert (created.name, created.revision_id, created.revision_create_us) == (NAME, "r0", 10)
    committed = commit(registry, "b c", "r1")
    assert registry.get(NAME) == committed
    assert registry.get(f"{NAME}@r0") == created
    assert registry.get(f"{NAME}@r1") == committed
    with pytest.raises(NotFound, match="s-1@r9"):
        registry.get(f"{NAME}@r9")
    with pytest.raises(NotFound, match="other"):
        registry.get("projects/p/schemas/other")
    with pytest.raises(AlreadyExists):
        create(registry)


@pytest.mark.parametrize(
    "schema_id", ["", "ab", "1abc", "googly", "a" * 256, "a b", "a@b", "a/b", "\u00e4bc"]
)
def test_wrong_schema_id_is_refused(registry: SchemaRegistry, schema_id: str) -> None:
    """3 to 255 characters, a letter first, not goog."""
    with pytest.raises(InvalidArgument, match="schema_id"):
        create(registry, name=schema_id)


@pytest.mark.parametrize("schema_id", ["abc", "a" * 255, "A-b_c.d~e+f%20"])
def test_right_schema_id_is_taken(registry: SchemaRegistry, schema_id: str) -> None:
    """Every documented character is allowed."""
    assert create(registry, name=schema_id).name == f"{PROJECT}/schemas/{schema_id}"


@pytest.mark.parametrize("name", ["", "s", "projects/p/topics/s", "projects/p/schemas/s@"])
def test_wrong_resource_name_is_refused(registry: SchemaRegistry, name: str) -> None:
    """A name that cannot be one is INVALID_ARGUMENT, not NOT_FOUND."""
    for call in (registry.get, registry.delete, registry.list_revisions, registry.delete_revision):
        with pytest.raises(InvalidArgument, match="Invalid resource name"):
            call(name)
    with pytest.raises(InvalidArgument, match="Invalid resource name"):
        registry.list_schemas("p")


def test_definition_is_at_most_300_kb(registry: SchemaRegistry) -> None:
    """The limit counts bytes, of a compiled set too."""
    registry.validate(source("x" * MAX_DEFINITION_BYTES))
    with pytest.raises(InvalidArgument, match="300000"):
        registry.validate(source("x" * MAX_DEFINITION_BYTES + "x"))
    with pytest.raises(InvalidArgument, match="300000"):
        registry.validate(source("\u00e4" * (MAX_DEFINITION_BYTES // 2 + 1)))


def test_failed_create_and_commit_change_nothing(registry: SchemaRegistry) -> None:
    """A definition that does not compile or is not compatible leaves no trace."""
    with pytest.raises(InvalidArgument, match="does not compile"):
        create(registry, "!")
    assert registry.list_schemas(PROJECT) == ([], "")
    create(registry)
    with pytest.raises(InvalidArgument, match="does not compile"):
        commit(registry, "!", "r1")
    with pytest.raises(InvalidArgument, match="type"):
        registry.commit(NAME, source("a", SchemaType.PROTOCOL_BUFFER), revision_id="r1", now_us=20)
    assert [each.revision_id for each in registry.list_revisions(NAME)[0]] == ["r0"]


def test_revision_must_be_compatible_with_every_earlier_one(registry: SchemaRegistry) -> None:
    """Observed on production: not only the last revision counts."""
    create(registry, "a b")
    commit(registry, "b c", "r1")
    with pytest.raises(InvalidArgument, match=r"incompatible with previous revision: r0\. no word"):
        commit(registry, "c d", "r2")
    registry.delete_revision(f"{NAME}@r0")
    assert commit(registry, "c d", "r2").revision_id == "r2"


def test_rollback_is_a_new_revision_with_the_old_definition(registry: SchemaRegistry) -> None:
    """It gets an id and a time of its own."""
    create(registry)
    commit(registry, "b c", "r1")
    back = registry.rollback(NAME, "r0", revision_id="r2", now_us=30)
    assert back.source.definition == "a b"
    assert (back.revision_id, back.revision_create_us) == ("r2", 30)
    assert registry.get(NAME) == back
    assert [each.revision_id for each in registry.list_revisions(NAME)[0]] == ["r0", "r1", "r2"]
    with pytest.raises(InvalidArgument, match="revision_id"):
        registry.rollback(NAME, "", revision_id="r3", now_us=30)
    with pytest.raises(NotFound):
        registry.rollback(NAME, "r9", revision_id="r3", now_us=30)


def test_schema_has_at_most_20_revisions(registry: SchemaRegistry) -> None:
    """The 21st is refused until one is deleted."""
    create(registry)
    for number in range(1, 20):
        commit(registry, "a", f"r{number}")
    with pytest.raises(ResourceExhausted, match="20"):
        commit(registry, "a", "r20")
    with pytest.raises(ResourceExhausted, match="20"):
        registry.rollback(NAME, "r0", revision_id="r20", now_us=30)
    registry.delete_revision(f"{NAME}@r5")
    assert commit(registry, "a", "r20").revision_id == "r20"


def test_revision_is_deleted_but_never_the_last_one(registry: SchemaRegistry) -> None:
    """What remains is the schema; one revision must."""
    create(registry)
    with pytest.raises(InvalidArgument, match="last revision"):
        registry.delete_revision(f"{NAME}@r0")
    commit(registry, "a", "r1")
    with pytest.raises(InvalidArgument, match="no revision in it"):
        registry.delete_revision(NAME)
    with pytest.raises(NotFound):
        registry.delete_revision(f"{NAME}@r9")
    assert registry.delete_revision(f"{NAME}@r1").revision_id == "r1"
    assert registry.get(NAME).revision_id == "r0"
    with pytest.raises(NotFound):
        registry.get(f"{NAME}@r1")


def test_lists_are_paged(registry: SchemaRegistry) -> None:
    """A token continues after the last item, whatever came or went meanwhile."""
    for name in ("ccc", "aaa", "bbb"):
        create(registry, name=name)
    registry.create("projects/p2", "zzz", source("a"), revision_id="r0", now_us=10)
    page, token = registry.list_schemas(PROJECT, 2)
    assert [each.name[-3:] for each in page] == ["aaa", "bbb"]
    registry.delete(f"{PROJECT}/schemas/bbb")
    page, token = registry.list_schemas(PROJECT, 2, token)
    assert ([each.name[-3:] for each in page], token) == (["ccc"], "")
    create(registry)
    for number in range(1, 12):
        commit(registry, "a", f"r{number}")
    seen, token = [], ""
    while token or not seen:
        page, token = registry.list_revisions(NAME, 5, token)
        seen += [each.revision_id for each in page]
    assert seen == [f"r{number}" for number in range(12)]
    with pytest.raises(InvalidArgument, match="page_size"):
        registry.list_schemas(PROJECT, -1)


def test_message_gets_the_attributes_of_the_newest_revision_that_reads_it(
    registry: SchemaRegistry,
) -> None:
    """From the newest to the oldest."""
    create(registry, "a b")
    commit(registry, "b c", "r1")
    assert registry.check_message(SchemaSettings(NAME, Encoding.JSON), b'"b"') == {
        "googclient_schemaname": NAME,
        "googclient_schemaencoding": "JSON",
        "googclient_schemarevisionid": "r1",
    }
    assert revision_of(registry, b"a") == "r0"
    assert revision_of(registry, b"c") == "r1"
    with pytest.raises(InvalidArgument, match=r"Message failed schema validation\. \(x is not"):
        revision_of(registry, b"x")


def test_only_the_revisions_between_first_and_last_count(registry: SchemaRegistry) -> None:
    """Both bounds are inclusive, and keep their place when their revision is deleted."""
    create(registry, "a z")
    commit(registry, "b z", "r1")
    commit(registry, "c z", "r2")
    assert revision_of(registry, b"z", first="r1", last="r1") == "r1"
    assert revision_of(registry, b"z", last="r1") == "r1"
    assert revision_of(registry, b"a", last="r1") == "r0"
    assert revision_of(registry, b"z", first="r1") == "r2"
    for first, last, word in [("r1", "", b"a"), ("", "r1", b"c"), ("r1", "r1", b"a")]:
        with pytest.raises(InvalidArgument, match="Message failed schema validation"):
            revision_of(registry, word, first, last)
    registry.delete_revision(f"{NAME}@r1")
    assert revision_of(registry, b"z", last="r1") == "r0"
    with pytest.raises(InvalidArgument, match="no revision of the schema is in the topic's range"):
        revision_of(registry, b"z", first="r1", last="r1")


def test_deleted_schema_takes_no_message(registry: SchemaRegistry) -> None:
    """All attempts to publish to a topic with a deleted schema fail, as documented."""
    create(registry)
    registry.delete(NAME)
    with pytest.raises(NotFound, match="Schema associated with topic deleted"):
        registry.check_message(settings(), b"a")
    with pytest.raises(NotFound):
        registry.delete(NAME)


def test_cleared_registry_is_empty(registry: SchemaRegistry) -> None:
    """As after a reset."""
    create(registry)
    registry.clear()
    assert registry.list_schemas(PROJECT) == ([], "")
    assert create(registry).sequence == 0


def test_settings_of_a_topic_must_name_what_exists(registry: SchemaRegistry) -> None:
    """Schema and revisions exist, first not after last."""
    with pytest.raises(NotFound):
        registry.check_settings(settings())
    create(registry)
    commit(registry, "a", "r1")
    registry.check_settings(settings("r0", "r1"))
    registry.check_settings(settings("r1", "r1"))
    with pytest.raises(NotFound):
        registry.check_settings(settings("r9"))
    with pytest.raises(InvalidArgument, match="first_revision_id is after"):
        registry.check_settings(settings("r1", "r0"))
    with pytest.raises(InvalidArgument, match="Invalid resource name"):
        registry.check_settings(SchemaSettings(f"{NAME}@r0", Encoding.JSON))

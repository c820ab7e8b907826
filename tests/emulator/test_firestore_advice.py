"""The index production would demand, by the documented rules, and how it is told."""

import json
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.errors import FailedPrecondition
from emulator.firestore.advice import AUTOMATIC_ONLY, Advisor, missing
from emulator.firestore.aggregate import Aggregation, Kind
from emulator.firestore.index_definitions import Definitions, IndexDefinition, Mode
from emulator.firestore.index_file import definitions
from emulator.firestore.query import (
    NAME_PATH,
    Clause,
    Filter,
    Junction,
    Measure,
    Nearest,
    Op,
    Order,
    Query,
    Scope,
    checked,
)
from emulator.firestore.values import Reference, Vector
from tests.emulator.firestore_queries import DATABASE, QUERIES

C, GROUP = Scope((), "c"), Scope((), "c", True)


def clause(field: str, op: Op = Op.EQUAL, value: Any = 1) -> Clause:
    return Clause(tuple(field.split(".")), op, value)


def every(*filters: Filter) -> Junction:
    return Junction(True, filters)


def order(*fields: str) -> tuple[Order, ...]:
    return tuple(
        Order(tuple(field.lstrip("-").split(".")), field.startswith("-")) for field in fields
    )


def shown(found: list[IndexDefinition]) -> list[str]:
    """Definitions as short words: `a, -b`, `*a` for array-contains, `v:2` for a vector."""
    signs = {Mode.ASCENDING: "", Mode.DESCENDING: "-", Mode.CONTAINS: "*", Mode.VECTOR: ""}
    return [
        ", ".join(
            signs[one.mode] + ".".join(one.path) + (f":{one.dimension}" if one.dimension else "")
            for one in definition.fields
        )
        for definition in found
    ]


A_AND_B = every(clause("a"), clause("b"))
B_RANGE = clause("b", Op.GREATER_THAN)
NEAR = Nearest(("v",), Vector((1.0, 2.0)), Measure.COSINE, 5)
REF = Reference(DATABASE.full_name(("c", "x")))


@pytest.mark.parametrize(
    ("query", "needed"),
    [
        # Automatic single-field indexes, joined for equalities.
        (Query(C), []),
        (Query(C, clause("a")), []),
        (Query(C, A_AND_B), []),
        (Query(C, every(clause("a"), clause("t", Op.ARRAY_CONTAINS))), []),
        (Query(C, clause("a", Op.IN, [1, 2])), []),
        (Query(C, clause("a", Op.NOT_IN, [1, 2])), []),
        (Query(C, clause("a", Op.LESS_THAN)), []),
        (Query(C, clause("a", Op.LESS_THAN), order("-a")), []),
        (Query(C, order_by=order("-a")), []),
        (Query(C, clause("m.x"), order("m.x")), []),
        (Query(C, clause("a"), order("-a")), []),
        (Query(C, Clause(NAME_PATH, Op.GREATER_THAN, REF)), []),
        (Query(C, every(Clause(NAME_PATH, Op.EQUAL, REF), B_RANGE), order("b")), []),
        (Query(Scope((), None)), []),
        # An order or a range besides.
        (Query(C, order_by=(Order(NAME_PATH, True),)), ["-__name__"]),
        (Query(C, order_by=(*order("a"), Order(NAME_PATH, True))), ["a, -__name__"]),
        (Query(C, order_by=order("a", "b")), ["a, b"]),
        (Query(C, order_by=order("-a", "b")), ["-a, b"]),
        (Query(C, every(clause("a"), B_RANGE)), ["a, b"]),
        (Query(C, every(clause("z"), clause("a")), order("-b")), ["a, z, -b"]),
        (Query(C, every(clause("a", Op.LESS_THAN), B_RANGE)), ["a, b"]),
        (Query(C, every(clause("a", Op.NOT_EQUAL), B_RANGE), order("b")), ["b, a"]),
        (Query(C, clause("t", Op.ARRAY_CONTAINS), order("b")), ["*t, b"]),
        (Query(C, clause("t", Op.ARRAY_CONTAINS), (Order(NAME_PATH, True),)), ["*t, -__name__"]),
        (Query(C, clause("a", Op.IN, [1, 2]), order("b")), ["a, b"]),
        # Each alternative its own.
        (Query(C, Junction(False, (clause("a"), clause("z"))), order("b")), ["a, b", "z, b"]),
        (Query(C, Junction(False, (clause("a"), B_RANGE))), ["a, b"]),
        # Collection groups have nothing but the name.
        (Query(GROUP), []),
        (Query(GROUP, clause("a")), ["a"]),
        (Query(GROUP, A_AND_B), ["a", "b"]),
        (Query(GROUP, order_by=order("-a")), ["-a"]),
        (Query(GROUP, clause("t", Op.ARRAY_CONTAINS)), ["*t"]),
        (Query(GROUP, every(clause("a"), B_RANGE)), ["a, b"]),
        # Vectors.
        (Query(C, find_nearest=NEAR), ["v:2"]),
        (Query(C, clause("a"), find_nearest=NEAR), ["a, v:2"]),
    ],
    ids=lambda case: str(case)[:60] if isinstance(case, list) else "",
)
def test_what_a_query_needs(query: Query, needed: list[str]) -> None:
    """https://firebase.google.com/docs/firestore/query-data/index-overview."""
    assert shown(missing(checked(query))) == needed


@pytest.mark.parametrize(
    ("query", "needed"),
    [
        (Query(C), []),
        (Query(C, clause("a")), ["a, x"]),
        (Query(C, clause("x", Op.GREATER_THAN)), []),
        (Query(C, order_by=order("-b")), ["-b, -x"]),
        (Query(GROUP), ["x"]),
    ],
)
def test_a_sum_needs_its_field_in_the_index(query: Query, needed: list[str]) -> None:
    """A count needs no more than its query."""
    total = Aggregation(Kind.SUM, path=("x",))
    assert shown(missing(checked(query), [total])) == needed
    count = Aggregation(Kind.COUNT)
    assert missing(checked(query), [count]) == missing(query)


def declare(*fields: str, group: bool = False) -> dict[str, Any]:
    def entry(field: str) -> dict[str, Any]:
        if field.startswith("*"):
            return {"fieldPath": field[1:], "arrayConfig": "CONTAINS"}
        direction = "DESCENDING" if field.startswith("-") else "ASCENDING"
        return {"fieldPath": field.lstrip("-"), "order": direction}

    return {
        "collectionGroup": "c",
        "queryScope": "COLLECTION_GROUP" if group else "COLLECTION",
        "fields": [entry(field) for field in fields],
    }


@pytest.mark.parametrize(
    ("query", "declared", "enough"),
    [
        (Query(C, every(clause("a"), B_RANGE)), [declare("a", "b")], True),
        (Query(C, every(clause("a"), B_RANGE)), [declare("-a", "b")], True),
        (Query(C, every(clause("a"), B_RANGE)), [declare("a", "b", "__name__")], True),
        (Query(C, every(clause("a"), B_RANGE)), [declare("a", "-b")], False),
        (Query(C, every(clause("a"), B_RANGE)), [declare("b", "a")], False),
        (Query(C, every(clause("a"), B_RANGE)), [declare("a", "b", group=True)], False),
        (Query(GROUP, every(clause("a"), B_RANGE)), [declare("a", "b", group=True)], True),
        (Query(C, A_AND_B, order("x")), [declare("b", "a", "x")], True),
        (Query(C, A_AND_B, order("x")), [declare("a", "x"), declare("b", "x")], True),
        (Query(C, A_AND_B, order("x")), [declare("a", "x")], False),
        (Query(C, A_AND_B, order("x")), [declare("a", "x"), declare("z", "b", "x")], False),
        (Query(C, clause("t", Op.ARRAY_CONTAINS), order("x")), [declare("*t", "x")], True),
        (Query(C, clause("t"), order("x")), [declare("*t", "x")], False),
    ],
)
def test_a_declared_index_is_enough(
    query: Query, declared: list[dict[str, Any]], enough: bool
) -> None:
    """Its fields, its directions, its scope; several that share the order are joined."""
    known = definitions({"indexes": declared})
    assert (missing(checked(query), (), known) == []) is enough


AUTOMATIC: list[dict[str, Any]] = [
    {"order": "ASCENDING"},
    {"order": "DESCENDING"},
    {"arrayConfig": "CONTAINS"},
]


def override(field: str, *indexes: dict[str, Any], collection: str = "c") -> dict[str, Any]:
    return {"collectionGroup": collection, "fieldPath": field, "indexes": list(indexes)}


def group(index: dict[str, Any]) -> dict[str, Any]:
    return {**index, "queryScope": "COLLECTION_GROUP"}


EXEMPT = override("e")
E = clause("e")
CONTAINS = Op.ARRAY_CONTAINS
NAME_LAST = (Order(NAME_PATH, True),)


@pytest.mark.parametrize(
    ("query", "needed"),
    [
        # Each of these an automatic index would serve.
        (Query(C, E), ["e"]),
        (Query(C, clause("e", Op.IN, [1, 2])), ["e"]),
        (Query(C, clause("e", Op.IS_NULL)), ["e"]),
        (Query(C, clause("e", Op.LESS_THAN)), ["e"]),
        (Query(C, clause("e", Op.NOT_EQUAL)), ["e"]),
        (Query(C, order_by=order("e")), ["e"]),
        (Query(C, order_by=order("-e")), ["-e"]),
        (Query(C, clause("e", CONTAINS)), ["*e"]),
        (Query(C, clause("e.x.y")), ["e.x.y"]),
        (Query(C, E, NAME_LAST), ["e, -__name__"]),
        # Joining needs an index of each field.
        (Query(C, every(clause("a"), E)), ["a, e"]),
        (Query(C, every(clause("a"), clause("e", CONTAINS))), ["a, *e"]),
        (Query(C, every(E, clause("t", CONTAINS))), ["e, *t"]),
        (Query(C, Junction(False, (clause("a"), E))), ["e"]),
        # A composite index is needed as ever.
        (Query(C, clause("a"), order("e")), ["a, e"]),
        (Query(C, E, order("-a")), ["e, -a"]),
        (Query(C, E, find_nearest=NEAR), ["e, v:2"]),
        (Query(GROUP, E), ["e"]),
        # Nothing asks for the field.
        (Query(C), []),
        (Query(C, A_AND_B), []),
        (Query(C, clause("ex")), []),
        (Query(C, clause("a.e")), []),
        (Query(C, order_by=order("-b")), []),
        (Query(C, every(Clause(NAME_PATH, Op.EQUAL, REF), E)), []),
        (Query(Scope((), "d"), E), []),
        (Query(Scope(("d", "1"), "c"), clause("a")), []),
        (Query(Scope(("d", "1"), "c"), E), ["e"]),
    ],
)
def test_an_exempt_field_has_no_automatic_index(query: Query, needed: list[str]) -> None:
    """Nor have the fields of it as a map; in other fields and collections nothing changes."""
    exempting = definitions({"fieldOverrides": [EXEMPT]})
    assert shown(missing(checked(query), (), exempting)) == needed


def test_an_aggregation_needs_the_index_of_an_exempt_field() -> None:
    """A sum of it, and a count of what it finds."""
    exempting = definitions({"fieldOverrides": [EXEMPT]})
    assert shown(missing(Query(C), [Aggregation(Kind.SUM, path=("e",))], exempting)) == ["e"]
    assert missing(Query(C), [Aggregation(Kind.SUM, path=("a",))], exempting) == []
    assert shown(missing(Query(C, E), [Aggregation(Kind.COUNT)], exempting)) == ["e"]


@pytest.mark.parametrize(
    ("query", "declared", "enough"),
    [
        (Query(C, clause("a"), order("e")), [declare("a", "e")], True),
        (Query(C, E, order("-a")), [declare("e", "-a")], True),
        (Query(C, order_by=order("e", "a")), [declare("e", "a")], True),
        (Query(C, every(clause("a"), E)), [declare("a", "e")], True),
        (Query(C, every(clause("a"), E)), [declare("-e", "a")], True),
        (Query(C, every(clause("a"), clause("e", CONTAINS))), [declare("a", "*e")], True),
        (Query(C, every(clause("a"), clause("e", CONTAINS))), [declare("a", "e")], False),
        (Query(C, E, NAME_LAST), [declare("e", "-__name__")], True),
        (Query(C, every(clause("a"), E), NAME_LAST), [declare("a", "-e")], True),
        (Query(C, every(clause("a"), E), NAME_LAST), [declare("a", "e")], False),
        # Joined with the automatic index of the other field.
        (Query(C, every(A_AND_B, E)), [declare("b", "e")], True),
        (Query(C, every(A_AND_B, E)), [declare("a", "b")], False),
        # It holds only the documents that have all its fields.
        (Query(C, E), [declare("e", "a")], False),
        (Query(C, order_by=order("e")), [declare("e", "a")], False),
        (Query(C, every(clause("a"), E)), [declare("a", "e", group=True)], False),
    ],
)
def test_a_composite_index_serves_an_exempt_field(
    query: Query, declared: list[dict[str, Any]], enough: bool
) -> None:
    """An exemption takes the automatic indexes and no others."""
    known = definitions({"indexes": declared, "fieldOverrides": [EXEMPT]})
    assert (missing(checked(query), (), known) == []) is enough


UP, DOWN, ELEMENT = AUTOMATIC


@pytest.mark.parametrize(
    ("indexes", "query", "needed"),
    [
        ([UP], Query(C, E), []),
        ([UP], Query(C, clause("e", Op.GREATER_THAN)), []),
        ([UP], Query(C, order_by=order("-e")), ["-e"]),
        ([UP], Query(C, clause("e", CONTAINS)), ["*e"]),
        ([UP], Query(C, E, NAME_LAST), ["e, -__name__"]),
        ([DOWN], Query(C, E), []),
        ([DOWN], Query(C, E, NAME_LAST), []),
        ([DOWN], Query(C, order_by=order("-e")), []),
        ([DOWN], Query(C, clause("e", Op.GREATER_THAN)), ["e"]),
        ([ELEMENT], Query(C, clause("e", CONTAINS)), []),
        ([ELEMENT], Query(C, E), ["e"]),
        # To index a field of a group is to leave out what the collection had.
        ([group(UP)], Query(GROUP, E), []),
        ([group(UP)], Query(GROUP, order_by=order("-e")), ["-e"]),
        ([group(UP)], Query(C, E), ["e"]),
        ([*AUTOMATIC, group(UP)], Query(C, E), []),
        ([*AUTOMATIC, group(DOWN)], Query(GROUP, E, NAME_LAST), []),
    ],
)
def test_an_override_is_all_that_a_field_has(
    indexes: list[dict[str, Any]], query: Query, needed: list[str]
) -> None:
    """What its list leaves out is not there."""
    known = definitions({"fieldOverrides": [override("e", *indexes)]})
    assert shown(missing(checked(query), (), known)) == needed


@pytest.mark.parametrize(
    ("overrides", "served", "refused"),
    [
        ([override("m"), override("m.x", *AUTOMATIC)], ["m.x", "m.x.deep", "a"], ["m", "m.y"]),
        ([override("m.x")], ["m", "m.y", "x"], ["m.x", "m.x.deep"]),
        ([override("m.x"), override("m", UP)], ["m", "m.y"], ["m.x"]),
        ([override("*")], [], ["a", "m.x"]),
        ([override("*"), override("a", *AUTOMATIC)], ["a", "a.x"], ["b"]),
        ([override("*", collection="d")], ["a"], []),
        ([override("*", collection="__default__")], [], ["a"]),
        ([override("*", collection="__default__"), override("*", UP)], ["a", "m.x"], []),
        ([override("`*`")], ["a"], ["*"]),
    ],
)
def test_a_field_inherits_the_nearest_override(
    overrides: list[dict[str, Any]], served: list[str], refused: list[str]
) -> None:
    """Its own, that of the map it is in, `*` of the collection group, `*` of all."""
    known = definitions({"fieldOverrides": overrides})
    lacking = {field: missing(Query(C, clause(field)), (), known) for field in served + refused}
    assert [field for field, found in lacking.items() if found] == refused


@given(QUERIES)
def test_an_override_that_repeats_the_automatic_indexes_changes_nothing(query: Query) -> None:
    """Whatever the query."""
    known = definitions({"fieldOverrides": [override("*", *AUTOMATIC), override("m", *AUTOMATIC)]})
    assert missing(query, (), known) == missing(query)


def pasted(document: dict[str, Any], declared: Definitions, query: Query) -> dict[str, Any]:
    """The document with what the query lacks, an override instead of one of the same field."""
    made: dict[str, dict[str, Any]] = {"indexes": {}, "fieldOverrides": {}}
    for section, entries in document.items():
        made[section].update((entry.get("fieldPath", str(entry)), entry) for entry in entries)
    for one in declared.declaring(missing(query, (), declared)):
        entry = json.loads(json.dumps(one.to_json()))
        made[one.section][entry.get("fieldPath", str(entry))] = entry
    return {section: list(entries.values()) for section, entries in made.items()}


OVERRIDES = st.lists(
    st.builds(
        lambda field, indexes: override(field, *indexes),
        st.sampled_from(["a", "b", "m", "m.x", "*"]),
        st.lists(st.sampled_from([*AUTOMATIC, *map(group, AUTOMATIC)]), unique_by=str),
    ),
    unique_by=lambda entry: entry["fieldPath"],
)


@given(QUERIES, OVERRIDES)
def test_what_is_advised_is_enough_when_declared(
    query: Query, overrides: list[dict[str, Any]]
) -> None:
    """The definition to paste, pasted, satisfies any query, whatever is exempt."""
    document = {"fieldOverrides": overrides}
    known = definitions(pasted(document, definitions(document), query))
    assert missing(query, (), known) == []


@pytest.mark.parametrize(
    "query",
    [
        Query(C, clause("m.x"), order("b")),
        Query(C, clause("a"), find_nearest=NEAR),
        Query(C, find_nearest=NEAR),
        Query(GROUP, Junction(False, (clause("a"), clause("a", Op.ARRAY_CONTAINS)))),
        Query(C, clause("a", Op.ARRAY_CONTAINS), order("a")),
        Query(C, clause("v"), find_nearest=NEAR),
    ],
)
def test_what_is_advised_for_vectors_and_for_one_field_twice_is_enough(query: Query) -> None:
    """Two indexes of one field are one override; two uses of one may be in one index."""
    assert missing(checked(query))
    assert missing(query, (), definitions(pasted({}, AUTOMATIC_ONLY, query))) == []


def test_a_missing_index_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    """Other values make no other shape; another collection does."""
    advisor = Advisor()
    with caplog.at_level(logging.WARNING):
        for value in (1, 2):
            query = Query(C, every(clause("a", value=value), B_RANGE))
            advisor.check(DATABASE, query)
        advisor.check(DATABASE, Query(Scope((), "d"), every(clause("a"), B_RANGE)))
        advisor.check(DATABASE, Query(C, clause("a")))
    assert [record.getMessage().split()[3] for record in caplog.records] == ["c", "d"]
    message = caplog.records[0].getMessage()
    assert 'resource "google_firestore_index" "c_a_b" {' in message
    assert '{"collectionGroup": "c", "queryScope": "COLLECTION"' in message


def test_a_missing_index_is_refused_if_required(caplog: pytest.LogCaptureFixture) -> None:
    """FAILED_PRECONDITION, as production, and once told to the log; a declared one is enough."""
    query = Query(C, every(clause("a"), B_RANGE))
    advisor = Advisor(require=True)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            with pytest.raises(FailedPrecondition, match=r"^The query requires an index\. You can"):
                advisor.check(DATABASE, query)
    (record,) = caplog.records
    assert record.getMessage().startswith("A query of c in projects/p/databases/(default) ")
    assert "was refused: it needs an index" in record.getMessage()
    assert "`firestore.indexes`" in record.getMessage()
    assert '"fields": [{"fieldPath": "a", "order": "ASCENDING"}, ' in record.getMessage()
    Advisor(definitions({"indexes": [declare("a", "b")]}), require=True).check(DATABASE, query)


@pytest.mark.parametrize(
    ("query", "kind", "field"),
    [
        (Query(C, clause("e.x")), "COLLECTION_ASC", "e.x"),
        (Query(C, order_by=order("-e")), "COLLECTION_DESC", "e"),
        (Query(C, clause("e", CONTAINS)), "COLLECTION_CONTAINS", "e"),
        (Query(GROUP, order_by=order("-a")), "COLLECTION_GROUP_DESC", "a"),
    ],
)
def test_a_missing_single_field_index_is_named_as_production_names_it(
    query: Query, kind: str, field: str
) -> None:
    """By its scope, its mode, its collection and its field."""
    advisor = Advisor(definitions({"fieldOverrides": [EXEMPT]}), require=True)
    with pytest.raises(FailedPrecondition) as refused:
        advisor.check(DATABASE, query)
    assert refused.value.message.startswith(
        f"The query requires a {kind} index for collection c and field {field}. "
        "You can create it here: https://"
    )


def test_the_override_to_paste_repeats_what_the_field_has(caplog: pytest.LogCaptureFixture) -> None:
    """It is there instead of the field's own one: its other indexes and its TTL stay."""
    exempt = {**override("e", UP), "ttl": True}
    advisor = Advisor(definitions({"fieldOverrides": [exempt]}))
    with caplog.at_level(logging.WARNING):
        advisor.check(DATABASE, Query(C, order_by=order("-e")))
        advisor.check(DATABASE, Query(C, order_by=order("-e")))
        advisor.check(DATABASE, Query(C, order_by=order("e")))
    (record,) = caplog.records
    told = record.getMessage()
    assert "firestore.indexes.json, in fieldOverrides:\n" in told
    assert json.loads(told.splitlines()[-1]) == {
        "collectionGroup": "c",
        "fieldPath": "e",
        "indexes": [
            {"order": "ASCENDING", "queryScope": "COLLECTION"},
            {"order": "DESCENDING", "queryScope": "COLLECTION"},
        ],
        "ttl": True,
    }
    assert 'resource "google_firestore_field" "c_e" {' in told
    assert told.count("    indexes {") == 2
    assert "  ttl_config {}" in told

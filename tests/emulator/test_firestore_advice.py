"""The index production would demand, by the documented rules, and how it is told."""

import json
import logging
from typing import Any

import pytest

from emulator.errors import FailedPrecondition, InvalidArgument
from emulator.firestore.advice import (
    Advisor,
    IndexDefinition,
    IndexField,
    Mode,
    definitions,
    missing,
)
from emulator.firestore.aggregate import Aggregation, Kind
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
from tests.emulator.firestore_queries import DATABASE

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


@pytest.mark.parametrize(
    "query",
    [
        Query(GROUP, A_AND_B),
        Query(GROUP, order_by=order("-a")),
        Query(GROUP, clause("t", Op.ARRAY_CONTAINS)),
        Query(C, clause("m.x"), order("b")),
        Query(C, clause("a"), find_nearest=NEAR),
        Query(C, find_nearest=NEAR),
        Query(C, order_by=(*order("a"), Order(NAME_PATH, True))),
    ],
)
def test_what_is_advised_is_enough_when_declared(query: Query) -> None:
    """The definition to paste, pasted, satisfies the query."""
    advised = [one.to_json() for one in missing(checked(query))]
    pasted = {
        "indexes": [one for one in advised if "fields" in one],
        "fieldOverrides": [one for one in advised if "fieldPath" in one],
    }
    assert missing(query, (), definitions(json.loads(json.dumps(pasted)))) == []


def test_the_definitions_to_paste() -> None:
    """As firestore.indexes.json and the Terraform provider have them."""
    query = Query(C, every(clause("a"), clause("t", Op.ARRAY_CONTAINS)), order("-b"))
    (definition,) = missing(query)
    assert definition.to_json() == {
        "collectionGroup": "c",
        "queryScope": "COLLECTION",
        "fields": [
            {"fieldPath": "a", "order": "ASCENDING"},
            {"fieldPath": "t", "arrayConfig": "CONTAINS"},
            {"fieldPath": "b", "order": "DESCENDING"},
        ],
    }
    assert definition.to_terraform(DATABASE) == (
        'resource "google_firestore_index" "c_a_t_b" {\n'
        '  project    = "p"\n'
        '  database   = "(default)"\n'
        '  collection = "c"\n'
        '  query_scope = "COLLECTION"\n'
        "  fields {\n"
        '    field_path = "a"\n'
        '    order = "ASCENDING"\n'
        "  }\n"
        "  fields {\n"
        '    field_path = "t"\n'
        '    array_config = "CONTAINS"\n'
        "  }\n"
        "  fields {\n"
        '    field_path = "b"\n'
        '    order = "DESCENDING"\n'
        "  }\n"
        "}"
    )


def test_a_vector_and_a_group_field_to_paste() -> None:
    """A vector has its dimension; a single field of a group is a field override."""
    (vector,) = missing(Query(C, find_nearest=NEAR))
    assert vector.to_json()["fields"] == [
        {"fieldPath": "v", "vectorConfig": {"dimension": 2, "flat": {}}}
    ]
    assert "dimension = 2\n      flat {}" in vector.to_terraform(DATABASE)
    (single,) = missing(Query(GROUP, clause("a")))
    assert single.to_json()["fieldPath"] == "a"
    assert single.to_json()["indexes"][-1] == {
        "order": "ASCENDING",
        "queryScope": "COLLECTION_GROUP",
    }
    terraform = single.to_terraform(DATABASE)
    assert terraform.startswith('resource "google_firestore_field" "c_a" {')
    assert '      order = "ASCENDING"\n      query_scope = "COLLECTION_GROUP"\n' in terraform


@pytest.mark.parametrize(
    "document",
    [
        {"indexes": [{"collectionGroup": "c"}]},
        {"indexes": [{"collectionGroup": "c", "fields": [{"fieldPath": "a", "order": "UP"}]}]},
        {"fieldOverrides": [{"collectionGroup": "c", "fieldPath": "a"}]},
    ],
)
def test_a_malformed_file_is_refused(document: dict[str, Any]) -> None:
    """Rather than found to declare nothing."""
    with pytest.raises(InvalidArgument, match=r"firestore\.indexes\.json"):
        definitions(document)


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


def test_a_missing_index_is_refused_if_required() -> None:
    """FAILED_PRECONDITION, as production; a declared one is enough."""
    query = Query(C, every(clause("a"), B_RANGE))
    with pytest.raises(FailedPrecondition, match=r"^The query requires an index\. You can"):
        Advisor(require=True).check(DATABASE, query)
    fields = (IndexField(("a",), Mode.ASCENDING), IndexField(("b",), Mode.ASCENDING))
    Advisor([IndexDefinition("c", False, fields)], require=True).check(DATABASE, query)

"""Firestore documents and queries for tests: random ones, and a naive evaluator.

The evaluator is what the emulator is measured by: filter, sort and slice in the plainest way,
sharing only the values' order with the code under test.
"""

import math
from collections.abc import Iterable
from typing import Any

from hypothesis import strategies as st

from emulator.errors import InvalidArgument
from emulator.firestore.indexes import Indexes
from emulator.firestore.paths import DatabaseName, Name
from emulator.firestore.query import (
    NAME_PATH,
    UNARY,
    Clause,
    Cursor,
    Filter,
    Junction,
    Op,
    Order,
    Query,
    Scope,
    checked,
)
from emulator.firestore.query_plan import plan
from emulator.firestore.values import MISSING, Reference, Value, get_field, order_key
from emulator.firestore.writes import Change, Document

DATABASE = DatabaseName("p", "(default)")


class Documents:
    """A database of nothing but documents, which tells its indexes of changes."""

    def __init__(self, documents: Iterable[Document] = ()) -> None:
        self.by_name = {document.name: document for document in documents}
        self.indexes = Indexes(self)

    def documents(
        self, parent: Name, collection_id: str | None, all_descendants: bool
    ) -> list[Document]:
        scope = Scope(parent, collection_id, all_descendants)
        return [one for name, one in self.by_name.items() if scope.holds(name)]

    def put(self, document: Document) -> None:
        old = self.by_name.get(document.name)
        self.by_name[document.name] = document
        self.indexes.observe([Change(document.name, old, document)])

    def delete(self, name: Name) -> None:
        old = self.by_name.pop(name, None)
        if old is not None:
            self.indexes.observe([Change(name, old, None)])

    def run(self, query: Query) -> list[Document]:
        return list(plan(query, self.indexes, self.by_name.get).documents())


# --- the naive evaluator -------------------------------------------------------------------


def naive_value(document: Document, path: tuple[str, ...]) -> Any:
    if path == NAME_PATH:
        return Reference(DATABASE.full_name(document.name))
    return get_field(document.fields, path)


def naive_equal(left: Any, right: Value) -> bool:
    nothing = left is MISSING or right is None or right != right
    return not nothing and order_key(left) == order_key(right)


def naive_comparable(left: Any, right: Value) -> bool:
    nans = left != left or right != right
    return not nans and right is not None and order_key(left)[0] == order_key(right)[0]


def naive_matches(document: Document, where: Filter | None) -> bool:
    if where is None:
        return True
    if isinstance(where, Junction):
        parts = [naive_matches(document, child) for child in where.filters]
        return all(parts) if where.every else any(parts)
    value, wanted = naive_value(document, where.path), where.value
    wanteds = wanted if isinstance(wanted, list) else []
    if value is MISSING:
        return False
    return bool(
        {
            Op.EQUAL: lambda: naive_equal(value, wanted),
            Op.IN: lambda: any(naive_equal(value, one) for one in wanteds),
            Op.ARRAY_CONTAINS: lambda: (
                isinstance(value, list) and any(naive_equal(one, wanted) for one in value)
            ),
            Op.ARRAY_CONTAINS_ANY: lambda: (
                isinstance(value, list)
                and any(naive_equal(one, other) for one in value for other in wanteds)
            ),
            Op.NOT_EQUAL: lambda: (
                value is not None and wanted is not None and not naive_equal(value, wanted)
            ),
            Op.NOT_IN: lambda: (
                value is not None
                and None not in wanteds
                and not any(naive_equal(value, one) for one in wanteds)
            ),
            Op.IS_NULL: lambda: value is None,
            Op.IS_NOT_NULL: lambda: value is not None,
            Op.IS_NAN: lambda: value != value,
            Op.IS_NOT_NAN: lambda: value is not None and value == value,
            Op.LESS_THAN: lambda: (
                naive_comparable(value, wanted) and order_key(value) < order_key(wanted)
            ),
            Op.LESS_THAN_OR_EQUAL: lambda: (
                naive_comparable(value, wanted) and order_key(value) <= order_key(wanted)
            ),
            Op.GREATER_THAN: lambda: (
                naive_comparable(value, wanted) and order_key(value) > order_key(wanted)
            ),
            Op.GREATER_THAN_OR_EQUAL: lambda: (
                naive_comparable(value, wanted) and order_key(value) >= order_key(wanted)
            ),
        }[where.op]()
    )


def naive_compare(keys: list[Any], others: list[Any], orders: Iterable[Order]) -> int:
    for key, other, order in zip(keys, others, orders, strict=False):
        if key != other:
            return -1 if (key < other) != order.descending else 1
    return 0


def naive(query: Query, documents: Iterable[Document]) -> list[Name]:
    found: list[tuple[list[Any], Document]] = []
    for document in documents:
        values = [naive_value(document, order.path) for order in query.orders]
        if query.scope.holds(document.name) and MISSING not in values:
            keys = [order_key(value) for value in values]
            if naive_matches(document, query.where):
                found.append((keys, document))
    for index in reversed(range(len(query.orders))):  # sorts are stable: the last order first
        found.sort(key=lambda pair: pair[0][index], reverse=query.orders[index].descending)
    if query.start_at is not None:
        start = [order_key(value) for value in query.start_at.values]
        least = 0 if query.start_at.before else 1
        found = [one for one in found if naive_compare(one[0], start, query.orders) >= least]
    if query.end_at is not None:
        end = [order_key(value) for value in query.end_at.values]
        most = -1 if query.end_at.before else 0
        found = [one for one in found if naive_compare(one[0], end, query.orders) <= most]
    end_index = None if query.limit is None else query.offset + query.limit
    return [document.name for _, document in found[query.offset : end_index]]


# --- random documents and queries ----------------------------------------------------------

VALUES: st.SearchStrategy[Any] = st.sampled_from(
    [
        *(None, True, False, math.nan, -math.inf, -1, -0.0, 0, 1, 1.0, 1.5, 2, 2**63 - 1),
        *("", "a", "b", b"x", {}, {"k": 1}, [], [1], [1, 2], [None, 2], [math.nan, "a"]),
    ]
)
PATHS = st.sampled_from([("a",), ("b",), ("m", "x")])
IDS = st.sampled_from(["1", "2", "a", "b", "__id7__", "__id12__", "\0z", "_u"])
NAMES: st.SearchStrategy[Name] = st.one_of(
    st.tuples(st.just("c"), IDS),
    st.tuples(st.just("d"), IDS),
    st.tuples(st.just("c"), IDS, st.just("c"), IDS),
)
REFERENCES = NAMES.map(lambda name: Reference(DATABASE.full_name(name)))


@st.composite
def documents(draw: st.DrawFn) -> Document:
    fields: dict[str, Any] = {}
    for key in draw(st.sets(st.sampled_from("abm"))):
        fields[key] = {"x": draw(VALUES)} if key == "m" else draw(VALUES)
    time_us = draw(st.integers(1, 10))
    return Document(draw(NAMES), fields, time_us, time_us)


@st.composite
def filter_clauses(draw: st.DrawFn) -> Filter:
    if draw(st.integers(0, 5)) == 0:
        ops = [Op.EQUAL, Op.IN, Op.LESS_THAN, Op.GREATER_THAN_OR_EQUAL, Op.NOT_EQUAL, Op.NOT_IN]
        path, op, values = NAME_PATH, draw(st.sampled_from(ops)), REFERENCES
    else:
        path, op, values = draw(PATHS), draw(st.sampled_from(list(Op))), VALUES
    if op in UNARY:
        return Clause(path, op)
    if op in (Op.IN, Op.NOT_IN, Op.ARRAY_CONTAINS_ANY):
        return Clause(path, op, draw(st.lists(values, min_size=1, max_size=4)))
    return Clause(path, op, draw(values))


FILTERS = st.recursive(
    filter_clauses(),
    lambda children: st.builds(
        Junction, st.booleans(), st.lists(children, min_size=1, max_size=3).map(tuple)
    ),
    max_leaves=4,
)


@st.composite
def queries(draw: st.DrawFn) -> Query:
    scope = draw(
        st.sampled_from(
            [Scope((), "c"), Scope((), "c", True), Scope(("c", "a"), "c"), Scope((), "d")]
        )
    )
    order_by = tuple(
        Order(path, draw(st.booleans())) for path in draw(st.lists(PATHS, unique=True, max_size=2))
    )
    if draw(st.booleans()):
        order_by = (*order_by, Order(NAME_PATH, draw(st.booleans())))

    def cursor() -> Cursor | None:
        length = draw(st.integers(-1, len(order_by)))
        if length < 0:
            return None
        values = tuple(
            draw(REFERENCES if order.path == NAME_PATH else VALUES) for order in order_by[:length]
        )
        return Cursor(values, draw(st.booleans()))

    return Query(
        scope,
        draw(st.none() | FILTERS),
        order_by,
        cursor(),
        cursor(),
        draw(st.integers(0, 2)),
        draw(st.none() | st.integers(0, 4)),
    )


def accepted(query: Query) -> bool:
    try:
        checked(query)
    except InvalidArgument:
        return False
    return True


QUERIES = queries().filter(accepted)

"""Queries by the table: which document each operator finds, what is refused, which order."""

import math
from typing import Any

import pytest

from emulator.errors import InvalidArgument
from emulator.firestore.query import (
    NAME_PATH,
    Clause,
    Cursor,
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
from emulator.firestore.query_match import name_of, name_order
from emulator.firestore.values import Reference, Vector
from emulator.firestore.writes import Document
from tests.emulator.firestore_queries import DATABASE, Documents

N = ("n",)
C = Scope((), "c")


def reference(path: str) -> Reference:
    return Reference(DATABASE.full_name(tuple(path.split("/"))))


# What was stored in gcloud Firestore emulator 1.19.9 for the observations below.
STORED: dict[str, dict[str, Any]] = {
    "a": {"n": 1, "m": {"x": 1}, "arr": [1, 2], "s": "x"},
    "b": {"n": 2.0, "arr": [2, 3], "s": "y"},
    "c": {"n": None, "s": None},
    "d": {"n": math.nan, "z": 1},
    "e": {"n": "str"},
    "f": {"n": 1.0, "arr": [{"k": 1}]},
    "g": {"n": -0.0},
    "h": {"n": 0},
    "i": {"n": [1]},
    "j": {"n": {"a": 1}},
    "k": {"n": True},
    "l": {"other": 1},
    "m": {"n": b"x"},
}


def stored() -> Documents:
    documents = [Document(("c", name), fields, 1, 1) for name, fields in STORED.items()]
    documents.append(Document(("c", "a", "c", "aa"), {"n": 1}, 1, 1))
    documents.append(Document(("c", "zz", "c", "bb"), {"n": 5}, 1, 1))
    return Documents(documents)


def found(query: Query) -> str:
    """The ids found, in order, as one word; documents of deeper collections by their path."""
    names = [one.name[1:] for one in stored().run(checked(query))]
    return "".join(name[0] if len(name) == 1 else "/" + name[-1] for name in names)


def n(op: Op, value: Any = None) -> Clause:
    return Clause(N, op, value)


def every(*filters: Filter) -> Junction:
    return Junction(True, filters)


def either(*filters: Filter) -> Junction:
    return Junction(False, filters)


@pytest.mark.parametrize(
    ("where", "ids"),
    [
        (n(Op.EQUAL, 1), "af"),
        (n(Op.EQUAL, 0), "gh"),
        (n(Op.EQUAL, True), "k"),
        (n(Op.EQUAL, math.nan), ""),
        (n(Op.EQUAL, None), ""),
        (n(Op.NOT_EQUAL, 1), "kdghbemij"),
        (n(Op.NOT_EQUAL, None), ""),
        (n(Op.NOT_EQUAL, math.nan), "kdghafbemij"),
        (n(Op.LESS_THAN, 1), "gh"),
        (n(Op.LESS_THAN_OR_EQUAL, 1), "ghaf"),
        (n(Op.LESS_THAN_OR_EQUAL, math.nan), ""),
        (n(Op.GREATER_THAN_OR_EQUAL, math.nan), ""),
        (n(Op.GREATER_THAN_OR_EQUAL, None), ""),
        (n(Op.GREATER_THAN, 0), "afb"),
        (n(Op.GREATER_THAN, True), ""),
        (n(Op.GREATER_THAN, [0]), "i"),
        (n(Op.GREATER_THAN, {}), "j"),
        (n(Op.IN, [1, None]), "af"),
        (n(Op.IN, [None]), ""),
        (n(Op.IN, [math.nan]), ""),
        (n(Op.IN, [1, 1.0, 2]), "abf"),
        (n(Op.NOT_IN, [1]), "kdghbemij"),
        (n(Op.NOT_IN, [1, None]), ""),
        (n(Op.NOT_IN, [math.nan]), "kdghafbemij"),
        (Clause(("arr",), Op.ARRAY_CONTAINS, 2), "ab"),
        (Clause(("arr",), Op.ARRAY_CONTAINS, 2.0), "ab"),
        (Clause(("arr",), Op.ARRAY_CONTAINS, None), ""),
        (Clause(("arr",), Op.ARRAY_CONTAINS, {"k": 1}), "f"),
        (Clause(("arr",), Op.ARRAY_CONTAINS_ANY, [1, 3]), "ab"),
        (Clause(("arr",), Op.ARRAY_CONTAINS_ANY, [None, 1]), "a"),
        (n(Op.IS_NULL), "c"),
        (n(Op.IS_NAN), "d"),
        (n(Op.IS_NOT_NULL), "kdghafbemij"),
        (n(Op.IS_NOT_NAN), "kghafbemij"),
        (Clause(("m", "x"), Op.EQUAL, 1), "a"),
        (every(n(Op.GREATER_THAN, 0), Clause(("s",), Op.GREATER_THAN, "a")), "ab"),
        (every(n(Op.IN, [1, 2]), n(Op.IN, [2, 3])), "b"),
        (every(n(Op.EQUAL, 1), n(Op.EQUAL, 2)), ""),
        (every(n(Op.IS_NULL), n(Op.GREATER_THAN, 0)), ""),
        (either(n(Op.EQUAL, 1), Clause(("s",), Op.GREATER_THAN, "x")), "ab"),
        (either(n(Op.EQUAL, 1), Clause(("z",), Op.EQUAL, 1)), "adf"),
        (either(n(Op.GREATER_THAN, 0), Clause(("z",), Op.GREATER_THAN, 0)), "d"),
        (Clause(NAME_PATH, Op.EQUAL, reference("c/a")), "a"),
        (Clause(NAME_PATH, Op.EQUAL, reference("d/a")), ""),
        (Clause(NAME_PATH, Op.GREATER_THAN, reference("c/i")), "jklm"),
        (Clause(NAME_PATH, Op.GREATER_THAN, reference("c/a/c/aa")), "bcdefghijklm"),
        (Clause(NAME_PATH, Op.IN, [reference("c/b"), reference("c/a")]), "ab"),
        (Clause(NAME_PATH, Op.NOT_EQUAL, reference("c/a")), "bcdefghijklm"),
        (Clause(NAME_PATH, Op.NOT_IN, [reference("c/b")]), "acdefghijklm"),
        (every(Clause(NAME_PATH, Op.GREATER_THAN, reference("c/b")), n(Op.GREATER_THAN, 0)), "f"),
    ],
    ids=lambda case: repr(case)[:70] if not isinstance(case, str) else "",
)
def test_what_an_operator_finds(where: Filter, ids: str) -> None:
    """Observed: gcloud Firestore emulator 1.19.9, documents and order."""
    assert found(Query(C, where)) == ids


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        (Query(C, order_by=(Order(N),)), "ckdghafbemij"),
        (Query(C, order_by=(Order(N, True),)), "jimebfahgdkc"),
        (Query(C, order_by=(Order(N), Order(NAME_PATH, True))), "ckdhgfabemij"),
        (Query(C, order_by=(Order(NAME_PATH, True),)), "mlkjihgfedcba"),
        (Query(C, n(Op.EQUAL, 1), (Order(N, True),)), "fa"),
        (Query(C, n(Op.IN, [1, 2, 0]), (Order(N, True),)), "bfahg"),
        (Query(C, n(Op.NOT_EQUAL, 6), (Order(("s",)),)), "ab"),
        (Query(C, every(n(Op.GREATER_THAN, 0)), (Order(("s",), True),)), "ba"),
        (Query(C, Clause(("arr",), Op.ARRAY_CONTAINS, 2), (Order(N, True),)), "ba"),
        (Query(C, limit=2, offset=1), "bc"),
        (Query(C, limit=0), ""),
        (Query(Scope((), "c", True)), "a/aabcdefghijklm/bb"),
        (Query(Scope(("c", "a"), "c", True)), "/aa"),
        (Query(Scope((), None, True)), "a/aabcdefghijklm/bb"),
        (Query(Scope(("c", "a"), None)), "/aa"),
        (Query(Scope((), "c", True), n(Op.GREATER_THAN, 1)), "b/bb"),
    ],
)
def test_order_scope_limit_and_offset(query: Query, ids: str) -> None:
    """Observed: gcloud Firestore emulator 1.19.9, which refuses a descending name alone."""
    assert found(query) == ids


@pytest.mark.parametrize(
    ("order_by", "start", "end", "ids"),
    [
        ((Order(N),), Cursor((1,), True), None, "afbemij"),
        ((Order(N),), Cursor((1,), False), None, "bemij"),
        ((Order(N),), None, Cursor((1,), True), "ckdgh"),
        ((Order(N),), None, Cursor((1,), False), "ckdghaf"),
        ((Order(N), Order(NAME_PATH)), Cursor((1, reference("c/a")), False), None, "fbemij"),
        ((Order(N),), Cursor((), True), None, "ckdghafbemij"),
        ((Order(N),), Cursor((), False), None, ""),
        ((Order(N, True),), Cursor((1,), True), None, "fahgdkc"),
        ((Order(N, True),), None, Cursor((1,), False), "jimebfa"),
        ((Order(NAME_PATH),), Cursor((reference("c/d/c/e"),), True), None, "efghijklm"),
        ((Order(NAME_PATH),), Cursor((reference("d/a"),), True), None, ""),
    ],
)
def test_cursors(
    order_by: tuple[Order, ...], start: Cursor | None, end: Cursor | None, ids: str
) -> None:
    """Before and after, of a whole order or the beginning of one; observed likewise."""
    assert found(Query(C, order_by=order_by, start_at=start, end_at=end)) == ids


@pytest.mark.parametrize(
    ("where", "order_by", "full"),
    [
        (None, (), "__name__"),
        (None, (Order(("a",), True),), "-a -__name__"),
        (n(Op.EQUAL, 1), (), "__name__"),
        (n(Op.GREATER_THAN, 1), (), "n __name__"),
        (Clause(NAME_PATH, Op.GREATER_THAN, reference("c/a")), (), "__name__"),
        (every(n(Op.NOT_IN, [1]), Clause(("b",), Op.LESS_THAN, 1)), (), "b n __name__"),
        (
            every(n(Op.LESS_THAN, 1), Clause(("b",), Op.LESS_THAN, 1)),
            (Order(("x",)), Order(("n",), True)),
            "x -n -b -__name__",
        ),
        (n(Op.IS_NOT_NULL), (Order(("n",)), Order(NAME_PATH, True)), "n -__name__"),
    ],
)
def test_the_full_order(where: Filter | None, order_by: tuple[Order, ...], full: str) -> None:
    """The rules of StructuredQuery.order_by in google/firestore/v1/query.proto."""
    orders = checked(Query(C, where, order_by)).orders
    assert " ".join("-" * one.descending + ".".join(one.path) for one in orders) == full


VECTOR = Nearest(("v",), Vector((1.0, 2.0)), Measure.COSINE, 5)


@pytest.mark.parametrize(
    ("query", "text"),
    [
        (Query(C, n(Op.IN, [])), "'IN' requires an non-empty ArrayValue."),
        (Query(C, n(Op.IN, 1)), "'IN' requires an ArrayValue."),
        (Query(C, n(Op.IN, list(range(31)))), "'IN' supports up to 30 comparison values."),
        (Query(C, n(Op.NOT_IN, list(range(11)))), "'NOT_IN' supports up to 10 comparison values."),
        (
            Query(C, every(n(Op.IN, list(range(6))), Clause(("m",), Op.IN, list(range(6))))),
            "Too many disjunctions after normalization. Result had 36 disjunctions which is more "
            "than the maximum of 30",
        ),
        (
            Query(C, every(n(Op.ARRAY_CONTAINS, 1), n(Op.ARRAY_CONTAINS_ANY, [2]))),
            "A maximum of 1 'ARRAY_CONTAINS' filter is allowed per disjunction.",
        ),
        (
            Query(C, every(n(Op.NOT_IN, [1]), n(Op.IN, [2]))),
            "'NOT_IN' cannot be used in the same query with 'IN', 'ARRAY_CONTAINS_ANY' or 'OR'.",
        ),
        (
            Query(C, every(n(Op.NOT_IN, [1]), either(n(Op.EQUAL, 2), n(Op.EQUAL, 3)))),
            "'NOT_IN' cannot be used in the same query with 'IN', 'ARRAY_CONTAINS_ANY' or 'OR'.",
        ),
        (
            Query(C, either(n(Op.NOT_EQUAL, 1), Clause(("z",), Op.IS_NOT_NULL))),
            "Only a single 'NOT_EQUAL', 'NOT_IN', 'IS_NOT_NAN', or 'IS_NOT_NULL' filter allowed "
            "per query.",
        ),
        (Query(C, either()), "Composite filter must have at least one sub-filter."),
        (Query(C, every()), "Composite filter must have at least one sub-filter."),
        (
            Query(C, every(*(Clause((f"f{i}",), Op.EQUAL, 1) for i in range(120)))),
            "The query may not have more than 100 filters + sort orders + ancestor total. "
            "Currently there are 120 filters, 0 sort orders, and no ancestor filter.",
        ),
        (
            Query(C, every(*(Clause((f"f{i}",), Op.LESS_THAN, 1) for i in range(11)))),
            "The query contains 11 distinct inequality fields: [f0, f1, f10, f2, f3, f4, f5, f6, "
            "f7, f8, f9]. A query may not have more than 10 distinct inequality fields.",
        ),
        (Query(C, Clause(NAME_PATH, Op.EQUAL, "a")), "__key__ filter value must be a Key"),
        (Query(C, Clause(NAME_PATH, Op.IS_NULL)), "__key__ filter value must be a Key"),
        (Query(C, Clause(("__x__",), Op.EQUAL, 1)), "Invalid reserved name in field path __x__"),
        (
            Query(C, order_by=(Order(N), Order(N, True))),
            "order by clause cannot contain duplicate fields n",
        ),
        (
            Query(C, order_by=(Order(NAME_PATH), Order(N))),
            "order by clause cannot contain more fields after the key",
        ),
        (
            Query(C, n(Op.GREATER_THAN, 1), (Order(NAME_PATH),)),
            "order by clause cannot contain more fields after the key",
        ),
        (Query(C, start_at=Cursor((1,), True)), "Cursor has too many values."),
        (
            Query(C, order_by=(Order(NAME_PATH),), start_at=Cursor(("c/a",), True)),
            "Cursor __key__ value is not a document reference.",
        ),
        (Query(C, limit=-1), "limit is negative"),
        (Query(C, offset=-1), "offset is negative"),
        (Query(Scope((), "__x__")), 'Collection id "__x__" is invalid because it is reserved.'),
        (Query(Scope((), "a/b")), 'Collection id "a/b" is invalid because it contains "/".'),
        (Query(Scope((), None), n(Op.EQUAL, 1)), "kind is required for filter: n"),
        (
            Query(Scope((), None), order_by=(Order(NAME_PATH, True),)),
            "kind is required for all orders except __key__ ascending",
        ),
        (
            Query(C, find_nearest=Nearest(("v",), Vector(()), Measure.COSINE, 5)),
            "Cannot have a zero length vector.",
        ),
        (
            Query(C, find_nearest=Nearest(("v",), Vector((0.0,) * 2049), Measure.COSINE, 5)),
            "Vectors must be at most 2048 dimensions.",
        ),
        (
            Query(C, find_nearest=Nearest(("v",), Vector((0.0,)), Measure.COSINE, 1001)),
            "FindNearest.limit must be a positive integer of no more than 1000",
        ),
        (Query(C, limit=1, find_nearest=VECTOR), "A query limit cannot be used with FindNearest"),
        (Query(C, offset=1, find_nearest=VECTOR), "A query offset cannot be used with FindNearest"),
        (
            Query(C, order_by=(Order(N),), start_at=Cursor((1,), True), find_nearest=VECTOR),
            "A cursor cannot be used with FindNearest",
        ),
    ],
    ids=lambda case: case[:40] if isinstance(case, str) else "",
)
def test_what_is_refused_and_how(query: Query, text: str) -> None:
    """Texts observed on gcloud Firestore emulator 1.19.9."""
    with pytest.raises(InvalidArgument) as refused:
        checked(query)
    assert refused.value.message == text


def test_names_order_with_numeric_ids_first_and_come_back() -> None:
    """`__id7__` before `__id12__` before everything else; the key gives the name back."""
    ids = ["__id-3__", "__id07__", "__id7__", "__id12__", "\0a", "\0\x7fb", "1", "__", "a"]
    names = [("c", one) for one in ids]
    assert sorted(set(names), key=name_order) == names
    assert [name_of(name_order(name)) for name in names] == names

"""Queries over indexes give what a naive filter, sort and slice gives, in the same order."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.firestore.indexes import Indexes
from emulator.firestore.paths import Name
from emulator.firestore.query import Clause, Cursor, Junction, Op, Order, Query, Scope, checked
from emulator.firestore.query_plan import plan
from emulator.firestore.writes import Document
from tests.emulator.firestore_queries import NAMES, QUERIES, Documents, documents, naive


@settings(max_examples=400, deadline=None)
@given(st.lists(documents(), max_size=25), QUERIES)
def test_indexes_give_what_a_naive_filter_sort_and_slice_gives(
    stored: list[Document], query: Query
) -> None:
    """Every operator, order, cursor, offset and limit, over indexes, counted and listed."""
    database = Documents(stored)
    expected = naive(query, database.by_name.values())
    assert [one.name for one in database.run(query)] == expected
    assert plan(query, database.indexes, database.by_name.get).count() == len(expected)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.one_of(documents(), NAMES), max_size=25),
    st.lists(QUERIES, min_size=1, max_size=3),
)
def test_indexes_follow_writes_and_deletes(
    writes: list[Document | Name], asked: list[Query]
) -> None:
    """An index built before the writes gives the same as one built after them."""
    database = Documents()
    for write in writes:
        for query in asked:
            database.run(query)
        if isinstance(write, Document):
            database.put(write)
        else:
            database.delete(write)
    for query in asked:
        expected = naive(query, database.by_name.values())
        assert [one.name for one in database.run(query)] == expected


def numbered(count: int) -> Documents:
    return Documents(
        Document(("c", f"{index:06}"), {"n": index, "half": index % 2, "tags": [index % 50]}, 1, 1)
        for index in range(count)
    )


@pytest.mark.parametrize(
    "query",
    [
        Query(Scope((), "c"), Clause(("n",), Op.EQUAL, 77)),
        Query(Scope((), "c"), Clause(("n",), Op.GREATER_THAN, 100), limit=10),
        Query(Scope((), "c"), order_by=(Order(("n",), True),), limit=10),
        Query(Scope((), "c"), limit=10, offset=500),
        Query(Scope((), "c", True), Clause(("half",), Op.EQUAL, 1), limit=10),
        Query(
            Scope((), "c"),
            Junction(True, (Clause(("half",), Op.EQUAL, 1), Clause(("n",), Op.NOT_EQUAL, 5))),
            (Order(("n",), True),),
            limit=10,
        ),
        Query(Scope((), "c"), Clause(("tags",), Op.ARRAY_CONTAINS_ANY, [3, 4, 5]), limit=10),
        Query(
            Scope((), "c"),
            Clause(("n",), Op.IN, list(range(30))),
            (Order(("n",), True),),
            Cursor((20,), True),
            limit=10,
        ),
    ],
    ids=lambda query: str(query.where)[:50],
)
def test_what_a_query_looks_at_grows_with_its_result_only(query: Query) -> None:
    """At 1,000 documents and at 4,000, as many entries are read: about as many as returned."""
    scanned = []
    for count in (1000, 4000):
        database = numbered(count)
        made = plan(checked(query), database.indexes, database.by_name.get)
        returned = len(list(made.documents()))
        scanned.append(made.stats.entries_scanned)
        assert made.stats.entries_scanned <= returned + 30
    assert scanned[0] == scanned[1]


def test_a_count_over_one_stretch_reads_no_entries() -> None:
    """count() is a subtraction of positions."""
    database = numbered(1000)
    made = plan(
        Query(Scope((), "c"), Clause(("n",), Op.LESS_THAN, 400)),
        database.indexes,
        database.by_name.get,
    )
    assert made.count() == 400
    assert made.stats.entries_scanned == 1


def test_a_field_nobody_queries_has_no_index() -> None:
    """Indexes exist from the first query that needs them."""
    database = numbered(10)
    assert database.indexes.built() == []
    database.run(Query(Scope((), "c"), Clause(("n",), Op.EQUAL, 1)))
    assert [
        (scope, [str(part) for part in spec]) for scope, spec, _ in database.indexes.built()
    ] == [(Scope((), "c"), ["n ASC"])]


def test_the_least_recently_used_index_goes_when_there_are_too_many_entries() -> None:
    """Memory is bounded, and what was dropped is built again when asked for."""
    database = numbered(10)
    database.indexes = Indexes(database, max_entries=25)
    for field in ("n", "half", "n", "tags"):
        database.run(Query(Scope((), "c"), order_by=(Order((field,)),)))
    assert [str(spec[0]) for _, spec, _ in database.indexes.built()] == ["n ASC", "tags ASC"]
    assert len(database.run(Query(Scope((), "c"), Clause(("half",), Op.EQUAL, 1)))) == 5

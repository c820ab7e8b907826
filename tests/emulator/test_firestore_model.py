"""Store and queries together: any commits, and every query now and at every past moment.

The model is a list of states, each a plain dict of documents, and the naive evaluator. The
store's and the index planner's own tests check each alone; here they meet, with the engine
made at a random moment, as a server makes it at the first query.
"""

from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.clock import SECOND_US
from emulator.firestore.aggregate import Aggregation, Kind
from emulator.firestore.paths import Name
from emulator.firestore.query import Query, Scope, checked
from emulator.firestore.query_engine import QueryEngine
from emulator.firestore.store import Database, Store
from emulator.firestore.writes import Document, Operation, Write
from tests.emulator.firestore_queries import DATABASE, NAMES, QUERIES, documents, naive

NOW = 1_700_000_000 * SECOND_US

COMMITS = st.lists(st.one_of(documents(), NAMES), min_size=1, max_size=4)


def applied(
    database: Database, state: dict[Name, Document], commit: list[Document | Name]
) -> tuple[int, dict[Name, Document]]:
    """Commit to the database, and the same to a copy of the state; the time and the copy."""
    writes = [
        Write(Operation.UPDATE, one.name, one.fields)
        if isinstance(one, Document)
        else Write(Operation.DELETE, one)
        for one in commit
    ]
    time_us = database.commit(writes, NOW).commit_time_us
    after = dict(state)
    for one in commit:
        if isinstance(one, Document):
            after[one.name] = one
        else:
            after.pop(one, None)
    return time_us, after


@settings(max_examples=150, deadline=None)
@given(
    st.lists(COMMITS, min_size=1, max_size=8),
    st.lists(QUERIES, min_size=1, max_size=3),
    st.integers(0, 7),
)
def test_queries_give_every_moment_as_it_was(
    commits: list[list[Document | Name]], queries: list[Query], engine_made_after: int
) -> None:
    """At each commit's time, asked then or later, the result and its count are the model's."""
    database = Store().database(DATABASE)
    engine = None
    history: list[tuple[int, dict[Name, Document]]] = [(database.read_time(NOW), {})]
    for number, commit in enumerate(commits):
        if number == engine_made_after:
            engine = QueryEngine(database)
        history.append(applied(database, history[-1][1], commit))
        if engine is not None:
            for query in queries:
                expected = naive(query, history[-1][1].values())
                assert [one.name for one in engine.run(query).documents] == expected
    engine = engine or QueryEngine(database)
    for time_us, state in history:
        for query in queries:
            expected = naive(query, state.values())
            assert [one.name for one in engine.run(query, time_us).documents] == expected
            counted, _ = engine.aggregate(query, [Aggregation(Kind.COUNT, "n")], time_us)
            assert counted == {"n": len(expected)}


@settings(max_examples=50, deadline=None)
@given(st.lists(documents(), min_size=1, max_size=25), st.integers(1, 5))
def test_partitions_cut_a_group_into_parts_that_are_the_group(
    stored: list[Document], count: int
) -> None:
    """The names returned are at most as many as asked, rising, and within the group."""
    database = Store().database(DATABASE)
    applied(database, {}, list(stored))
    engine = QueryEngine(database)
    query = checked(Query(Scope((), "c", all_descendants=True)))
    names = [one.name for one in engine.run(query).documents]
    cuts = engine.partition(query, count)
    assert len(cuts) <= count
    assert cuts == sorted(set(cuts), key=names.index)

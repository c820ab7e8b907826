"""The queries of a database: present and past, which changes matter, equal parts."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.firestore.aggregate import Aggregation, Kind, checked
from emulator.firestore.paths import Name
from emulator.firestore.query import Clause, Measure, Nearest, Op, Query, Scope
from emulator.firestore.query_engine import Engines, QueryEngine, affects, resource
from emulator.firestore.store import Store
from emulator.firestore.values import Vector
from emulator.firestore.writes import Change, Document, Operation, Write
from tests.emulator.firestore_queries import DATABASE, NAMES, QUERIES, documents, naive

ALL = Query(Scope((), "c"))


class World:
    """A database with an engine; each commit is a second later."""

    def __init__(self) -> None:
        self.store = Store()
        self.engine: QueryEngine = Engines(self.store).engine(DATABASE)
        self.now_us = 1_000_000

    def commit(self, *writes: Document | Name) -> int:
        self.now_us += 1_000_000
        applied = [
            Write(Operation.UPDATE, one.name, one.fields)
            if isinstance(one, Document)
            else Write(Operation.DELETE, one)
            for one in writes
        ]
        return self.engine.database.commit(applied, self.now_us).commit_time_us

    def put(self, name: str, **fields: Any) -> int:
        return self.commit(Document(("c", name), fields, 0, 0))

    def ids(self, query: Query, read_time_us: int | None = None) -> list[str]:
        return [one.name[-1] for one in self.engine.run(query, read_time_us).documents]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(documents(), max_size=10),
    QUERIES,
    st.one_of(documents(), NAMES),
)
def test_a_change_that_does_not_affect_a_query_leaves_its_result(
    stored: list[Document], query: Query, write: Document | Name
) -> None:
    """What transactions and windows rely on; it may be too careful, never too careless."""
    world = World()
    if stored:
        world.commit(*{one.name: one for one in stored}.values())
    changes: list[Change] = []
    world.engine.database.observers.append(lambda told, _time_us: changes.extend(told))
    before = world.engine.run(query).documents
    matters = affects(query, before)
    world.commit(write)
    if not any(map(matters, changes)):
        after = world.engine.run(query).documents
        assert [(one.name, one.update_time_us) for one in after] == [
            (one.name, one.update_time_us) for one in before
        ]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.lists(st.one_of(documents(), NAMES), min_size=1, max_size=4), max_size=8),
    QUERIES,
)
def test_a_query_at_every_past_time_gives_what_it_gave_then(
    commits: list[list[Document | Name]], query: Query
) -> None:
    """Every operator, order, cursor and window, over the indexes of the present."""
    world = World()
    then: list[tuple[int, list[Name]]] = []
    for writes in commits:
        named = {one.name if isinstance(one, Document) else one: one for one in writes}
        time_us = world.commit(*named.values())
        then.append((time_us, naive(query, world.engine.database.documents((), None, True))))
    for time_us, expected in then:
        assert [one.name for one in world.engine.run(query, time_us).documents] == expected


def test_a_read_of_the_past_finds_what_was_there() -> None:
    """At each commit's time, and just before it; with and without an index of the present."""
    world = World()
    first_us = world.put("a", n=1)
    second_us = world.put("b", n=2)
    third_us = world.commit(("c", "a"))
    query = Query(Scope((), "c"), Clause(("n",), Op.GREATER_THAN, 0))
    assert world.ids(query) == ["b"]
    assert [world.ids(query, time_us) for time_us in (first_us, second_us, third_us)] == [
        ["a"],
        ["a", "b"],
        ["b"],
    ]
    assert world.ids(query, second_us - 1) == ["a"]
    count = checked(query, [Aggregation(Kind.COUNT)])
    assert world.engine.aggregate(query, count, second_us)[0] == {"field_1": 2}


def test_a_read_of_the_past_looks_at_its_result_and_what_has_changed_since() -> None:
    """So a read-only transaction costs no scan, whatever is written beside it."""
    world = World()
    for index in range(100):
        world.put(f"d{index}", n=index)
    query = Query(Scope((), "c"), Clause(("n",), Op.EQUAL, 7))
    now_us = world.engine.database.read_time(world.now_us)
    assert world.engine.run(query, now_us).stats.documents_read == 1
    world.put("new", n=7)
    world.put("d8", n=7)
    assert world.ids(query, now_us) == ["d7"]
    assert world.engine.run(query, now_us).stats.documents_read == 4


@pytest.mark.parametrize("past", [False, True], ids=["present", "past"])
@pytest.mark.parametrize(("stored", "count"), [(0, 3), (1, 3), (2, 3), (10, 3), (100, 7), (5, 50)])
def test_partitions_are_of_equal_size(stored: int, count: int, past: bool) -> None:
    """As many cuts as asked for, or as there are places to cut; parts differ by one at most."""
    world = World()
    names = [("c", f"{index:03}") for index in range(stored)]
    if names:
        world.commit(*(Document(name, {}, 0, 0) for name in names))
    then_us = world.engine.database.read_time(world.now_us)
    if past:
        world.put("new")
    cuts = world.engine.partition(Query(Scope((), "c", True)), count, then_us if past else None)
    assert len(cuts) == min(count, max(0, stored - 1))
    places = [0, *(names.index(cut) for cut in cuts), stored]
    sizes = [stop - start for start, stop in pairwise(places)]
    assert max(sizes) - min(sizes) <= 1


def test_distances_are_a_field_of_what_is_returned_not_of_what_is_stored() -> None:
    """The stored document stays as it is."""
    world = World()
    world.put("a", v=Vector((1.0,)))
    nearest = Nearest(("v",), Vector((3.0,)), Measure.EUCLIDEAN, 5, "far")
    query = Query(Scope((), "c"), find_nearest=nearest)
    (found,) = world.engine.run(query).documents
    assert found.fields == {"v": Vector((1.0,)), "far": 2.0}
    stored = world.engine.database.get(("c", "a"))
    assert stored is not None
    assert stored.fields == {"v": Vector((1.0,))}


def test_an_engine_made_late_knows_the_past() -> None:
    """One engine for each database, whenever it is first asked for."""
    store = Store()
    database = store.database(DATABASE)
    name = ("c", "a")
    first = database.commit([Write(Operation.UPDATE, name, {"n": 1})], 1_000_000)
    database.commit([Write(Operation.DELETE, name)], 2_000_000)
    engines = Engines(store)
    engine = engines.engine(DATABASE)
    assert engines.engine(DATABASE) is engine
    assert engine.run(ALL).documents == []
    assert [one.name for one in engine.run(ALL, first.commit_time_us).documents] == [name]


def test_clearing_the_database_empties_its_indexes() -> None:
    """And what is written after is found."""
    world = World()
    world.put("a", n=1)
    query = Query(Scope((), "c"), Clause(("n",), Op.EQUAL, 1))
    assert world.ids(query) == ["a"]
    world.engine.database.clear(world.now_us)
    assert world.ids(query) == []
    assert [entries for _, _, entries in world.engine.indexes.built()] == [0]
    world.put("b", n=1)
    assert world.ids(query) == ["b"]


def test_transactions_queue_for_the_collection_they_query() -> None:
    """An odd number of segments, as the store wants it."""
    assert resource(Scope(("c", "a"), "d")) == ("c", "a", "d")
    assert resource(Scope((), None, True)) == ("*",)

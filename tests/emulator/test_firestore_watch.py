"""Listening: what a client has been told equals the query run again, and no more was told."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.errors import InvalidArgument
from emulator.firestore.paths import Name
from emulator.firestore.query import Clause, Measure, Nearest, Op, Order, Query, Scope
from emulator.firestore.query_engine import Engines
from emulator.firestore.store import Database, Store
from emulator.firestore.values import Vector
from emulator.firestore.watch import Listener, Watcher
from emulator.firestore.watch_events import (
    DocumentChange,
    DocumentGone,
    Event,
    ExistenceFilter,
    Kind,
    TargetChange,
)
from emulator.firestore.writes import Document, Operation, Write
from tests.emulator.firestore_queries import DATABASE, NAMES, QUERIES, documents, naive

NOW = 1_000_000


class World:
    """A database, its watcher, and a clock that moves a millisecond at a time."""

    def __init__(self) -> None:
        store = Store()
        engines = Engines(store)
        self.database: Database = store.database(DATABASE)
        self.watcher = Watcher(engines.engine(DATABASE))
        self.now_us = NOW

    def commit(self, *writes: Document | Name) -> None:
        self.now_us += 1000
        self.database.commit(
            [
                Write(Operation.UPDATE, one.name, one.fields)
                if isinstance(one, Document)
                else Write(Operation.DELETE, one)
                for one in writes
            ],
            self.now_us,
        )

    def put(self, path: str, **fields: Any) -> None:
        self.commit(Document(tuple(path.split("/")), fields, 0, 0))

    def delete(self, path: str) -> None:
        self.commit(tuple(path.split("/")))

    def naive(self, query: Query) -> list[Name]:
        return naive(query, self.database.documents((), None, True))


@dataclass
class Client:
    """One stream's client: what it has for each target, from nothing but the events."""

    world: World
    sets: dict[int, dict[Name, int]] = field(default_factory=dict)
    current: set[int] = field(default_factory=set)
    read_time_us: int = 0
    wakes: int = 0

    def __post_init__(self) -> None:
        self.listener = Listener(self.world.watcher, self._wake)

    def _wake(self) -> None:
        self.wakes += 1

    def listen(self, target_id: int, query: Query, resume_us: int | None = None) -> None:
        self.listener.add_query(
            target_id, repr(query), query, now_us=self.world.now_us, resume_us=resume_us
        )

    def collect(self) -> list[Event]:
        events = self.listener.collect(self.world.now_us)
        for event in events:
            self.take(event)
        return events

    def take(self, event: Event) -> None:
        match event:
            case TargetChange(Kind.ADD, target_ids):
                for target_id in target_ids:
                    self.sets.setdefault(target_id, {})
            case TargetChange(Kind.RESET, target_ids):
                for target_id in target_ids:
                    self.sets[target_id] = {}
            case TargetChange(Kind.CURRENT, target_ids):
                self.current.update(target_ids)
            case TargetChange(Kind.NO_CHANGE, (), read_time_us):
                assert read_time_us is not None
                assert read_time_us >= self.read_time_us
                self.read_time_us = read_time_us
            case TargetChange(Kind.REMOVE, target_ids):
                self.current.difference_update(target_ids)
            case DocumentChange(document, target_ids, removed):
                for target_id in target_ids:
                    self.sets[target_id][document.name] = document.update_time_us
                for target_id in removed:
                    del self.sets[target_id][document.name]
            case DocumentGone(name, removed):
                for target_id in removed:
                    self.sets[target_id].pop(name, None)
            case ExistenceFilter(target_id, count):
                assert len(self.sets[target_id]) == count


def shown(events: Iterable[Event]) -> list[str]:
    """Events as short words: `ADD 1`, `+c/a 1`, `-c/a 1`, `deleted c/a 1`, `filter 1 2`."""
    words = []
    for event in events:
        match event:
            case TargetChange(kind, target_ids):
                words.append(" ".join([kind.name, *map(str, target_ids)]))
            case DocumentChange(document, target_ids, removed):
                gone = [f"-{one}" for one in removed]
                name = "/".join(document.name)
                words.append(" ".join([f"+{name}", *map(str, target_ids), *gone]))
            case DocumentGone(name, removed, deleted):
                sign = "deleted " if deleted else "-"
                words.append(" ".join([f"{sign}{'/'.join(name)}", *map(str, removed)]))
            case ExistenceFilter(target_id, count):
                words.append(f"filter {target_id} {count}")
    return words


ALL = Query(Scope((), "c"))


def at_least(n: int) -> Query:
    return Query(Scope((), "c"), Clause(("n",), Op.GREATER_THAN_OR_EQUAL, n))


FIRST_TWO = Query(Scope((), "c"), order_by=(Order(("n",)),), limit=2)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(QUERIES, min_size=1, max_size=3),
    st.lists(
        st.tuples(st.lists(st.one_of(documents(), NAMES), min_size=1, max_size=3), st.booleans()),
        max_size=20,
    ),
)
def test_a_listeners_view_is_the_query_run_again(
    asked: list[Query], commits: list[tuple[list[Document | Name], bool]]
) -> None:
    """After every commit, or several together; and by resuming at any time from what was had."""
    world = World()
    client = Client(world)
    for target_id, query in enumerate(asked, start=1):
        client.listen(target_id, query)
    client.collect()
    left = Client(world, sets={1: dict(client.sets[1])})
    left_us = client.read_time_us
    for index, (writes, told) in enumerate(commits):
        world.commit(
            *{one.name if isinstance(one, Document) else one: one for one in writes}.values()
        )
        if not told:
            continue
        client.collect()
        for target_id, query in enumerate(asked, start=1):
            assert sorted(client.sets[target_id]) == sorted(world.naive(query))
        if index == len(commits) // 2:
            left, left_us = Client(world, sets={1: dict(client.sets[1])}), client.read_time_us
    left.listen(1, asked[0], left_us)
    events = left.collect()
    assert sorted(left.sets[1]) == sorted(world.naive(asked[0]))
    assert not any(isinstance(one, TargetChange) and one.kind is Kind.RESET for one in events)
    client.listener.close()
    left.listener.close()
    assert len(world.watcher) == 0


def test_the_first_snapshot_is_documents_in_order_then_current_then_no_change() -> None:
    """As the clients' Watch wants it: CURRENT for the target, NO_CHANGE for the stream."""
    world = World()
    for path, n in (("c/a", 2), ("c/b", 1), ("c/x", 0)):
        world.put(path, n=n)
    client = Client(world)
    client.listen(7, at_least(1))
    events = client.collect()
    assert shown(events) == ["ADD 7", "+c/b 7", "+c/a 7", "CURRENT 7", "NO_CHANGE"]
    assert [one.read_time_us for one in events[-2:] if isinstance(one, TargetChange)] == [
        client.read_time_us
    ] * 2


@pytest.mark.parametrize(
    ("write", "told"),
    [
        (lambda world: world.put("c/new", n=9), ["+c/new 1", "NO_CHANGE"]),
        (lambda world: world.put("c/a", n=8), ["+c/a 1", "NO_CHANGE"]),
        (lambda world: world.put("c/a", n=0), ["-c/a 1", "NO_CHANGE"]),
        (lambda world: world.delete("c/a"), ["deleted c/a 1", "NO_CHANGE"]),
        (lambda world: world.put("c/a", n=5), []),
        (lambda world: world.put("c/low", n=0), []),
        (lambda world: world.put("d/a", n=9), []),
        (lambda world: world.put("c/a/c/b", n=9), []),
    ],
    ids=["enters", "changes", "leaves", "deleted", "same", "no match", "elsewhere", "deeper"],
)
def test_only_what_changed_is_told(write: Any, told: list[str]) -> None:
    """A document enters, changes, leaves, is deleted; anything else wakes nobody."""
    world = World()
    world.put("c/a", n=5)
    world.put("c/b", n=6)
    client = Client(world)
    client.listen(1, at_least(5))
    client.collect()
    client.wakes = 0
    write(world)
    assert client.wakes == (1 if told else 0)
    assert shown(client.collect()) == told


def test_a_window_is_kept_full_and_in_order() -> None:
    """A document that enters pushes one out; one that leaves lets the next one in."""
    world = World()
    for path, n in (("c/a", 10), ("c/b", 20), ("c/c", 30)):
        world.put(path, n=n)
    client = Client(world)
    client.listen(1, FIRST_TWO)
    assert shown(client.collect())[1:3] == ["+c/a 1", "+c/b 1"]
    world.put("c/z", n=5)
    assert shown(client.collect()) == ["+c/z 1", "-c/b 1", "NO_CHANGE"]
    world.delete("c/z")
    assert shown(client.collect()) == ["+c/b 1", "deleted c/z 1", "NO_CHANGE"]
    world.put("c/c", n=31)  # beyond the window
    assert client.collect() == []


def test_a_document_that_came_and_went_between_two_looks_is_not_told() -> None:
    """Commits that come faster than the stream is read are told together."""
    world = World()
    client = Client(world)
    client.listen(1, ALL)
    client.collect()
    world.put("c/a", n=1)
    world.delete("c/a")
    world.put("c/b", n=1)
    world.put("c/b", n=2)
    assert shown(client.collect()) == ["+c/b 1", "NO_CHANGE"]


def test_one_change_names_every_target_it_is_in_and_every_one_it_left() -> None:
    """A stream hears of a document once."""
    world = World()
    world.put("c/a", n=5)
    client = Client(world)
    client.listen(1, ALL)
    client.listen(2, at_least(5))
    client.listener.add_documents(3, [("c", "a")], now_us=world.now_us)
    client.collect()
    world.put("c/a", n=1)
    assert shown(client.collect()) == ["+c/a 3 1 -2", "NO_CHANGE"]


def test_a_missing_document_is_told_as_deleted_and_then_as_it_comes_and_goes() -> None:
    """A document target says at once what is not there."""
    world = World()
    client = Client(world)
    client.listener.add_documents(1, [("c", "a"), ("c", "a")], now_us=world.now_us)
    assert shown(client.collect()) == ["ADD 1", "deleted c/a 1", "CURRENT 1", "NO_CHANGE"]
    world.put("c/a", n=1)
    assert shown(client.collect()) == ["+c/a 1", "NO_CHANGE"]
    world.delete("c/a")
    assert shown(client.collect()) == ["deleted c/a 1", "NO_CHANGE"]


def test_resuming_tells_the_difference_and_the_count() -> None:
    """What changed, what left, what was deleted; the filter lets the client check itself."""
    world = World()
    for path in ("c/same", "c/changes", "c/leaves", "c/deleted"):
        world.put(path, n=5)
    then_us = world.database.read_time(world.now_us)
    world.put("c/changes", n=6)
    world.put("c/leaves", n=0)
    world.delete("c/deleted")
    world.put("c/new", n=7)
    client = Client(
        world,
        sets={
            1: dict.fromkeys(
                [("c", "same"), ("c", "changes"), ("c", "leaves"), ("c", "deleted")], 0
            )
        },
    )
    client.listen(1, at_least(5), then_us)
    assert shown(client.collect()) == [
        "ADD 1",
        "+c/changes 1",
        "+c/new 1",
        "deleted c/deleted 1",
        "-c/leaves 1",
        "filter 1 3",
        "CURRENT 1",
        "NO_CHANGE",
    ]


def test_resuming_documents_tells_those_that_changed() -> None:
    """A document target resumes like a query."""
    world = World()
    for path in ("c/same", "c/changes", "c/deleted"):
        world.put(path, n=5)
    then_us = world.database.read_time(world.now_us)
    world.put("c/changes", n=6)
    world.delete("c/deleted")
    names = [("c", "same"), ("c", "changes"), ("c", "deleted"), ("c", "never")]
    client = Client(world, sets={1: dict.fromkeys(names[:3], 0)})
    client.listener.add_documents(1, names, now_us=world.now_us, resume_us=then_us)
    assert shown(client.collect()) == [
        "ADD 1",
        "+c/changes 1",
        "deleted c/deleted 1",
        "filter 1 2",
        "CURRENT 1",
        "NO_CHANGE",
    ]


def test_resuming_after_a_long_silence_tells_nothing_again() -> None:
    """A token outlives the versions for as long as nothing is committed."""
    world = World()
    world.put("c/a", n=5)
    then_us = world.database.read_time(world.now_us)
    world.now_us += 24 * 3600 * 1_000_000
    client = Client(world, sets={1: {("c", "a"): 0}})
    client.listen(1, ALL, then_us)
    assert shown(client.collect()) == ["ADD 1", "filter 1 1", "CURRENT 1", "NO_CHANGE"]


@pytest.mark.parametrize("resume_us", [-1, NOW])
def test_resuming_from_the_unknown_resets(resume_us: int) -> None:
    """A token of another process, or older than the versions kept: everything is told again."""
    world = World()
    world.put("c/a", n=5)
    world.now_us += 3600 * 1_000_000
    client = Client(world)
    client.listen(1, ALL, resume_us)
    assert shown(client.collect())[:3] == ["ADD 1", "RESET 1", "+c/a 1"]


def test_a_target_for_once_is_removed_when_current() -> None:
    """And hears of nothing later."""
    world = World()
    world.put("c/a", n=5)
    client = Client(world)
    client.listener.add_query(1, "key", ALL, now_us=world.now_us, once=True)
    assert shown(client.collect()) == ["ADD 1", "+c/a 1", "CURRENT 1", "NO_CHANGE", "REMOVE 1"]
    world.put("c/b", n=1)
    assert client.collect() == []
    assert len(world.watcher) == 0


def test_a_removed_target_hears_nothing_more() -> None:
    """Nor of what was about to be told."""
    world = World()
    client = Client(world)
    client.listen(1, ALL)
    client.collect()
    world.put("c/a", n=1)
    client.listener.remove(1)
    client.listener.remove(77)
    assert shown(client.collect()) == ["REMOVE 1"]


def test_a_refused_target_is_added_and_removed_with_the_cause() -> None:
    """The clients raise the cause."""
    client = Client(World())
    client.listener.refuse(4, InvalidArgument("no"))
    events = client.collect()
    assert shown(events) == ["ADD 4", "REMOVE 4"]
    assert isinstance(events[1], TargetChange)
    assert isinstance(events[1].cause, InvalidArgument)


def test_a_vector_search_cannot_be_listened_to() -> None:
    """As in production: https://firebase.google.com/docs/firestore/vector-search#limitations."""
    nearest = Nearest(("v",), Vector((1.0,)), Measure.COSINE, 1)
    client = Client(World())
    with pytest.raises(InvalidArgument, match="FindNearest"):
        client.listen(1, Query(Scope((), "c"), find_nearest=nearest))
    assert client.collect() == []


def test_equal_queries_are_followed_once() -> None:
    """Two hundred streams of one query cost a commit one look."""
    world = World()
    clients = [Client(world) for _ in range(200)]
    for client in clients:
        client.listen(1, at_least(1))
        client.collect()
    assert len(world.watcher) == 1
    world.put("c/a", n=1)
    assert {tuple(shown(client.collect())) for client in clients} == {("+c/a 1", "NO_CHANGE")}


def test_clearing_the_database_is_told() -> None:
    """Every document of every target goes."""
    world = World()
    world.put("c/a", n=1)
    client = Client(world)
    client.listen(1, FIRST_TWO)
    client.collect()
    world.database.clear(world.now_us)
    assert shown(client.collect()) == ["deleted c/a 1", "NO_CHANGE"]

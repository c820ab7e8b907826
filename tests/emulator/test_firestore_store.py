"""Firestore's store: against a naive model, at read times, through observers."""

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.clock import SECOND_US, ManualClock
from emulator.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ServiceError,
)
from emulator.firestore.paths import DatabaseName, name_key
from emulator.firestore.store import VERSION_WINDOW_US, Database, Store
from emulator.firestore.values import same_value
from emulator.firestore.writes import Operation, Precondition, Write

NOW = 1_700_000_000 * SECOND_US
A, B = ("c", "a"), ("c", "b")
DEEP = ("c", "a", "sub", "x")
MISSING_PARENT = ("c", "none", "sub", "x")
NAMES = [A, B, DEEP, MISSING_PARENT, ("c", "__id5__"), ("d", "a")]


def put(name, **fields):
    return Write(Operation.UPDATE, name, fields)


def delete(name):
    return Write(Operation.DELETE, name)


@pytest.fixture
def database() -> Database:
    return Store().database(DatabaseName("p", "(default)"))


class Model:
    """What a database is, said naively: a dict, and a copy of it for each commit."""

    def __init__(self):
        self.documents = {}
        self.states = {}

    def commit(self, writes, time_us):
        after = copy.deepcopy(self.documents)
        for write in writes:
            document = after.get(write.name)
            exists = write.precondition.exists
            if exists is not None and exists != (document is not None):
                raise NotFound("") if exists else AlreadyExists("")
            if write.operation is Operation.DELETE:
                after.pop(write.name, None)
                continue
            fields, created, updated = document or ({}, time_us, None)
            new = dict(write.fields) if write.mask is None else {**fields}
            for (key,) in write.mask or ():
                new.pop(key, None)
                if key in write.fields:
                    new[key] = write.fields[key]
            if document is None or not same_value(new, fields):
                updated = time_us
            after[write.name] = (new, created, updated)
        self.documents = after
        self.states[time_us] = after

    def under(self, parent, collection_id, all_descendants, documents):
        return [
            name
            for name in sorted(documents, key=name_key)
            if name[: len(parent)] == parent
            and len(name) > len(parent)
            and (all_descendants or len(name) == len(parent) + 2)
            and (collection_id is None or name[-2] == collection_id)
        ]


scalars = st.sampled_from([None, True, 0, 1, 1.0, 0.0, -0.0, "x", b"x"])
writes = st.builds(
    Write,
    st.sampled_from([Operation.UPDATE, Operation.UPDATE, Operation.DELETE]),
    st.sampled_from(NAMES),
    st.dictionaries(st.sampled_from("ab"), scalars, max_size=2),
    st.none() | st.sampled_from([(), (("a",),), (("a",), ("b",))]),
    st.just(()),
    st.sampled_from([Precondition()] * 4 + [Precondition(True), Precondition(False)]),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(writes, max_size=4), max_size=8), st.booleans())
def test_any_commits_leave_what_the_naive_model_has(commits, scans):
    """Documents, times, order, refusals and every past state agree with the model's."""
    database = Store().database(DatabaseName("p", "d"))
    model = Model()
    clock = ManualClock(NOW)
    last_us = 0
    for one in commits:
        before = {name: database.get(name) for name in NAMES}
        expected = None
        commit_time_us = max(clock.now_us(), last_us + 1)
        try:
            model.commit(one, commit_time_us)
        except ServiceError as error:
            expected = type(error)
        if expected is not None:
            with pytest.raises(expected):
                database.commit(one, clock.now_us())
            assert {name: database.get(name) for name in NAMES} == before
            continue
        assert database.commit(one, clock.now_us()).commit_time_us == commit_time_us
        last_us = commit_time_us
        if scans:  # from the first scan on, order is kept rather than made
            assert [row[0] for row in seen(database, None)] == sorted(model.documents, key=name_key)
    for read_time_us, state in [*model.states.items(), (None, model.documents)]:
        assert seen(database, read_time_us) == [
            (name, *state[name]) for name in sorted(state, key=name_key)
        ]
        for name in NAMES:
            assert (database.get(name, read_time_us) is not None) == (name in state)
        for query in [((), "c", False), (("c", "a"), None, False), ((), "sub", True)]:
            found = [document.name for document in database.documents(*query, read_time_us)]
            assert found == model.under(*query, state)


def seen(database, read_time_us):
    return [
        (one.name, one.fields, one.create_time_us, one.update_time_us)
        for one in database.documents((), None, True, read_time_us)
    ]


def test_commit_times_strictly_increase_on_a_clock_that_stands(database):
    """Two commits and a read in one microsecond get times that tell them apart."""
    first = database.commit([put(A, n=1)], NOW).commit_time_us
    read_time_us = database.read_time(NOW)
    second = database.commit([put(A, n=2)], NOW).commit_time_us
    assert first <= read_time_us < second
    assert database.get(A, read_time_us).fields == {"n": 1}


def test_versions_are_kept_for_the_window_and_no_longer(database):
    """A read time inside the window answers; before it, or in the future, it is refused."""
    first = database.commit([put(A, n=1)], NOW).commit_time_us
    database.commit([put(A, n=2)], NOW + SECOND_US)
    later = first + VERSION_WINDOW_US
    database.check_read_time(first, later)
    assert database.get(A, first).fields == {"n": 1}
    with pytest.raises(FailedPrecondition):
        database.check_read_time(first, later + 1)
    with pytest.raises(InvalidArgument):
        database.check_read_time(later + 1, later)
    assert database.next_wakeup_us() == NOW + SECOND_US + VERSION_WINDOW_US
    database.forget(NOW + SECOND_US + VERSION_WINDOW_US)
    assert database.next_wakeup_us() is None


def test_observers_see_each_commit_once(database):
    """Old and new of what changed, in one call; nothing for a commit that changed nothing."""
    calls = []
    database.observers.append(lambda changes, time_us: calls.append((list(changes), time_us)))
    database.commit([put(A, n=1), put(B, n=1), delete(B)], NOW)
    database.commit([put(A, n=1), delete(B)], NOW)
    second = database.commit([delete(A)], NOW).commit_time_us
    assert [[change.name for change in changes] for changes, _ in calls] == [[A], [A]]
    (change,), time_us = calls[1]
    assert time_us == second
    assert change.old.fields == {"n": 1}
    assert change.new is None


def test_clearing_is_seen_and_leaves_nothing(database):
    """Every document is reported deleted; its past is gone too."""
    time_us = database.commit([put(A, n=1), put(DEEP, n=1)], NOW).commit_time_us
    gone = []
    database.observers.append(lambda changes, _time: gone.extend(one.name for one in changes))
    database.clear(NOW)
    assert gone == [A, DEEP]
    assert list(database.documents((), None, True)) == []
    with pytest.raises(FailedPrecondition):
        database.check_read_time(time_us, NOW)


def test_missing_documents_hold_collections(database):
    """An id without a document but with something under it is listed, until that goes."""
    database.commit([put(MISSING_PARENT, n=1), put(B, n=1)], NOW)
    assert database.collection_ids(()) == ["c"]
    assert database.collection_ids(("c", "none")) == ["sub"]
    assert database.document_ids((), "c") == ["b", "none"]
    database.commit([delete(MISSING_PARENT)], NOW)
    assert database.document_ids((), "c") == ["b"]
    database.commit([delete(B)], NOW)
    assert database.collection_ids(()) == []


def test_databases_are_made_once_and_announced():
    """The same name gives the same database; whoever asked hears of each new one."""
    store = Store()
    made = []
    store.on_create.append(made.append)
    first = store.database(DatabaseName("p", "one"))
    assert store.database(DatabaseName("p", "one")) is first
    second = store.database(DatabaseName("q", "one"))
    assert made == [first, second] == store.databases()

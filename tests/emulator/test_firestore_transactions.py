"""Transactions: serializable by validation, one snapshot each, fair where they contend."""

import pytest

from emulator.clock import SECOND_US
from emulator.errors import Aborted, InvalidArgument
from emulator.firestore.paths import DatabaseName
from emulator.firestore.store import Database, Store
from emulator.firestore.transactions import IDLE_US, TURN_US, Transaction
from emulator.firestore.writes import Operation, Write

NOW = 1_700_000_000 * SECOND_US
COUNTER = ("counters", "one")
OTHER = ("counters", "two")


def put(name, **fields):
    return Write(Operation.UPDATE, name, fields)


@pytest.fixture
def database() -> Database:
    return Store().database(DatabaseName("p", "(default)"))


def read(database: Database, transaction: Transaction, name=COUNTER):
    """Read as a servicer does once its turn has come."""
    document = database.get(name, transaction.snapshot_us)
    transaction.record_read(name)
    return None if document is None else document.fields


def begin(database: Database, now=NOW, retry=b"") -> Transaction:
    return database.transactions.begin(now, retry=retry)


def make_hot(database: Database) -> Transaction:
    """Let two transactions contend for COUNTER; the one that lost."""
    first, second = begin(database), begin(database)
    read(database, first)
    read(database, second)
    database.commit([put(COUNTER, n=1)], NOW, first)
    with pytest.raises(Aborted):
        database.commit([put(COUNTER, n=1)], NOW, second)
    return second


def test_the_first_to_commit_wins(database):
    """Two transactions read and write one document: the second is ABORTED and changes nothing."""
    make_hot(database)
    assert database.get(COUNTER).fields == {"n": 1}


def test_a_writer_outside_wins_at_once(database):
    """A plain write neither waits for a transaction that has read, nor is undone by it."""
    transaction = begin(database)
    assert read(database, transaction) is None
    database.commit([put(COUNTER, n=7)], NOW)
    with pytest.raises(Aborted):
        database.commit([put(OTHER, n=1)], NOW, transaction)
    assert database.get(OTHER) is None


def test_a_doomed_transaction_keeps_reading_one_snapshot(database):
    """After a commit changes what it read, it reads the state before that commit."""
    database.commit([put(COUNTER, n=0), put(OTHER, n=0)], NOW)
    transaction = begin(database)
    assert read(database, transaction, COUNTER) == {"n": 0}
    database.commit([put(COUNTER, n=1), put(OTHER, n=1)], NOW)
    assert read(database, transaction, OTHER) == {"n": 0}
    database.commit([], NOW, transaction)  # it wrote nothing: serial at its snapshot


def test_a_write_that_changes_nothing_dooms_nobody(database):
    """A no-op write leaves readers alone."""
    database.commit([put(COUNTER, n=1)], NOW)
    transaction = begin(database)
    read(database, transaction)
    database.commit([put(COUNTER, n=1)], NOW)
    database.commit([put(COUNTER, n=2)], NOW, transaction)
    assert database.get(COUNTER).fields == {"n": 2}


def test_a_change_to_a_queried_collection_dooms(database):
    """`affects` decides; a change it does not care for is harmless."""
    caring, careless = begin(database), begin(database)
    caring.record_query(("counters",), lambda change: change.name[0] == "counters")
    careless.record_query(("counters",), lambda change: False)
    database.commit([put(COUNTER, n=1)], NOW)
    with pytest.raises(Aborted):
        database.commit([put(("x", "y"), n=1)], NOW, caring)
    database.commit([put(("x", "y"), n=1)], NOW, careless)


def test_what_nobody_contends_for_has_no_queue(database):
    """Readers of a document that no transaction took from another never wait."""
    first, second = begin(database), begin(database)
    for transaction in (first, second):
        assert database.transactions.queue(transaction, COUNTER, NOW) is None
        read(database, transaction)


def test_readers_of_a_hot_document_take_turns_oldest_first(database):
    """A retry keeps the age of its first attempt, and so goes before the newcomers."""
    loser = make_hot(database)
    holder, newcomer = begin(database), begin(database)
    retry = begin(database, retry=loser.transaction_id)
    queue = database.transactions.queue
    assert queue(holder, COUNTER, NOW) is None
    tickets = [queue(newcomer, COUNTER, NOW), queue(retry, COUNTER, NOW)]
    woken = []
    for name, ticket in zip(("newcomer", "retry"), tickets, strict=True):
        ticket.wake = lambda name=name: woken.append(name)
    read(database, holder)
    database.commit([put(COUNTER, n=2)], NOW, holder)
    assert woken == ["retry"]
    database.transactions.rollback(retry.transaction_id, NOW)
    assert woken == ["retry", "newcomer"]


def test_an_abandoned_turn_ends(database):
    """Whoever waits may end a turn when its time is over; the holder may still commit first."""
    make_hot(database)
    abandoned, waiting = begin(database), begin(database)
    database.transactions.queue(abandoned, COUNTER, NOW)
    read(database, abandoned)
    ticket = database.transactions.queue(waiting, COUNTER, NOW)
    assert database.transactions.turn_ends_us(ticket) == NOW + TURN_US
    database.transactions.hurry(ticket, NOW + TURN_US)
    assert ticket.ready
    read(database, waiting)
    database.commit([put(COUNTER, n=5)], NOW, waiting)
    with pytest.raises(Aborted):
        database.commit([put(COUNTER, n=6)], NOW, abandoned)


def test_nobody_waits_in_a_circle(database):
    """A reader that would wait for someone who waits for it goes on without a turn."""
    make_hot(database)
    first, second = begin(database), begin(database)
    for transaction in (first, second):
        read(database, transaction, OTHER)
    database.commit([put(OTHER, n=1)], NOW, first)  # OTHER is hot too
    one, two = begin(database), begin(database)
    queue = database.transactions.queue
    assert queue(one, COUNTER, NOW) is None
    assert queue(two, OTHER, NOW) is None
    assert queue(one, OTHER, NOW) is not None
    assert queue(two, COUNTER, NOW) is None


def test_a_cancelled_reader_leaves_the_queue(database):
    """Its place goes to the next; the turn is not given to someone who is gone."""
    make_hot(database)
    holder, gone, next_one = begin(database), begin(database), begin(database)
    queue = database.transactions.queue
    queue(holder, COUNTER, NOW)
    first, second = queue(gone, COUNTER, NOW), queue(next_one, COUNTER, NOW)
    database.transactions.leave(first)
    database.transactions.end(holder, NOW)
    assert second.ready


def test_transactions_end(database):
    """After a commit, a rollback or a minute of silence the id is refused; rollback stays fine."""
    committed, rolled_back, idle = begin(database), begin(database), begin(database)
    database.commit([put(COUNTER, n=1)], NOW, committed)
    database.transactions.rollback(rolled_back.transaction_id, NOW)
    for transaction in (committed, rolled_back):
        with pytest.raises(InvalidArgument, match="no longer valid"):
            database.transaction(transaction.transaction_id, NOW)
        database.transactions.rollback(transaction.transaction_id, NOW)
    assert database.next_wakeup_us() == NOW + IDLE_US
    database.forget(NOW + IDLE_US)
    with pytest.raises(InvalidArgument, match="no longer valid"):
        database.transaction(idle.transaction_id, NOW + IDLE_US)
    assert len(database.transactions) == 0


@pytest.mark.parametrize("call", ["transaction", "rollback", "begin"])
def test_an_id_that_never_was_is_refused(database, call):
    """Garbage is INVALID_ARGUMENT wherever an id is taken."""
    calls = {
        "transaction": lambda: database.transaction(b"bogus", NOW),
        "rollback": lambda: database.transactions.rollback(b"bogus", NOW),
        "begin": lambda: database.transactions.begin(NOW, retry=b"bogus"),
    }
    with pytest.raises(InvalidArgument, match=r"Invalid transaction\."):
        calls[call]()


def test_a_read_only_transaction_reads_its_time_and_writes_nothing(database):
    """Pinned to its read time whatever happens; a write in it is INVALID_ARGUMENT."""
    database.commit([put(COUNTER, n=1)], NOW)
    transaction = database.transactions.begin(NOW, read_time_us=database.read_time(NOW))
    database.commit([put(COUNTER, n=2)], NOW)
    assert read(database, transaction) == {"n": 1}
    with pytest.raises(InvalidArgument, match="read-only"):
        database.commit([put(COUNTER, n=3)], NOW, transaction)

"""Concurrent transactions are equal to some serial order: checked on random interleavings.

A transaction that commits writes must have read exactly the state just before its commit; one
that writes nothing, or never commits, exactly one state that once was. So the commits, in their
order, are the serial order.
"""

from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.clock import SECOND_US
from emulator.errors import Aborted
from emulator.firestore.paths import DatabaseName
from emulator.firestore.store import Store
from emulator.firestore.writes import Operation, Write

NOW = 1_700_000_000 * SECOND_US
NAMES = [("c", "a"), ("c", "b"), ("d", "a"), ("d", "b")]

names = st.sampled_from(NAMES)
slots = st.integers(0, 3)
steps = st.one_of(
    st.tuples(st.just("read"), slots, names),
    st.tuples(st.just("read"), slots, names),
    st.tuples(st.just("query"), slots, st.sampled_from("cd")),
    st.tuples(st.just("commit"), slots, st.lists(st.tuples(names, st.booleans()), max_size=2)),
    st.tuples(st.just("outside"), slots, st.tuples(names, st.booleans())),
    st.tuples(st.just("rollback"), slots, st.none()),
)


class World:
    """One database, the states it has been in, and up to four transactions with their reads."""

    def __init__(self):
        self.database = Store().database(DatabaseName("p", "d"))
        self.states = [{}]
        self.live = {}
        self.reads = {}
        self.retries = {}
        self.written = 0

    def transaction(self, slot):
        if slot not in self.live:
            retry = self.retries.pop(slot, b"")
            self.live[slot] = self.database.transactions.begin(NOW, retry=retry)
            self.reads[slot] = []
        return self.live[slot]

    def read(self, slot, name):
        transaction = self.transaction(slot)
        if self.must_wait(transaction, name):
            return
        document = self.database.get(name, transaction.snapshot_us)
        transaction.record_read(name)
        self.reads[slot].append(({name}, {} if document is None else {name: document.fields["n"]}))

    def query(self, slot, collection_id):
        transaction = self.transaction(slot)
        if self.must_wait(transaction, (collection_id,)):
            return
        found = self.database.documents((), collection_id, False, transaction.snapshot_us)
        seen = {document.name: document.fields["n"] for document in found}
        transaction.record_query((collection_id,), lambda change: change.name[0] == collection_id)
        self.reads[slot].append(({name for name in NAMES if name[0] == collection_id}, seen))

    def must_wait(self, transaction, resource):
        """Queue; whoever would wait reads nothing now, and may be woken at any time later."""
        return self.database.transactions.queue(transaction, resource, NOW) is not None

    def writes(self, pairs):
        for name, deletes in pairs:
            self.written += 1
            if deletes:
                yield Write(Operation.DELETE, name)
            else:
                yield Write(Operation.UPDATE, name, {"n": self.written})

    def outside(self, _slot, pair):
        self.apply(list(self.writes([pair])), None)

    def commit(self, slot, pairs):
        transaction = self.transaction(slot)
        writes = list(self.writes(pairs))
        try:
            self.apply(writes, transaction)
        except Aborted:
            self.retries[slot] = transaction.transaction_id
            self.check_one_state(slot)
        else:
            if writes:
                assert self.agrees(slot, self.states[-2])
            else:
                self.check_one_state(slot)
        del self.live[slot]

    def rollback(self, slot, _nothing):
        transaction = self.transaction(slot)
        self.database.transactions.rollback(transaction.transaction_id, NOW)
        self.check_one_state(slot)
        del self.live[slot]

    def apply(self, writes, transaction):
        self.database.commit(writes, NOW, transaction)
        state = dict(self.states[-1])
        for write in writes:
            state.pop(write.name, None)
            if write.operation is Operation.UPDATE:
                state[write.name] = write.fields["n"]
        self.states.append(state)

    def agrees(self, slot, state):
        return all(
            seen == {name: state[name] for name in names if name in state}
            for names, seen in self.reads[slot]
        )

    def check_one_state(self, slot):
        assert any(self.agrees(slot, state) for state in self.states)


@settings(max_examples=400, deadline=None)
@given(st.lists(steps, max_size=40))
def test_interleaved_transactions_are_serial_in_commit_order(program):
    """Whatever the interleaving: reads are of one state, and writers' of the one they replace."""
    world = World()
    for action, slot, argument in program:
        getattr(world, action)(slot, argument)
    for slot in list(world.live):
        world.check_one_state(slot)

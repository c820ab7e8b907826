"""Transactions of one database: what each has read, who is doomed, whose turn it is.

1. Serializable by validation: a commit that changes what a live read-write transaction has
   read (a document, or what `affects` says of a query) dooms that one: its commit is ABORTED.
   A writer never waits, for anyone; nothing here is a lock.
2. Reads are one snapshot, always: the latest state while nothing read has changed; once
   doomed, the state just before the commit that doomed it. So a doomed transaction never sees
   half of another, and one without writes may commit: it is serial at its snapshot.
3. Fair under contention: a resource (a document's name, or a collection's for queries) that
   one transaction read and then took from another's reads is *hot* for HOT_US. Readers of a hot
   resource take turns: oldest transaction first, a retry keeping its first attempt's age.
   A turn lasts until commit or rollback, at most TURN_US, so an abandoned transaction delays
   the next reader by that and no writer at all. Nobody waits in a circle.
4. A transaction ends 60 s after its last use and 270 s after its begin, as production's.

Not here: waiting (consistency.py does, on a Ticket) and time (given).
Sources: https://firebase.google.com/docs/firestore/transaction-data-contention,
https://firebase.google.com/docs/firestore/quotas#writes_and_transactions.
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from emulator.clock import SECOND_US
from emulator.errors import InvalidArgument
from emulator.firestore.paths import Name
from emulator.firestore.writes import Change

IDLE_US = 60 * SECOND_US
LIFETIME_US = 270 * SECOND_US
TURN_US = SECOND_US // 2
HOT_US = 10 * SECOND_US

Affects: TypeAlias = Callable[[Change], bool]

# A transaction's id says its number and its age, the number of the first attempt.
_ID = struct.Struct(">cQQ")
_ID_MARK = b"\x11"


@dataclass(slots=True, eq=False)
class Transaction:
    """One live transaction. A read-only one has `read_time_us` and nothing to validate."""

    transaction_id: bytes
    age: int
    begun_us: int
    used_us: int
    read_time_us: int | None = None
    doomed_us: int | None = None
    names: set[Name] = field(default_factory=set)
    queries: dict[Name, list[Affects]] = field(default_factory=dict)
    turns: set[Name] = field(default_factory=set)
    tickets: set["Ticket"] = field(default_factory=set)

    @property
    def read_only(self) -> bool:
        """Whether it may not write."""
        return self.read_time_us is not None

    @property
    def snapshot_us(self) -> int | None:
        """The time to read at; None is the latest state."""
        if self.read_time_us is not None:
            return self.read_time_us
        return None if self.doomed_us is None else self.doomed_us - 1

    def record_read(self, name: Name) -> None:
        """Note that it has read this document, there or not."""
        if self.read_time_us is None:
            self.names.add(name)

    def record_query(self, collection: Name, affects: Affects) -> None:
        """Note that it has queried; `affects(change)` says if a change changes the result.

        `collection` is what contending queries queue for: the parent's segments and the
        collection id, so an odd number of segments.
        """
        if self.read_time_us is None:
            self.queries.setdefault(collection, []).append(affects)

    def has_read(self, resource: Name) -> bool:
        """Whether it read this document, or queried this collection."""
        return resource in self.names or resource in self.queries

    def contends(self, change: Change) -> Name | None:
        """The resource it read that the change changes, if any."""
        if change.name in self.names:
            return change.name
        for resource, queries in self.queries.items():
            if any(affects(change) for affects in queries):
                return resource
        return None


@dataclass(slots=True, eq=False)
class Ticket:
    """A place in the queue for a resource; `wake` is called once, when the turn has come."""

    transaction: Transaction
    resource: Name
    wake: Callable[[], None] = lambda: None
    ready: bool = False


@dataclass(slots=True, eq=False)
class _Turn:
    holder: Transaction
    since_us: int
    queue: list[Ticket] = field(default_factory=list)


class Transactions:
    """The live transactions of one database; `next_number` numbers those of all databases."""

    def __init__(self, next_number: Callable[[], int]) -> None:
        self._next_number = next_number
        self._live: dict[bytes, Transaction] = {}
        self._turns: dict[Name, _Turn] = {}
        self._hot: dict[Name, int] = {}
        self._none_expires_before_us = 0

    def __len__(self) -> int:
        return len(self._live)

    def begin(
        self, now_us: int, *, read_time_us: int | None = None, retry: bytes = b""
    ) -> Transaction:
        """Start a transaction: read-only at `read_time_us`, or read-write.

        Raises:
            InvalidArgument: `retry` is no transaction's id.
        """
        self.expire(now_us)
        number = self._next_number()
        age = _parse_id(retry)[1] if retry else number
        transaction = Transaction(
            _ID.pack(_ID_MARK, number, age), age, now_us, now_us, read_time_us
        )
        self._live[transaction.transaction_id] = transaction
        self._none_expires_before_us = min(self._none_expires_before_us, now_us + IDLE_US)
        return transaction

    def get(self, transaction_id: bytes, now_us: int) -> Transaction:
        """The live transaction of an id, its idle time begun anew.

        Raises:
            InvalidArgument: it has ended, or never was.
        """
        transaction = self._live.get(transaction_id)
        if transaction is None or self._expired(transaction, now_us):
            _parse_id(transaction_id)
            raise InvalidArgument("The referenced transaction has expired or is no longer valid.")
        transaction.used_us = now_us
        return transaction

    def rollback(self, transaction_id: bytes, now_us: int) -> None:
        """End a transaction; one that has ended already stays so.

        Raises:
            InvalidArgument: it is no transaction's id.
        """
        transaction = self._live.get(transaction_id)
        if transaction is None:
            _parse_id(transaction_id)
        else:
            self.end(transaction, now_us)

    def end(self, transaction: Transaction, now_us: int) -> None:
        """Forget a transaction and give its turns to whoever is next."""
        self._live.pop(transaction.transaction_id, None)
        self._step_aside(transaction, now_us)

    def clear(self, now_us: int) -> None:
        """End every transaction."""
        for transaction in list(self._live.values()):
            self.end(transaction, now_us)
        self._hot.clear()

    def committed(
        self, changes: Sequence[Change], commit_time_us: int, by: Transaction | None
    ) -> None:
        """Doom every live transaction that has read what these changes changed."""
        for transaction in list(self._live.values()):
            if transaction is by or transaction.read_only or transaction.doomed_us is not None:
                continue
            for change in changes:
                resource = transaction.contends(change)
                if resource is None:
                    continue
                transaction.doomed_us = commit_time_us
                if by is not None and by.has_read(resource):
                    self._hot[resource] = commit_time_us + HOT_US
                self._step_aside(transaction, commit_time_us)
                break

    def queue(self, transaction: Transaction, resource: Name, now_us: int) -> Ticket | None:
        """Ask to read a resource: None is "go on", a Ticket is to be waited for.

        Whoever stops waiting calls `leave`; whoever has waited until `turn_ends_us` calls
        `hurry`.
        """
        if (
            transaction.read_only
            or transaction.doomed_us is not None
            or transaction.has_read(resource)
            or resource in transaction.turns
        ):
            return None
        turn = self._turns.get(resource)
        if turn is None:
            if self._hot.get(resource, 0) > now_us:
                self._turns[resource] = _Turn(transaction, now_us)
                transaction.turns.add(resource)
            return None
        if self._waits_for(turn.holder, transaction):
            return None
        self._hot[resource] = now_us + HOT_US
        ticket = Ticket(transaction, resource)
        turn.queue.append(ticket)
        turn.queue.sort(key=lambda waiting: waiting.transaction.age)
        transaction.tickets.add(ticket)
        return ticket

    def turn_ends_us(self, ticket: Ticket) -> int:
        """When the present holder of what the ticket waits for must give way."""
        return self._turns[ticket.resource].since_us + TURN_US

    def hurry(self, ticket: Ticket, now_us: int) -> None:
        """End the present turn: the next in the queue goes on, the holder only validates."""
        if not ticket.ready:
            self._next_turn(ticket.resource, now_us)

    def leave(self, ticket: Ticket) -> None:
        """Stop waiting (the call was cancelled)."""
        if not ticket.ready:
            self._turns[ticket.resource].queue.remove(ticket)
            ticket.transaction.tickets.discard(ticket)
            ticket.ready = True

    def expire(self, now_us: int) -> None:
        """End the transactions that are idle or old, and forget what is no longer hot."""
        if now_us < self._none_expires_before_us:
            return
        for transaction in [one for one in self._live.values() if self._expired(one, now_us)]:
            self.end(transaction, now_us)
        self._hot = {name: until for name, until in self._hot.items() if until > now_us}
        # Using a transaction only postpones its end, so no other can be due before this.
        self._none_expires_before_us = min(map(_expires_us, self._live.values()), default=now_us)

    def next_wakeup_us(self) -> int | None:
        """When `expire` has something to do next."""
        return min(map(_expires_us, self._live.values()), default=None)

    def _expired(self, transaction: Transaction, now_us: int) -> bool:
        return now_us >= _expires_us(transaction)

    def _step_aside(self, transaction: Transaction, now_us: int) -> None:
        """Give up every turn and every place in a queue."""
        for ticket in list(transaction.tickets):
            self._turns[ticket.resource].queue.remove(ticket)
            _call(ticket)
        for resource in list(transaction.turns):
            self._next_turn(resource, now_us)

    def _next_turn(self, resource: Name, now_us: int) -> None:
        turn = self._turns[resource]
        turn.holder.turns.discard(resource)
        if not turn.queue:
            del self._turns[resource]
            return
        ticket = turn.queue.pop(0)
        turn.holder, turn.since_us = ticket.transaction, now_us
        turn.holder.turns.add(resource)
        _call(ticket)

    def _waits_for(self, one: Transaction, other: Transaction) -> bool:
        """Whether `one` waits, directly or through others, for a turn of `other`."""
        seen: set[int] = set()
        stack = [one]
        while stack:
            transaction = stack.pop()
            if transaction is other:
                return True
            if id(transaction) not in seen:
                seen.add(id(transaction))
                stack.extend(self._turns[ticket.resource].holder for ticket in transaction.tickets)
        return False


def _expires_us(transaction: Transaction) -> int:
    return min(transaction.used_us + IDLE_US, transaction.begun_us + LIFETIME_US)


def _call(ticket: Ticket) -> None:
    ticket.ready = True
    ticket.transaction.tickets.discard(ticket)
    ticket.wake()


def _parse_id(transaction_id: bytes) -> tuple[int, int]:
    """The number and age in an id.

    Raises:
        InvalidArgument: no transaction has such an id.
    """
    if len(transaction_id) != _ID.size or transaction_id[:1] != _ID_MARK:
        raise InvalidArgument("Invalid transaction.")
    _, number, age = _ID.unpack(transaction_id)
    return number, age

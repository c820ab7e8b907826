"""The databases: documents in their collections, commits, and the versions reads go back to.

1. `commit` is atomic and the only way documents change: all writes are worked out first; if one
   is refused nothing has happened. Commit times strictly increase, and are later than every
   time that was given out for reading.
2. After a commit that changed something each observer is called with the changes and the commit
   time, on the same call: `observer(changes, commit_time_us)`. An observer must not write.
3. Reads at a `read_time` are answered from superseded versions, kept for `version_window_us`.
4. Transactions: `database.transactions.get(id, now)` is a live transaction. To read in it: read
   at its `snapshot_us`, then `record_read(name)` for a document, or
   `record_query(collection, affects)` for a query, `affects(change)` telling whether a change
   changes the result (when unsure: True). The rest is `commit`'s and transactions.py's.
5. `documents` is a scan in the order of names, for old read times and for naive paths.

Not here: queries and indexes (they observe), protobuf, waiting, the clock.
"""

import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from emulator.clock import SECOND_US
from emulator.errors import Aborted, FailedPrecondition, InvalidArgument
from emulator.firestore.paths import DatabaseName, Name, id_key
from emulator.firestore.transactions import Transaction, Transactions
from emulator.firestore.tree import Tree
from emulator.firestore.writes import (
    Change,
    Document,
    Write,
    WriteResult,
    apply_write,
    check_writes,
)

# Production keeps an hour. DIFFERS: memory of a long test run matters more here.
VERSION_WINDOW_US = 60 * SECOND_US

Observer: TypeAlias = Callable[[Sequence[Change], int], None]


@dataclass(frozen=True, slots=True)
class CommitResult:
    """When it happened, and what became of each write."""

    commit_time_us: int
    results: tuple[WriteResult, ...]


class Database:
    """One database: its documents, versions, transactions and observers."""

    def __init__(
        self,
        name: DatabaseName,
        next_number: Callable[[], int],
        version_window_us: int = VERSION_WINDOW_US,
    ) -> None:
        self.name = name
        self.transactions = Transactions(next_number)
        self.observers: list[Observer] = []
        self._version_window_us = version_window_us
        self._tree = Tree()
        self._last_us = 0
        # Superseded versions: by name, oldest first, each with the time that superseded it; and
        # the same in order of that time, to forget them by. That there was no document needs no
        # version: the next one's create_time says so.
        self._versions: dict[Name, list[tuple[int, Document]]] = {}
        self._superseded: deque[tuple[int, Name]] = deque()
        self._cleared_us = 0

    def read_time(self, now_us: int) -> int:
        """The time to give out with a read of the latest state; later commits are later."""
        self._last_us = max(self._last_us, now_us)
        return self._last_us

    def check_read_time(self, read_time_us: int, now_us: int) -> None:
        """Raise unless the state at `read_time_us` is known.

        Raises:
            InvalidArgument: it is in the future.
            FailedPrecondition: its versions are gone.
        """
        if read_time_us > max(now_us, self._last_us):
            raise InvalidArgument("The requested 'read_time' cannot be in the future.")
        if read_time_us < max(now_us - self._version_window_us, self._cleared_us):
            raise FailedPrecondition("The requested 'read_time' is too old.")
        self.read_time(read_time_us)

    def get(self, name: Name, read_time_us: int | None = None) -> Document | None:
        """The document of a name, now or at a time."""
        document = self._tree.get(name)
        if read_time_us is None:
            return document
        for superseded_us, version in self._versions.get(name, ()):
            if superseded_us > read_time_us:
                document = version
                break
        if document is None or document.create_time_us > read_time_us:
            return None
        return document

    def documents(
        self,
        parent: Name,
        collection_id: str | None,
        all_descendants: bool,
        read_time_us: int | None = None,
    ) -> Iterator[Document]:
        """Documents below `parent` in order of name, now or at a time.

        `collection_id` None is any collection; without `all_descendants` only collections
        directly under `parent` count.
        """
        if read_time_us is None:
            yield from self._tree.scan(parent, collection_id, all_descendants)
            return
        found = {
            document.name: document
            for document in self._tree.scan(parent, collection_id, all_descendants)
            if document.create_time_us <= read_time_us
        }
        depth = len(parent)
        for name in self._versions:
            if (
                name[:depth] == parent
                and (all_descendants or len(name) == depth + 2)
                and (collection_id is None or name[-2] == collection_id)
            ):
                found.pop(name, None)
                version = self.get(name, read_time_us)
                if version is not None:
                    found[name] = version
        for name in sorted(found, key=lambda name: tuple(map(id_key, name))):
            yield found[name]

    def superseded_since(self, read_time_us: int) -> list[Name]:
        """The documents there were at a time that have been changed or deleted since."""
        names: dict[Name, None] = {}
        for superseded_us, name in reversed(self._superseded):
            if superseded_us <= read_time_us:
                break
            names[name] = None
        return list(names)

    def collection_ids(self, parent: Name) -> list[str]:
        """The ids of the collections under `parent` that hold something, in order."""
        return self._tree.collection_ids(parent)

    def document_ids(self, parent: Name, collection_id: str) -> list[str]:
        """The ids of a collection in order, with those of missing documents. Do not change it."""
        return self._tree.document_ids(parent, collection_id)

    def transaction(self, transaction_id: bytes, now_us: int) -> Transaction:
        """The live transaction of an id.

        Raises:
            InvalidArgument: it has ended, or never was.
        """
        return self.transactions.get(transaction_id, now_us)

    def commit(
        self, writes: Sequence[Write], now_us: int, transaction: Transaction | None = None
    ) -> CommitResult:
        """Apply all writes, or none. The transaction ends either way.

        Raises:
            Aborted: something the transaction has read was changed since.
            NotFound, AlreadyExists, FailedPrecondition: a precondition does not hold.
            InvalidArgument: a write or a resulting document is not allowed.
        """
        try:
            if transaction is not None and writes:
                if transaction.read_only:
                    raise InvalidArgument("Cannot modify entities in a read-only transaction.")
                if transaction.doomed_us is not None:
                    raise Aborted(
                        "Aborted due to cross-transaction contention. This occurs when multiple "
                        "transactions attempt to access the same data, requiring Firestore to "
                        "abort at least one in order to enforce serializability."
                    )
            check_writes(writes)
            commit_time_us = max(now_us, self._last_us + 1)
            after: dict[Name, Document | None] = {}
            results = []
            for write in writes:
                name = write.name
                document = after[name] if name in after else self.get(name)
                after[name], result = apply_write(self.name, document, write, commit_time_us)
                results.append(result)
        finally:
            if transaction is not None:
                self.transactions.end(transaction, now_us)
        self._install(after, commit_time_us, transaction)
        return CommitResult(commit_time_us, tuple(results))

    def clear(self, now_us: int) -> None:
        """Delete everything: documents, versions, transactions. Observers see the deletions."""
        self.transactions.clear(now_us)
        changes = [
            Change(document.name, document, None) for document in self.documents((), None, True)
        ]
        self._tree.clear()
        self._versions.clear()
        self._superseded.clear()
        self._last_us = self._cleared_us = max(now_us, self._last_us + 1)
        if changes:
            self._tell(changes, self._last_us)

    def forget(self, now_us: int) -> None:
        """Drop the versions that are out of the window, and transactions that are over."""
        self.transactions.expire(now_us)
        horizon_us = now_us - self._version_window_us
        while self._superseded and self._superseded[0][0] <= horizon_us:
            _, name = self._superseded.popleft()
            versions = self._versions[name]
            del versions[0]
            if not versions:
                del self._versions[name]

    def next_wakeup_us(self) -> int | None:
        """When `forget` has something to do next."""
        due_us = self.transactions.next_wakeup_us()
        if self._superseded:
            forget_us = self._superseded[0][0] + self._version_window_us
            due_us = forget_us if due_us is None else min(due_us, forget_us)
        return due_us

    def _install(
        self, after: dict[Name, Document | None], commit_time_us: int, by: Transaction | None
    ) -> None:
        self._last_us = commit_time_us
        changes = []
        for name, new in after.items():
            old = self.get(name)
            if new is old:
                continue
            if new is None:
                self._tree.remove(name)
            else:
                self._tree.put(name, new)
            if old is not None:
                self._versions.setdefault(name, []).append((commit_time_us, old))
                self._superseded.append((commit_time_us, name))
            changes.append(Change(name, old, new))
        if not changes:
            return
        self.forget(commit_time_us)
        self.transactions.committed(changes, commit_time_us, by)
        self._tell(changes, commit_time_us)

    def _tell(self, changes: Sequence[Change], commit_time_us: int) -> None:
        for observer in tuple(self.observers):
            observer(changes, commit_time_us)


class Store:
    """Every database of every project, made when it is first named, as Google's emulator does."""

    def __init__(self, version_window_us: int = VERSION_WINDOW_US) -> None:
        self._version_window_us = version_window_us
        self.on_create: list[Callable[[Database], None]] = []  # called with each new database
        self._databases: dict[DatabaseName, Database] = {}
        self._numbers = itertools.count(1)

    def database(self, name: DatabaseName) -> Database:
        """The database of a name."""
        database = self._databases.get(name)
        if database is None:
            database = self._databases[name] = Database(
                name, self._numbers.__next__, self._version_window_us
            )
            for call in self.on_create:
                call(database)
        return database

    def databases(self) -> list[Database]:
        """Every database named so far."""
        return list(self._databases.values())

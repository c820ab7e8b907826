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
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from emulator.clock import SECOND_US
from emulator.errors import Aborted, FailedPrecondition, InvalidArgument
from emulator.firestore.paths import DatabaseName, Name, id_key
from emulator.firestore.transactions import Transaction, Transactions
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


class _Collection:
    """The documents of one collection, and the collections under each id, there or missing.

    The ids are sorted when they are first asked for, and kept so from then on.
    """

    __slots__ = ("branches", "documents", "order")

    def __init__(self) -> None:
        self.documents: dict[str, Document] = {}
        self.branches: dict[str, dict[str, _Collection]] = {}
        self.order: list[str] | None = None

    def ids(self) -> list[str]:
        """Every id with a document or something under it, in order."""
        if self.order is None:
            ids = self.documents.keys() | self.branches.keys() if self.branches else self.documents
            self.order = sorted(ids, key=id_key)
        return self.order

    def changed(self, document_id: str) -> None:
        """Keep the order right after something was added at an id, or taken away."""
        if self.order is None:
            return
        at = bisect_left(self.order, id_key(document_id), key=id_key)
        listed = at < len(self.order) and self.order[at] == document_id
        there = document_id in self.documents or document_id in self.branches
        if there and not listed:
            self.order.insert(at, document_id)
        elif listed and not there:
            del self.order[at]


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
        self._root: dict[str, _Collection] = {}
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
        collection = self._collection(name[:-1])
        document = None if collection is None else collection.documents.get(name[-1])
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
            yield from self._scan(self._branches(parent), collection_id, all_descendants)
            return
        found = {
            document.name: document
            for document in self._scan(self._branches(parent), collection_id, all_descendants)
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
        return sorted(self._branches(parent))

    def document_ids(self, parent: Name, collection_id: str) -> list[str]:
        """The ids of a collection in order, with those of missing documents. Do not change it."""
        collection = self._branches(parent).get(collection_id)
        return [] if collection is None else collection.ids()

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
        self._root.clear()
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
                self._remove(self._root, name)
            else:
                self._put(name, new)
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

    def _branches(self, parent: Name) -> dict[str, _Collection]:
        """The collections directly under the root or a document."""
        if not parent:
            return self._root
        collection = self._collection(parent[:-1])
        return {} if collection is None else collection.branches.get(parent[-1], {})

    def _collection(self, path: Name) -> _Collection | None:
        branches = self._root
        for index in range(0, len(path) - 1, 2):
            collection = branches.get(path[index])
            if collection is None:
                return None
            branches = collection.branches.get(path[index + 1], {})
        return branches.get(path[-1])

    def _put(self, name: Name, document: Document) -> None:
        branches = self._root
        for index in range(0, len(name), 2):
            collection = branches.get(name[index])
            if collection is None:
                collection = branches[name[index]] = _Collection()
            document_id = name[index + 1]
            if index == len(name) - 2:
                added = document_id not in collection.documents
                collection.documents[document_id] = document
                if added:
                    collection.changed(document_id)
            elif document_id in collection.branches:
                branches = collection.branches[document_id]
            else:
                branches = collection.branches[document_id] = {}
                collection.changed(document_id)

    def _remove(self, branches: dict[str, _Collection], name: Name) -> None:
        """Take a document out, and every collection that is empty without it."""
        collection = branches[name[0]]
        if len(name) == 2:
            del collection.documents[name[1]]
            collection.changed(name[1])
        else:
            below = collection.branches[name[1]]
            self._remove(below, name[2:])
            if not below:
                del collection.branches[name[1]]
                collection.changed(name[1])
        if not collection.documents and not collection.branches:
            del branches[name[0]]

    def _scan(
        self, branches: dict[str, _Collection], collection_id: str | None, all_descendants: bool
    ) -> Iterator[Document]:
        for branch_id in sorted(branches):
            wanted = collection_id is None or branch_id == collection_id
            if not wanted and not all_descendants:
                continue
            collection = branches[branch_id]
            for document_id in tuple(collection.ids()):
                if wanted and document_id in collection.documents:
                    yield collection.documents[document_id]
                if all_descendants and document_id in collection.branches:
                    yield from self._scan(
                        collection.branches[document_id], collection_id, all_descendants
                    )


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

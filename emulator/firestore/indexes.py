"""Ordered indexes: what makes a query cost what it returns, not what the collection holds.

1. An index exists from the first query that needs it (its `spec`, in its scope) and is kept
   up to date by every commit from then on. A field nobody queries costs a write nothing.
2. An entry is (key of each part..., name); entries are in ascending order of that. A document
   without one of the parts has no entry; with an array part it has one for each element.
3. `position` turns a partial entry into a place in the index in O(log n); counting a range is
   a subtraction.
4. A database has at most MAX_INDEXES, of `max_entries` in all; the least recently used go first.

Production builds single-field indexes ahead and wants composite ones declared: that is
advice.py's business. Not here: which index serves which query (query_plan.py).
"""

import enum
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Protocol, TypeAlias

from sortedcontainers import SortedList

from emulator.firestore.paths import Name
from emulator.firestore.query import Scope
from emulator.firestore.query_match import Descending, Stored, name_order
from emulator.firestore.values import MISSING, FieldPath, format_field_path, get_field, order_key

MAX_ENTRIES = 3_000_000
MAX_INDEXES = 1000

Entry: TypeAlias = tuple[Any, ...]


class _Top:
    """Above every key: (prefix, TOP) is just after all that begins with prefix."""

    __slots__ = ()

    def __lt__(self, other: object) -> bool:
        return False

    def __gt__(self, other: object) -> bool:
        return True


TOP = _Top()


class Kind(enum.Enum):
    """How a field takes part in an index."""

    ASCENDING = "ASC"
    DESCENDING = "DESC"
    CONTAINS = "CONTAINS"


@dataclass(frozen=True, slots=True)
class Part:
    """One field of an index."""

    path: FieldPath
    kind: Kind = Kind.ASCENDING

    def __str__(self) -> str:
        return f"{format_field_path(self.path)} {self.kind.value}"


Spec: TypeAlias = tuple[Part, ...]


class Change(Protocol):
    """What a commit did to one document; None where it did or does not exist."""

    @property
    def name(self) -> Name:
        """The document's relative segments."""
        ...

    @property
    def old(self) -> Stored | None:
        """Before."""
        ...

    @property
    def new(self) -> Stored | None:
        """After."""
        ...


class Source(Protocol):
    """Where the documents are."""

    def documents(
        self, parent: Name, collection_id: str | None, all_descendants: bool
    ) -> Iterable[Stored]:
        """The documents of a scope, in any order."""
        ...


class Index:
    """The documents of one scope, ordered by `spec` and then by name."""

    def __init__(self, spec: Spec, documents: Iterable[Stored]) -> None:
        self.spec = spec
        self._entries: SortedList[Entry] = SortedList(
            entry for document in documents for entry in self.entries_of(document)
        )

    def __len__(self) -> int:
        return len(self._entries)

    def entries_of(self, document: Stored) -> Sequence[Entry]:
        """The entries of one document; none where a part is missing."""
        parts: list[tuple[Any, ...]] = []
        single = True
        for part in self.spec:
            value = get_field(document.fields, part.path)
            if value is MISSING:
                return ()
            if part.kind is Kind.CONTAINS:
                if not isinstance(value, list):
                    return ()
                parts.append(tuple({order_key(element) for element in value}))
                single = False
            elif part.kind is Kind.DESCENDING:
                parts.append((Descending(order_key(value)),))
            else:
                parts.append((order_key(value),))
        name = name_order(document.name)
        if single:
            return ((*(keys[0] for keys in parts), name),)
        return [(*keys, name) for keys in product(*parts)]

    def change(self, old: Stored | None, new: Stored | None) -> int:
        """Follow a write; how many entries more there are."""
        before = self.entries_of(old) if old is not None else ()
        after = self.entries_of(new) if new is not None else ()
        if before == after:
            return 0
        for entry in before:
            self._entries.remove(entry)
        for entry in after:
            self._entries.add(entry)
        return len(after) - len(before)

    def position(self, partial: Entry) -> int:
        """How many entries are below `partial`, which may end with TOP."""
        return self._entries.bisect_left(partial)

    def names(self, start: int, stop: int, reverse: bool) -> Iterator[Name]:
        """The name keys (see `name_of`) of the entries at start <= position < stop."""
        for entry in self._entries.islice(start, stop, reverse):
            yield entry[-1]


class Indexes:
    """The indexes of one database."""

    def __init__(self, source: Source, max_entries: int = MAX_ENTRIES) -> None:
        self._source = source
        self._max_entries = max_entries
        self._entries = 0
        self._indexes: OrderedDict[tuple[Scope, Spec], Index] = OrderedDict()
        self._scopes: dict[Scope, list[Index]] = {}

    def index(self, scope: Scope, spec: Spec) -> Index:
        """The index of `spec` over `scope`, built now if there was none."""
        index = self._indexes.get((scope, spec))
        if index is None:
            index = Index(spec, self._source.documents(*scope))
            self._indexes[scope, spec] = index
            self._scopes.setdefault(scope, []).append(index)
            self._entries += len(index)
        self._indexes.move_to_end((scope, spec))
        while len(self._indexes) > MAX_INDEXES or (
            self._entries > self._max_entries and len(self._indexes) > 1
        ):
            self._drop()
        return index

    def built(self) -> list[tuple[Scope, Spec, int]]:
        """The indexes there are and their entries, the least recently used first."""
        return [(scope, spec, len(index)) for (scope, spec), index in self._indexes.items()]

    def _drop(self) -> None:
        (scope, _), index = self._indexes.popitem(last=False)
        self._entries -= len(index)
        left = [other for other in self._scopes[scope] if other is not index]
        if left:
            self._scopes[scope] = left
        else:
            del self._scopes[scope]

    def observe(self, changes: Iterable[Change]) -> None:
        """Follow a commit."""
        if not self._scopes:
            return
        for change in changes:
            for scope in scopes_of(change.name):
                for index in self._scopes.get(scope, ()):
                    self._entries += index.change(change.old, change.new)


def scopes_of(name: Name) -> Iterator[Scope]:
    """Every scope that holds the document `name`."""
    parent, collection_id = name[:-2], name[-2]
    yield Scope(parent, collection_id, False)
    yield Scope(parent, None, False)
    for depth in range(0, len(name), 2):
        yield Scope(name[:depth], collection_id, True)
        yield Scope(name[:depth], None, True)

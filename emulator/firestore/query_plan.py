"""How a query is answered: which index, which stretch of it, in which direction.

1. Each alternative of the filter is one scan of one index: its equalities and its array
   element are the index's first parts, the fields of the order the rest. So what the index
   yields is already in the result's order, and a limit ends the scan.
2. Inequalities on the first field of the order, and cursors, are stretches of the index. What
   is left (an inequality on a further field) is looked at document by document.
3. Several alternatives are merged by place, each document once.
4. A result of the past is the present one without what has changed since, merged with the
   versions there were: `documents(past)`.

Not here: building and keeping indexes (indexes.py), find_nearest (nearest.py), and what
production would demand (advice.py).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import merge
from itertools import islice
from operator import itemgetter
from typing import Generic, TypeVar

from emulator.firestore.indexes import Indexes, Kind, Part, Spec
from emulator.firestore.paths import Name
from emulator.firestore.query import Query
from emulator.firestore.query_alternative import Alternative, Scan
from emulator.firestore.query_match import Matcher, Place, Stored, name_of

D = TypeVar("D", bound=Stored)


@dataclass
class Stats:
    """What answering took."""

    entries_scanned: int = 0
    documents_read: int = 0


@dataclass(frozen=True)
class Past(Generic[D]):
    """A time in the past: the versions of what has changed since, and what has not."""

    versions: Sequence[D]
    unchanged: Callable[[D], bool]


@dataclass
class Plan(Generic[D]):
    """A query ready to run against the present documents."""

    query: Query
    matcher: Matcher
    get: Callable[[Name], D | None]
    scans: list[Scan] = field(default_factory=list)
    named: list[Name] = field(default_factory=list)  # alternatives that name their document
    stats: Stats = field(default_factory=Stats)

    @property
    def _exact(self) -> bool:
        """Whether one scan is the result, entry for entry."""
        return not self.named and len(self.scans) == 1 and self.scans[0].residual is None

    def documents(self, past: Past[D] | None = None) -> Iterator[D]:
        """The result in order, offset and limit applied; of the present, or of a past."""
        query = self.query
        if query.limit == 0:
            return iter(())
        offset = query.offset
        if past is not None:
            found = self._past(past)
        elif self.named or len(self.scans) != 1:
            found = self._merged()
        else:
            skip = query.offset if self._exact else 0
            offset -= skip
            found = self._found(self.scans[0], skip)
        return islice(found, offset, None if query.limit is None else offset + query.limit)

    def count(self, up_to: int | None = None) -> int:
        """How many documents the result has, counting no further than `up_to`."""
        if self._exact:
            total = max(0, len(self.scans[0]) - self.query.offset)
            self.stats.entries_scanned += 1
            if self.query.limit is not None:
                total = min(total, self.query.limit)
            return total if up_to is None else min(total, up_to)
        return sum(1 for _ in islice(self.documents(), up_to))

    def name_at(self, position: int) -> Name:
        """The name at a position of a result that is one stretch of one index."""
        start = self.scans[0].stretches[0][0] + position
        return name_of(next(self.scans[0].index.names(start, start + 1, False)))

    def _found(self, scan: Scan, skip: int = 0) -> Iterator[D]:
        residual = scan.residual
        for name in self._names(scan, skip):
            document = self.get(name)
            if document is None:
                raise LookupError(f"an index names {'/'.join(name)}, which does not exist")
            self.stats.documents_read += 1
            if residual is None or residual(document):
                yield document

    def _names(self, scan: Scan, skip: int) -> Iterator[Name]:
        reverse = self.matcher.reverse
        for start, stop in reversed(scan.stretches) if reverse else scan.stretches:
            if stop - start <= skip:
                skip -= stop - start
                continue
            first, last = (start, stop - skip) if reverse else (start + skip, stop)
            skip = 0
            for order in scan.index.names(first, last, reverse):
                self.stats.entries_scanned += 1
                yield name_of(order)

    def _placed(self, scan: Scan) -> Iterator[tuple[Place, D]]:
        for document in self._found(scan):
            place = self.matcher.place(document)
            if place is not None:
                yield place, document

    def _streams(self) -> list[Iterable[tuple[Place, D]]]:
        streams: list[Iterable[tuple[Place, D]]] = [self._placed(scan) for scan in self.scans]
        for name in self.named:
            document = self.get(name)
            place = None if document is None else self.matcher.key(document)
            if document is not None and place is not None:
                self.stats.documents_read += 1
                streams.append([(place, document)])
        return streams

    def _merge(self, streams: Iterable[Iterable[tuple[Place, D]]]) -> Iterator[tuple[Place, D]]:
        """Streams in order as one in order, each document once."""
        last: Name | None = None
        for place, document in merge(*streams, key=itemgetter(0), reverse=self.matcher.reverse):
            if document.name != last:
                last = document.name
                yield place, document

    def _merged(self) -> Iterator[D]:
        return map(itemgetter(1), self._merge(self._streams()))

    def _past(self, past: Past[D]) -> Iterator[D]:
        versions: list[tuple[Place, D]] = []
        for document in past.versions:
            place = self.matcher.key(document)
            if place is not None:
                versions.append((place, document))
        self.stats.documents_read += len(past.versions)
        versions.sort(key=itemgetter(0), reverse=self.matcher.reverse)
        unchanged = (one for one in self._merge(self._streams()) if past.unchanged(one[1]))
        return map(itemgetter(1), self._merge([unchanged, versions]))

    def indexes_used(self) -> list[dict[str, str]]:
        """As explain shows them: {"query_scope": "Collection", "properties": "(a ASC, ...)"}."""
        scope = "Collection group" if self.query.scope.all_descendants else "Collection"
        name = "__name__ DESC" if self.matcher.reverse else "__name__ ASC"
        specs = [*(scan.index.spec for scan in self.scans), *([()] if self.named else [])]
        shown = dict.fromkeys(
            f"({', '.join([*_shown(spec, self.matcher.reverse), name])})" for spec in specs
        )
        return [{"query_scope": scope, "properties": properties} for properties in shown]


def _shown(spec: Spec, reverse: bool) -> Iterator[str]:
    flipped = {Kind.ASCENDING: Kind.DESCENDING, Kind.DESCENDING: Kind.ASCENDING}
    for part in spec:
        yield str(Part(part.path, flipped.get(part.kind, part.kind)) if reverse else part)


def plan(query: Query, indexes: Indexes, get: Callable[[Name], D | None]) -> Plan[D]:
    """The query over indexes, building those it needs; good until the next commit."""
    made = Plan(query, Matcher(query), get)
    named: dict[Name, None] = {}
    for clauses in query.disjunctions:
        alternative = Alternative(query, clauses)
        if alternative.impossible:
            continue
        if alternative.named is not None:
            named[alternative.named] = None
        else:
            made.scans.append(alternative.scan(indexes, made.matcher))
    made.named.extend(named)
    return made

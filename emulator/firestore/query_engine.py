"""The queries of one database, over its indexes: of the present and of the past.

1. One engine observes one database: indexes are up to date before anyone hears of a commit.
2. A result is whole: nothing in it changes when the database does.
3. A read at a time no commit has passed since is a read of the present.

Not here: consistency selectors (consistency.py), protobuf (query_service.py).
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from emulator.firestore import aggregate, nearest
from emulator.firestore.aggregate import Aggregation
from emulator.firestore.indexes import Indexes
from emulator.firestore.paths import DatabaseName, Name
from emulator.firestore.query import Query, Scope
from emulator.firestore.query_match import Matcher
from emulator.firestore.query_plan import Past, Plan, Stats, plan
from emulator.firestore.store import Database, Store
from emulator.firestore.values import Value
from emulator.firestore.writes import Change, Document


class Answer(NamedTuple):
    """A query's documents, and what finding them took."""

    documents: list[Document]
    stats: Stats


class QueryEngine:
    """Answers queries over one database."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.indexes = Indexes(_Present(database))
        self._commit_time_us = database.read_time(0)  # nothing was committed later than this
        database.observers.append(self._committed)

    def _committed(self, changes: Sequence[Change], commit_time_us: int) -> None:
        self._commit_time_us = commit_time_us
        self.indexes.observe(changes)

    def plan(self, query: Query) -> Plan[Document]:
        """How the query would be answered for the present; builds the indexes it needs."""
        return plan(query, self.indexes, self.database.get)

    def run(self, query: Query, read_time_us: int | None = None) -> Answer:
        """The query's result now, or at a time; distances are in the documents' fields."""
        made = self.plan(query)
        documents = list(made.documents(self._past(read_time_us)))
        if query.find_nearest is not None:
            documents = [
                _with_distance(document, query.find_nearest.result_field, distance)
                for document, distance in nearest.rank(query.find_nearest, documents)
            ]
        return Answer(documents, made.stats)

    def aggregate(
        self,
        query: Query,
        aggregations: Sequence[Aggregation],
        read_time_us: int | None = None,
    ) -> tuple[Mapping[str, Value], Stats]:
        """The aggregations over the query's result, by alias."""
        counts = aggregate.counted_only(aggregations) and query.find_nearest is None
        if not counts or self._past(read_time_us) is not None:
            documents, stats = self.run(query, read_time_us)
            return aggregate.aggregate(aggregations, documents), stats
        made = self.plan(query)
        total = made.count(aggregate.most_counted(aggregations))
        return aggregate.from_count(aggregations, total), made.stats

    def partition(self, query: Query, count: int, read_time_us: int | None = None) -> list[Name]:
        """At most `count` names that cut the result, ordered by name, into equal parts."""
        if self._past(read_time_us) is not None:
            names = [one.name for one in self.run(query, read_time_us).documents]
            return [names[at] for at in _cuts(len(names), count)]
        made = self.plan(query)
        return [made.name_at(at) for at in _cuts(made.count(), count)]

    def is_present(self, read_time_us: int) -> bool:
        """Whether no commit has passed since a time."""
        return read_time_us >= self._commit_time_us

    def _past(self, read_time_us: int | None) -> Past[Document] | None:
        """What a time differs in from the present; None where no commit has passed since."""
        if read_time_us is None or self.is_present(read_time_us):
            return None
        versions = [
            version
            for name in self.database.superseded_since(read_time_us)
            if (version := self.database.get(name, read_time_us)) is not None
        ]
        return Past(versions, lambda document: document.update_time_us <= read_time_us)


class Engines:
    """The engine of each database of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._engines: dict[DatabaseName, QueryEngine] = {}

    def engine(self, name: DatabaseName) -> QueryEngine:
        """The engine of a database; there is one, from the first time it is asked for."""
        engine = self._engines.get(name)
        if engine is None:
            engine = self._engines[name] = QueryEngine(self._store.database(name))
        return engine


class _Present:
    """A database's documents as they are."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def documents(
        self, parent: Name, collection_id: str | None, all_descendants: bool
    ) -> Sequence[Document]:
        return list(self._database.documents(parent, collection_id, all_descendants))


def _cuts(total: int, count: int) -> list[int]:
    """Positions that cut `total` things into `count` + 1 parts, as many as make sense."""
    cuts = min(count, max(0, total - 1))
    return [total * (index + 1) // (cuts + 1) for index in range(cuts)]


def _with_distance(document: Document, result_field: str, distance: float) -> Document:
    if not result_field:
        return document
    fields = {**document.fields, result_field: distance}
    return dataclasses.replace(document, fields=fields, encoded=None)


def affects(query: Query, documents: Sequence[Document]) -> Callable[[Change], bool]:
    """Whether a change may change the result of a query that gave `documents`.

    What comes after the last place of a full window does not.
    """
    matcher = Matcher(query)
    full = query.limit is not None and query.find_nearest is None and bool(documents)
    full = full and len(documents) == query.limit
    last = matcher.place(documents[-1]) if full else None

    def counts(document: Document | None) -> bool:
        place = None if document is None else matcher.key(document)
        if place is None:
            return False
        return last is None or (place >= last if matcher.reverse else place <= last)

    return lambda change: counts(change.old) or counts(change.new)


def resource(scope: Scope) -> Name:
    """What transactions that query this scope contend for: see Transaction.record_query."""
    return (*scope.parent, scope.collection_id or "*")

"""Listening: for each stream, what changed in which of its targets since it was last told.

1. A `Listener` is one Listen stream. Its client holds, for each target, a set of documents;
   `collect` gives the events that take this set from what was sent last to what is true now.
   So commits that come faster than a stream is read are told together, and what is kept for a
   slow stream is bounded by its targets' documents.
2. Only differences are sent. Equal queries of any number of streams share one `_Result`, which
   follows each commit: by looking at the changed documents, and with a limit or offset by
   running the query again if a change falls into the window.
3. Order of events: ADD; RESET, where the client cannot be told differences; documents; filter,
   after a resumption; CURRENT of the new targets; NO_CHANGE for the stream, with a read time.
4. A commit looks only at results whose scope holds a changed document.

Not here: the events (watch_events.py), tokens, protobuf, tasks (listen_service.py). Sources:
google/firestore/v1/firestore.proto (TargetChange, Target); observed: gcloud Firestore emulator
1.19.9, which sends RESET and every document at every commit.
"""

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from emulator.errors import FailedPrecondition, InvalidArgument, ServiceError
from emulator.firestore.indexes import scopes_of
from emulator.firestore.paths import Name
from emulator.firestore.query import Query, Scope
from emulator.firestore.query_engine import QueryEngine, affects
from emulator.firestore.query_match import Matcher
from emulator.firestore.values import FieldPath
from emulator.firestore.watch_events import (
    DocumentChange,
    DocumentGone,
    Event,
    ExistenceFilter,
    Kind,
    TargetChange,
)
from emulator.firestore.writes import Change, Document

Subscriber: TypeAlias = tuple["Listener", int]


class _Result:
    """The result of one query, kept up to date, and who listens to it."""

    def __init__(self, engine: QueryEngine, query: Query) -> None:
        self._engine = engine
        self.query = query
        self.subscribers: dict[Subscriber, None] = {}
        self._matcher = Matcher(query)
        self._windowed = query.limit is not None or query.offset > 0
        self.documents: dict[Name, Document] = {}
        self._affects: Callable[[Change], bool] = lambda change: True
        self._run()

    def _run(self) -> None:
        found = self._engine.run(self.query).documents
        self.documents = {document.name: document for document in found}
        if self._windowed:
            self._affects = affects(self.query, found)

    def follow(self, changes: Iterable[Change]) -> dict[Name, bool]:
        """Apply a commit: each name that is told about, and whether it was in the result."""
        if self._windowed:
            return self._follow_window(changes)
        told = {}
        for change in changes:
            was = change.name in self.documents
            if change.new is not None and self._matcher.key(change.new) is not None:
                self.documents[change.name] = change.new
                told[change.name] = was
            elif was:
                del self.documents[change.name]
                told[change.name] = True
        return told

    def _follow_window(self, changes: Iterable[Change]) -> dict[Name, bool]:
        if not any(map(self._affects, changes)):
            return {}
        before = self.documents
        self._run()
        return _differences(before, self.documents)


def _differences(
    before: Mapping[Name, Document], after: Mapping[Name, Document]
) -> dict[Name, bool]:
    """Names whose document differs, and whether each was in `before`; `after`'s order first."""
    told = {
        name: name in before
        for name, document in after.items()
        if name not in before or before[name].update_time_us != document.update_time_us
    }
    told.update((name, True) for name in before if name not in after)
    return told


class Watcher:
    """Who listens to what in one database."""

    def __init__(self, engine: QueryEngine) -> None:
        self.engine = engine
        self._results: dict[Scope, dict[Hashable, _Result]] = {}
        self._names: dict[Name, dict[Subscriber, None]] = {}
        # The engine observes already, so its indexes are ahead of us.
        engine.database.observers.append(self._committed)

    def _committed(self, changes: Sequence[Change], _commit_time_us: int) -> None:
        concerned: dict[_Result, list[Change]] = {}
        for change in changes:
            for listener, target_id in self._names.get(change.name, ()):
                listener.touch(target_id, change.name, True)
            for scope in scopes_of(change.name) if self._results else ():
                for result in self._results.get(scope, {}).values():
                    concerned.setdefault(result, []).append(change)
        for result, own in concerned.items():
            told = result.follow(own)
            for listener, target_id in result.subscribers if told else ():
                for name, was in told.items():
                    listener.touch(target_id, name, was)

    def follow_query(self, subscriber: Subscriber, key: Hashable, query: Query) -> _Result:
        """Subscribe to a query; queries with equal keys are the same query."""
        results = self._results.setdefault(query.scope, {})
        result = results.get(key)
        if result is None:
            result = results[key] = _Result(self.engine, query)
        result.subscribers[subscriber] = None
        return result

    def leave_query(self, subscriber: Subscriber, key: Hashable, result: _Result) -> None:
        """End a subscription; a result nobody listens to is dropped."""
        del result.subscribers[subscriber]
        if not result.subscribers:
            results = self._results[result.query.scope]
            del results[key]
            if not results:
                del self._results[result.query.scope]

    def follow_names(self, subscriber: Subscriber, names: Iterable[Name]) -> None:
        """Subscribe to documents by name."""
        for name in names:
            self._names.setdefault(name, {})[subscriber] = None

    def leave_names(self, subscriber: Subscriber, names: Iterable[Name]) -> None:
        """End a subscription to documents by name."""
        for name in names:
            del self._names[name][subscriber]
            if not self._names[name]:
                del self._names[name]

    def __len__(self) -> int:
        """How many results and names are followed."""
        return sum(map(len, self._results.values())) + len(self._names)


@dataclass(slots=True, eq=False)
class _Target:
    """One target: of a query, or of `names`."""

    key: Hashable = None
    result: _Result | None = None
    names: Collection[Name] = ()
    once: bool = False

    @property
    def select(self) -> tuple[FieldPath, ...] | None:
        return None if self.result is None else self.result.query.select


@dataclass(slots=True)
class _News:
    """What the next `collect` tells, apart from documents."""

    first: list[Event] = field(default_factory=list)
    filters: list[int] = field(default_factory=list)
    current: list[int] = field(default_factory=list)

    def forget(self, target_id: int) -> None:
        self.filters = [one for one in self.filters if one != target_id]
        self.current = [one for one in self.current if one != target_id]


class Listener:
    """One stream. `wake` is called when `collect` has something to tell."""

    def __init__(self, watcher: Watcher, wake: Callable[[], None]) -> None:
        self._watcher = watcher
        self._database = watcher.engine.database
        self._wake = wake
        self._targets: dict[int, _Target] = {}
        # By name, by target: whether the client has the document in this target's set.
        self._touched: dict[Name, dict[int, bool]] = {}
        self._news = _News()

    def __contains__(self, target_id: int) -> bool:
        return target_id in self._targets

    def add_query(
        self,
        target_id: int,
        key: Hashable,
        query: Query,
        *,
        now_us: int,
        resume_us: int | None = None,
        once: bool = False,
    ) -> None:
        """Listen to a query; the client has its result of `resume_us` (-1: some unknown one).

        `key` is equal for equal queries.

        Raises:
            InvalidArgument: such a query cannot be listened to, or `resume_us` is in the future.
        """
        if query.find_nearest is not None:
            raise InvalidArgument("FindNearest is not supported in a Listen target.")
        known = self._known(resume_us, now_us)
        before = []
        if known and resume_us is not None:
            before = self._watcher.engine.run(query, resume_us).documents
        result = self._watcher.follow_query((self, target_id), key, query)
        self._begin(target_id, _Target(key, result, once=once), resume_us, known)
        had = {document.name: document for document in before}
        for name, was in _differences(had, result.documents).items():
            self.touch(target_id, name, was)

    def add_documents(
        self,
        target_id: int,
        names: Iterable[Name],
        *,
        now_us: int,
        resume_us: int | None = None,
        once: bool = False,
    ) -> None:
        """Listen to documents by name, there or not; else as `add_query`.

        Raises:
            InvalidArgument: `resume_us` is in the future.
        """
        known = self._known(resume_us, now_us)
        wanted = dict.fromkeys(names)
        self._watcher.follow_names((self, target_id), wanted)
        self._begin(target_id, _Target(names=wanted, once=once), resume_us, known)
        for name in wanted:
            document = self._database.get(name)
            if not known:
                # A missing document is told as deleted: the client must learn that it is not.
                self.touch(target_id, name, document is None)
                continue
            before = self._database.get(name, resume_us)
            if before is not document:
                self.touch(target_id, name, before is not None or document is None)

    def _known(self, resume_us: int | None, now_us: int) -> bool:
        """Whether what the client has can be worked out.

        Raises:
            InvalidArgument: the time is in the future.
        """
        if resume_us is None or resume_us < 0:
            return False
        try:
            self._database.check_read_time(resume_us, now_us)
        except FailedPrecondition:  # too old for versions, which may not be needed
            return self._watcher.engine.is_present(resume_us)
        return True

    def _begin(self, target_id: int, target: _Target, resume_us: int | None, known: bool) -> None:
        self._targets[target_id] = target
        self._news.first.append(TargetChange(Kind.ADD, (target_id,)))
        if known:
            self._news.filters.append(target_id)
        elif resume_us is not None:
            self._news.first.append(TargetChange(Kind.RESET, (target_id,)))
        self._news.current.append(target_id)
        self._wake()

    def refuse(self, target_id: int, cause: ServiceError) -> None:
        """Tell that a target is not added."""
        self._news.first.append(TargetChange(Kind.ADD, (target_id,)))
        self._news.first.append(TargetChange(Kind.REMOVE, (target_id,), cause=cause))
        self._wake()

    def remove(self, target_id: int) -> None:
        """Listen to a target no more; nothing happens if there is no such target."""
        if target_id in self._targets:
            self._drop(target_id)
            self._news.first.append(TargetChange(Kind.REMOVE, (target_id,)))
            self._wake()

    def close(self) -> None:
        """Listen to nothing more."""
        for target_id in list(self._targets):
            self._drop(target_id)

    def _drop(self, target_id: int) -> None:
        target = self._targets.pop(target_id)
        if target.result is None:
            self._watcher.leave_names((self, target_id), target.names)
        else:
            self._watcher.leave_query((self, target_id), target.key, target.result)
        self._news.forget(target_id)
        for targets in self._touched.values():
            targets.pop(target_id, None)

    def touch(self, target_id: int, name: Name, was: bool) -> None:
        """A document of a target has changed; `was` says if it was in the target's set."""
        if not self._touched:
            self._wake()
        targets = self._touched.setdefault(name, {})
        had = targets.setdefault(target_id, was)
        if not had and not self._holds(target_id, name):  # it came and went untold
            del targets[target_id]
            if not targets:
                del self._touched[name]

    def _holds(self, target_id: int, name: Name) -> bool:
        result = self._targets[target_id].result
        return result is None or name in result.documents

    def collect(self, now_us: int) -> list[Event]:
        """All that has not been told, in the order to tell it; empty if there is nothing."""
        touched, self._touched = self._touched, {}
        news, self._news = self._news, _News()
        read_time_us = self._database.read_time(now_us)
        changes: list[Event] = []
        for name, targets in touched.items():
            changes += self._document_events(name, targets, read_time_us)
        events = [*news.first, *changes]
        for target_id in news.filters:
            events.append(ExistenceFilter(target_id, self._size(target_id)))
        if news.current:
            events.append(TargetChange(Kind.CURRENT, tuple(news.current), read_time_us))
        if news.current or changes:
            events.append(TargetChange(Kind.NO_CHANGE, (), read_time_us))
        for target_id in news.current:
            if self._targets[target_id].once:
                self._drop(target_id)
                events.append(TargetChange(Kind.REMOVE, (target_id,)))
        return events

    def _document_events(
        self, name: Name, targets: Mapping[int, bool], read_time_us: int
    ) -> list[Event]:
        document = self._database.get(name)
        present: dict[tuple[FieldPath, ...] | None, list[int]] = {}
        gone = []
        for target_id, was in targets.items():
            if document is not None and self._holds(target_id, name):
                select = self._targets[target_id].select
                present.setdefault(select, []).append(target_id)
            elif was:
                gone.append(target_id)
        events: list[Event] = []
        for select, target_ids in present.items():
            if document is not None:
                events.append(DocumentChange(document, tuple(target_ids), tuple(gone), select))
                gone = []
        if gone:
            events.append(DocumentGone(name, tuple(gone), document is None, read_time_us))
        return events

    def _size(self, target_id: int) -> int:
        target = self._targets[target_id]
        if target.result is not None:
            return len(target.result.documents)
        return sum(self._database.get(name) is not None for name in target.names)

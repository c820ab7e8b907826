"""One alternative of a query's filter, as a stretch of one index.

1. The index's parts are the fields with an equality (any order would do: it is lexicographic,
   so that queries share indexes), the field whose array must hold an element, then the fields
   of the order that no equality makes constant. The name comes last, always ascending: an
   order by descending name reads the index backwards.
2. Inequalities on the first field of the order (or on the name, if it is the first) and
   cursors become positions. The other inequalities are left over: `residual`.
3. A cut is a position in an ordered list of keys: (key, False) just before the key,
   (key, True) just after it, None the open end.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from emulator.firestore.indexes import TOP, Entry, Index, Indexes, Kind, Part, Spec
from emulator.firestore.paths import Name
from emulator.firestore.query import (
    INEQUALITIES,
    NAME_PATH,
    NEGATIONS,
    RANGES,
    Clause,
    Op,
    Order,
    Query,
    matches_nothing,
)
from emulator.firestore.query_match import (
    Descending,
    Matcher,
    Predicate,
    clause_predicate,
    comparable_bounds,
    name_of,
    reference_order,
)
from emulator.firestore.values import FieldPath, OrderKey, Value, order_key

Cut: TypeAlias = tuple[Any, bool] | None
Span: TypeAlias = tuple[Cut, Cut]

_NULL = order_key(None)
_NAN = order_key(math.nan)
_EVERYTHING: list[Span] = [(None, None)]


@dataclass(frozen=True)
class Scan:
    """Stretches of an index in ascending order, and what the index does not decide."""

    index: Index
    stretches: list[tuple[int, int]]
    residual: Predicate | None

    def __len__(self) -> int:
        return sum(stop - start for start, stop in self.stretches)


class Alternative:
    """The clauses of one alternative, sorted by what an index can do for them."""

    def __init__(self, query: Query, clauses: Iterable[Clause]) -> None:
        self.query = query
        self.equal: dict[FieldPath, OrderKey] = {}
        self.element: tuple[FieldPath, OrderKey] | None = None
        self.named: Name | None = None
        self.impossible = False
        self.unequal: list[Clause] = []
        for clause in clauses:
            self._take(clause)
        self.orders: list[Order] = [
            order for order in query.orders[:-1] if order.path not in self.equal
        ]

    def _take(self, clause: Clause) -> None:
        if clause.op in INEQUALITIES:
            self.unequal.append(clause)
            return
        if clause.op in (Op.EQUAL, Op.ARRAY_CONTAINS) and matches_nothing(clause.value):
            self.impossible = True
        elif clause.op is Op.ARRAY_CONTAINS:
            self.element = (clause.path, order_key(clause.value))
        elif clause.path == NAME_PATH:
            name = name_of(reference_order(clause.value))
            if self.named not in (None, name) or not self.query.scope.holds(name):
                self.impossible = True
            self.named = name
        else:
            unary = {Op.IS_NULL: _NULL, Op.IS_NAN: _NAN}.get(clause.op)
            key = order_key(clause.value) if unary is None else unary
            if self.equal.setdefault(clause.path, key) != key:
                self.impossible = True

    def spec(self) -> Spec:
        """The index wanted, see rule 1."""
        reverse = self.query.orders[-1].descending
        parts = [Part(path) for path in sorted(self.equal)]
        if self.element is not None:
            parts.append(Part(self.element[0], Kind.CONTAINS))
        for order in self.orders:
            flipped = order.descending != reverse
            parts.append(Part(order.path, Kind.DESCENDING if flipped else Kind.ASCENDING))
        return tuple(parts)

    def scan(self, indexes: Indexes, matcher: Matcher) -> Scan:
        """Where in the index the alternative's documents are."""
        index = indexes.index(self.query.scope, self.spec())
        prefix: Entry = tuple(self.equal[path] for path in sorted(self.equal))
        if self.element is not None:
            prefix = (*prefix, self.element[1])
        first = self.orders[0] if self.orders else self.query.orders[-1]
        decided = [clause for clause in self.unequal if clause.path == first.path]
        left = [clause for clause in self.unequal if clause.path != first.path]
        flipped = bool(self.orders) and first.descending != matcher.reverse
        spans = _spans(decided)
        if flipped:
            spans = [_flip(span) for span in reversed(spans)]
        low = self._cursor_cut(matcher, matcher.low)
        high = self._cursor_cut(matcher, matcher.high)
        floor = index.position(_low_entry(prefix, low))
        ceiling = index.position(_high_entry(prefix, high))
        stretches = []
        for span_low, span_high in spans:
            start = max(floor, index.position(_low_entry(prefix, _one(span_low))))
            stop = min(ceiling, index.position(_high_entry(prefix, _one(span_high))))
            if start < stop:
                stretches.append((start, stop))
        return Scan(index, stretches, _all(left))

    def _cursor_cut(self, matcher: Matcher, bound: tuple[Any, bool] | None) -> Cut:
        """A cursor without the fields that are constant in this alternative."""
        if bound is None:
            return None
        place, below = bound
        parts: list[Any] = []
        for order, value in zip(self.query.orders, place, strict=False):
            constant = self.equal.get(order.path)
            if constant is None:
                parts.append(value)
                continue
            here = Descending(constant) if order.descending != matcher.reverse else constant
            if value < here:
                return tuple(parts), False
            if here < value:
                return tuple(parts), True
        return tuple(parts), not below


def _all(clauses: list[Clause]) -> Predicate | None:
    if not clauses:
        return None
    predicates = [clause_predicate(clause) for clause in clauses]
    return lambda document: all(predicate(document) for predicate in predicates)


def _one(cut: Cut) -> Cut:
    """A cut among keys of the first part, as a cut among entries."""
    return None if cut is None else ((cut[0],), cut[1])


def _low_entry(prefix: Entry, cut: Cut) -> Entry:
    if cut is None:
        return prefix
    parts, after = cut
    return (*prefix, *parts, TOP) if after else (*prefix, *parts)


def _high_entry(prefix: Entry, cut: Cut) -> Entry:
    return (*prefix, TOP) if cut is None else _low_entry(prefix, cut)


def _flip(span: Span) -> Span:
    """The span as it lies in a part with descending keys."""
    low, high = (None if cut is None else (Descending(cut[0]), not cut[1]) for cut in span)
    return high, low


def _spans(clauses: Iterable[Clause]) -> list[Span]:
    """Where all the inequalities of one field hold, ascending and disjoint."""
    spans = _EVERYTHING
    for clause in clauses:
        spans = [
            both
            for span in spans
            for other in _clause_spans(clause)
            if (both := _intersection(span, other)) is not None
        ]
    return spans


def _intersection(left: Span, right: Span) -> Span | None:
    low = max((cut for cut in (left[0], right[0]) if cut is not None), default=None)
    high = min((cut for cut in (left[1], right[1]) if cut is not None), default=None)
    return None if low is not None and high is not None and low >= high else (low, high)


def _clause_spans(clause: Clause) -> list[Span]:
    named = clause.path == NAME_PATH
    key_of = reference_order if named else order_key
    if clause.op in RANGES:
        if not named and matches_nothing(clause.value):
            return []
        return [_range_span(clause.op, key_of(clause.value), named)]
    if clause.op not in NEGATIONS:
        raise ValueError(f"{clause.op} is no inequality")
    given: list[Value] = []
    if clause.op is Op.NOT_IN and isinstance(clause.value, list):
        given = clause.value
    elif clause.op is not Op.IS_NOT_NULL:
        given = [math.nan if clause.op is Op.IS_NOT_NAN else clause.value]
    if not named and clause.op is not Op.IS_NOT_NAN:
        if any(value is None for value in given):
            return []
        given = [value for value in given if not matches_nothing(value)]
    spans = []
    # (_NULL, True) is just after null: negations never find it.
    low: Cut = None if named else (_NULL, True)
    for key in sorted({key_of(value) for value in given}):
        spans.append((low, (key, False)))
        low = (key, True)
    return [*spans, (low, None)]


def _range_span(op: Op, key: Any, named: bool) -> Span:
    bounds = (None, None) if named else comparable_bounds(key)
    low, high = (None if bound is None else (bound, False) for bound in bounds)
    if op in (Op.LESS_THAN, Op.LESS_THAN_OR_EQUAL):
        return low, (key, op is Op.LESS_THAN_OR_EQUAL)
    return (key, op is Op.GREATER_THAN), high

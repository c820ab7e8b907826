"""Whether a document is in a query's result, and where: one document at a time, no index.

1. `Matcher.key(document)` is its place in the result, or None where it is not in it: filter,
   order fields and cursors are looked at; offset and limit are not.
2. Places of one query compare with `<`; equal places are the same document. If
   `Matcher.reverse`, the result is in falling order of places: then `__name__` descends, and
   the fields in the other direction are wrapped in `Descending`.
3. Names compare as `name_order`: segment by segment, numeric ids first.

Not here: how results are found quickly (query_plan.py). The truth table of each operator is
observed on gcloud Firestore emulator 1.19.9 (tests/emulator/test_firestore_query.py).
"""

import math
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

from emulator.firestore.paths import Name, id_key
from emulator.firestore.query import (
    NAME_PATH,
    Clause,
    Cursor,
    Filter,
    Op,
    Order,
    Query,
    matches_nothing,
)
from emulator.firestore.values import (
    MISSING,
    RANK_NUMBER,
    Fields,
    OrderKey,
    Reference,
    Value,
    get_field,
    order_key,
)

Place: TypeAlias = tuple[Any, ...]
Predicate: TypeAlias = Callable[["Stored"], bool]


class Stored(Protocol):
    """What is needed of a document."""

    @property
    def name(self) -> Name:
        """Its relative segments."""
        ...

    @property
    def fields(self) -> Fields:
        """Its data."""
        ...


class Descending:
    """A key that sorts the other way round among its like."""

    __slots__ = ("key",)

    def __init__(self, key: OrderKey) -> None:
        self.key = key

    def __lt__(self, other: object) -> bool:
        return other.key < self.key if isinstance(other, Descending) else NotImplemented

    def __gt__(self, other: object) -> bool:
        return self.key < other.key if isinstance(other, Descending) else NotImplemented

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Descending) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


def name_order(name: Name) -> Name:
    """The sort key of a name: the name itself, unless it has an id that sorts specially.

    A numeric id `__id7__` becomes a string that begins with NUL and sorts before all other
    ids, by its number; an id that begins with NUL gets a prefix that sorts between the two.
    """
    for segment in name:
        if segment[0] in "\0_":
            return tuple(map(_segment_order, name))
    return name


def _segment_order(segment: str) -> str:
    numeric, value = id_key(segment)
    if numeric == 0:
        return f"\0{value + 10**19:020}{segment}"  # the segment itself: __id7__ is not __id07__
    return "\0\x7f" + segment if segment.startswith("\0") else segment


def name_of(order: Name) -> Name:
    """The inverse of `name_order`."""
    for segment in order:
        if segment[0] == "\0":
            return tuple(map(_segment_of, order))
    return order


def _segment_of(order: str) -> str:
    if not order.startswith("\0"):
        return order
    return order[2:] if order[1] == "\x7f" else order[21:]


def reference_order(value: Value) -> Name:
    """The sort key of a Reference into the queried database, for comparing with names."""
    if not isinstance(value, Reference):
        raise TypeError(f"not a reference: {value!r}")
    return name_order(tuple(value.name.split("/")[5:]))


def comparable_bounds(key: OrderKey) -> tuple[OrderKey, OrderKey]:
    """The span of keys a range may find beside `key`: its type's, without NaN."""
    return ((RANK_NUMBER, 1) if key[0] == RANK_NUMBER else key[:1]), (key[0] + 1,)


_COMPARE: dict[Op, Callable[[Any, Any], bool]] = {
    Op.LESS_THAN: lambda left, right: left < right,
    Op.LESS_THAN_OR_EQUAL: lambda left, right: left <= right,
    Op.GREATER_THAN: lambda left, right: left > right,
    Op.GREATER_THAN_OR_EQUAL: lambda left, right: left >= right,
    Op.EQUAL: lambda left, right: left == right,
    Op.NOT_EQUAL: lambda left, right: left != right,
    Op.IN: lambda left, right: left in right,
    Op.NOT_IN: lambda left, right: left not in right,
}


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


_UNARY: dict[Op, Callable[[Any], bool]] = {
    Op.IS_NULL: lambda value: value is None,
    Op.IS_NAN: _is_nan,
    Op.IS_NOT_NULL: lambda value: value is not MISSING and value is not None,
    Op.IS_NOT_NAN: lambda value: value is not MISSING and value is not None and not _is_nan(value),
}


def _never(_document: Stored) -> bool:
    return False


def _always(_document: Stored) -> bool:
    return True


def _name_predicate(clause: Clause) -> Predicate:
    compare = _COMPARE[clause.op]
    given: Any
    if isinstance(clause.value, list):
        given = {reference_order(value) for value in clause.value}
    else:
        given = reference_order(clause.value)
    return lambda document: compare(name_order(document.name), given)


def _membership_predicate(clause: Clause) -> Predicate:
    """EQUAL, IN, NOT_EQUAL, NOT_IN."""
    path, values = clause.path, clause.value
    given = values if isinstance(values, list) else [values]
    keys = {order_key(value) for value in given if not matches_nothing(value)}
    if clause.op in (Op.EQUAL, Op.IN):

        def among(document: Stored) -> bool:
            value = get_field(document.fields, path)
            return value is not MISSING and order_key(value) in keys

        return among
    if any(value is None for value in given):
        return _never

    def not_among(document: Stored) -> bool:
        value = get_field(document.fields, path)
        return value is not MISSING and value is not None and order_key(value) not in keys

    return not_among


def _contains_predicate(clause: Clause) -> Predicate:
    path, values = clause.path, clause.value
    given = values if clause.op is Op.ARRAY_CONTAINS_ANY and isinstance(values, list) else [values]
    keys = {order_key(value) for value in given if not matches_nothing(value)}

    def contains(document: Stored) -> bool:
        value = get_field(document.fields, path)
        return isinstance(value, list) and any(order_key(element) in keys for element in value)

    return contains


def _range_predicate(clause: Clause) -> Predicate:
    path, compare = clause.path, _COMPARE[clause.op]
    if matches_nothing(clause.value):
        return _never
    given = order_key(clause.value)
    low, high = comparable_bounds(given)

    def compares(document: Stored) -> bool:
        value = get_field(document.fields, path)
        if value is MISSING:
            return False
        key = order_key(value)
        return low <= key < high and compare(key, given)

    return compares


def clause_predicate(clause: Clause) -> Predicate:
    """The clause as a function of a document."""
    if clause.path == NAME_PATH:
        return _name_predicate(clause)
    if clause.op in _UNARY:
        unary, path = _UNARY[clause.op], clause.path
        return lambda document: unary(get_field(document.fields, path))
    if clause.op in (Op.EQUAL, Op.IN, Op.NOT_EQUAL, Op.NOT_IN):
        return _membership_predicate(clause)
    if clause.op in (Op.ARRAY_CONTAINS, Op.ARRAY_CONTAINS_ANY):
        return _contains_predicate(clause)
    return _range_predicate(clause)


def predicate(where: Filter | None) -> Predicate:
    """The filter as a function of a document."""
    if where is None:
        return _always
    if isinstance(where, Clause):
        return clause_predicate(where)
    parts = [predicate(child) for child in where.filters]
    if where.every:
        return lambda document: all(part(document) for part in parts)
    return lambda document: any(part(document) for part in parts)


def order_value(order: Order, value: Value) -> Any:
    """A cursor's value for one field of the order, as it compares there."""
    return reference_order(value) if order.path == NAME_PATH else order_key(value)


class Matcher:
    """The place of documents in one query's result."""

    def __init__(self, query: Query) -> None:
        self.query = query
        self.reverse = query.orders[-1].descending
        self._flips = [order.descending != self.reverse for order in query.orders[:-1]]
        self._paths = [order.path for order in query.orders[:-1]]
        self._where = predicate(query.where)
        start, end = query.start_at, query.end_at
        # A place compares by `<` with a cursor's values cut to the same length.
        self.low = self._bound(end if self.reverse else start)
        self.high = self._bound(start if self.reverse else end)

    def _bound(self, cursor: Cursor | None) -> tuple[Place, bool] | None:
        """The cursor's values as a place, and whether the position is below them."""
        if cursor is None:
            return None
        place = tuple(
            Descending(order_value(order, value))
            if order.descending != self.reverse
            else order_value(order, value)
            for order, value in zip(self.query.order_by, cursor.values, strict=False)
        )
        return place, cursor.before != self.reverse

    def key(self, document: Stored) -> Place | None:
        """The document's place in the result, None where it is not in it."""
        if not self.query.scope.holds(document.name) or not self._where(document):
            return None
        place = self.place(document)
        return place if place is not None and self._within(place) else None

    def place(self, document: Stored) -> Place | None:
        """The place by the order alone; None where a field of the order is missing."""
        parts: list[Any] = []
        for path, flip in zip(self._paths, self._flips, strict=True):
            value = get_field(document.fields, path)
            if value is MISSING:
                return None
            key = order_key(value)
            parts.append(Descending(key) if flip else key)
        parts.append(name_order(document.name))
        return tuple(parts)

    def _within(self, place: Place) -> bool:
        if self.low is not None:
            bound, below = self.low
            prefix = place[: len(bound)]
            if prefix < bound or (prefix == bound and not below):
                return False
        if self.high is not None:
            bound, below = self.high
            prefix = place[: len(bound)]
            if bound < prefix or (prefix == bound and below):
                return False
        return True

"""A StructuredQuery as a value: what it means, what is refused, what is added to its order.

1. A `Query` made by `checked` is valid; everything else may rely on it. Refusals are
   INVALID_ARGUMENT in production's words.
2. A query reads: collection scope, filters, order, cursors, offset, limit, then find_nearest
   or select. A document without one of the order's fields is not in the result.
3. `Query.orders` is the full order: the given one, then the fields with an inequality in
   lexicographic order, then `__name__`, all in the direction of the last one given.
4. null and NaN are found by IS_NULL and IS_NAN only: as a compared value they match nothing;
   NOT_EQUAL, NOT_IN, IS_NOT_NULL and IS_NOT_NAN never find null.
5. `disjunctions` is the filter as alternatives of clauses that must all hold, at most 30.

Not here: whether a document matches (query_match.py), indexes (query_plan.py), protobuf
(query_decode.py). Sources: google/firestore/v1/query.proto, the limits in
https://firebase.google.com/docs/firestore/query-data/queries#limits_on_or_queries, and the
texts of gcloud Firestore emulator 1.19.9, observed.
"""

import enum
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, TypeAlias

from emulator.errors import InvalidArgument
from emulator.firestore.paths import Name, is_reserved
from emulator.firestore.values import (
    FieldPath,
    Reference,
    Value,
    Vector,
    format_field_path,
)

NAME_PATH: FieldPath = ("__name__",)

MAX_DISJUNCTIONS = 30
MAX_NOT_IN = 10
MAX_CLAUSES = 100
MAX_INEQUALITY_FIELDS = 10
MAX_NEAREST = 1000
MAX_DIMENSIONS = 2048


class Op(enum.Enum):
    """FieldFilter.Operator and UnaryFilter.Operator, by their names."""

    LESS_THAN = "<"
    LESS_THAN_OR_EQUAL = "<="
    GREATER_THAN = ">"
    GREATER_THAN_OR_EQUAL = ">="
    EQUAL = "=="
    NOT_EQUAL = "!="
    ARRAY_CONTAINS = "array-contains"
    IN = "in"
    ARRAY_CONTAINS_ANY = "array-contains-any"
    NOT_IN = "not-in"
    IS_NAN = "is nan"
    IS_NULL = "is null"
    IS_NOT_NAN = "is not nan"
    IS_NOT_NULL = "is not null"


RANGES = frozenset({Op.LESS_THAN, Op.LESS_THAN_OR_EQUAL, Op.GREATER_THAN, Op.GREATER_THAN_OR_EQUAL})
NEGATIONS = frozenset({Op.NOT_EQUAL, Op.NOT_IN, Op.IS_NOT_NAN, Op.IS_NOT_NULL})
INEQUALITIES = RANGES | NEGATIONS
UNARY = frozenset({Op.IS_NAN, Op.IS_NULL, Op.IS_NOT_NAN, Op.IS_NOT_NULL})
_LISTS = {Op.IN: MAX_DISJUNCTIONS, Op.ARRAY_CONTAINS_ANY: MAX_DISJUNCTIONS, Op.NOT_IN: MAX_NOT_IN}
_CONTAINS = frozenset({Op.ARRAY_CONTAINS, Op.ARRAY_CONTAINS_ANY})
_NAME_OPS = (RANGES | {Op.EQUAL, Op.NOT_EQUAL, Op.IN, Op.NOT_IN}) - UNARY


@dataclass(frozen=True, slots=True)
class Clause:
    """`path op value`; a unary operator's value is None."""

    path: FieldPath
    op: Op
    value: Value = None


@dataclass(frozen=True, slots=True)
class Junction:
    """AND (`every`) or OR of filters."""

    every: bool
    filters: tuple["Filter", ...]


Filter: TypeAlias = Clause | Junction


@dataclass(frozen=True, slots=True)
class Order:
    """One field of the order."""

    path: FieldPath
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Cursor:
    """A position just before or just after `values`, a prefix of the given order."""

    values: tuple[Value, ...]
    before: bool


class Measure(enum.Enum):
    """FindNearest.DistanceMeasure, by its names."""

    EUCLIDEAN = 1
    COSINE = 2
    DOT_PRODUCT = 3


@dataclass(frozen=True, slots=True)
class Nearest:
    """find_nearest: the `limit` documents whose vector at `path` is nearest to `vector`."""

    path: FieldPath
    vector: Vector
    measure: Measure
    limit: int
    result_field: str = ""
    threshold: float | None = None


class Scope(NamedTuple):
    """Where a query looks: `collection_id` None means collections of any id.

    Direct children of `parent` (a document or the root), or with `all_descendants` every
    collection below it.
    """

    parent: Name
    collection_id: str | None
    all_descendants: bool = False

    def holds(self, name: Name) -> bool:
        """Whether the document `name` is in the scope."""
        depth = len(self.parent)
        if name[:depth] != self.parent:
            return False
        if not self.all_descendants and len(name) != depth + 2:
            return False
        if len(name) < depth + 2:
            return False
        return self.collection_id is None or name[-2] == self.collection_id


@dataclass(frozen=True)
class Query:
    """A StructuredQuery. Make it, then `checked(query)`."""

    scope: Scope
    where: Filter | None = None
    order_by: tuple[Order, ...] = ()
    start_at: Cursor | None = None
    end_at: Cursor | None = None
    offset: int = 0
    limit: int | None = None
    select: tuple[FieldPath, ...] | None = None
    find_nearest: Nearest | None = None

    @cached_property
    def orders(self) -> tuple[Order, ...]:
        """The full order, ending with `__name__`."""
        descending = self.order_by[-1].descending if self.order_by else False
        given = {order.path for order in self.order_by}
        unequal = {clause.path for clause in clauses(self.where) if clause.op in INEQUALITIES}
        added = [*sorted(unequal - given - {NAME_PATH})]
        if NAME_PATH not in given:
            added.append(NAME_PATH)
        return (*self.order_by, *(Order(path, descending) for path in added))

    @cached_property
    def disjunctions(self) -> tuple[tuple[Clause, ...], ...]:
        """Alternatives whose clauses must all hold; IN and ARRAY_CONTAINS_ANY are expanded."""
        return tuple(_expand(self.where)) if self.where is not None else ((),)


def clauses(where: Filter | None) -> Iterator[Clause]:
    """Every clause of a filter tree."""
    if isinstance(where, Clause):
        yield where
    elif where is not None:
        for child in where.filters:
            yield from clauses(child)


def matches_nothing(value: Value) -> bool:
    """Whether no field equals `value`: null and NaN, see rule 4."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def _expand(where: Filter) -> Iterator[tuple[Clause, ...]]:
    if isinstance(where, Clause):
        if where.op in (Op.IN, Op.ARRAY_CONTAINS_ANY):
            op = Op.EQUAL if where.op is Op.IN else Op.ARRAY_CONTAINS
            for value in _elements(where):
                yield (Clause(where.path, op, value),)
        else:
            yield (where,)
    elif where.every:
        for parts in itertools.product(*(tuple(_expand(child)) for child in where.filters)):
            yield tuple(itertools.chain.from_iterable(parts))
    else:
        for child in where.filters:
            yield from _expand(child)


def _elements(clause: Clause) -> list[Value]:
    if not isinstance(clause.value, list):
        raise InvalidArgument(f"'{clause.op.name}' requires an ArrayValue.")
    return clause.value


def _count(where: Filter) -> int:
    """How many alternatives `_expand` would give."""
    if isinstance(where, Clause):
        return len(_elements(where)) if where.op in (Op.IN, Op.ARRAY_CONTAINS_ANY) else 1
    counts = [_count(child) for child in where.filters]
    return math.prod(counts) if where.every else sum(counts)


def checked(query: Query) -> Query:
    """The query, if production would accept it.

    Raises:
        InvalidArgument: it would not.
    """
    if query.offset < 0:
        raise InvalidArgument("offset is negative")
    if query.limit is not None and query.limit < 0:
        raise InvalidArgument("limit is negative")
    _check_scope(query)
    _check_where(query.where)
    _check_orders(query)
    for cursor in (query.start_at, query.end_at):
        _check_cursor(query, cursor)
    for path in query.select or ():
        check_path(path)
    if query.find_nearest is not None:
        _check_nearest(query, query.find_nearest)
    return query


def check_path(path: FieldPath) -> None:
    """Raise unless `path` may be used in a query.

    Raises:
        InvalidArgument: a segment is reserved; `__name__` alone is fine.
    """
    if path != NAME_PATH and any(map(is_reserved, path)):
        raise InvalidArgument(f"Invalid reserved name in field path {format_field_path(path)}")


def _check_scope(query: Query) -> None:
    collection_id = query.scope.collection_id
    if collection_id is not None:
        if "/" in collection_id:
            raise InvalidArgument(
                f'Collection id "{collection_id}" is invalid because it contains "/".'
            )
        if is_reserved(collection_id) or collection_id in (".", ".."):
            raise InvalidArgument(
                f'Collection id "{collection_id}" is invalid because it is reserved.'
            )
        return
    for clause in clauses(query.where):
        if clause.path != NAME_PATH:
            raise InvalidArgument(f"kind is required for filter: {format_field_path(clause.path)}")
    if any(order.path != NAME_PATH or order.descending for order in query.order_by):
        raise InvalidArgument("kind is required for all orders except __key__ ascending")


def _check_where(where: Filter | None) -> None:
    if where is None:
        return
    every_clause = tuple(clauses(where))
    for clause in every_clause:
        _check_clause(clause)
    _check_junctions(where)
    negations = [clause for clause in every_clause if clause.op in NEGATIONS]
    if len(negations) > 1:
        raise InvalidArgument(
            "Only a single 'NOT_EQUAL', 'NOT_IN', 'IS_NOT_NAN', or 'IS_NOT_NULL' filter "
            "allowed per query."
        )
    count = _count(where)
    not_in = any(clause.op is Op.NOT_IN for clause in every_clause)
    multiple = any(clause.op in (Op.IN, Op.ARRAY_CONTAINS_ANY) for clause in every_clause)
    if not_in and (multiple or count > 1):
        raise InvalidArgument(
            "'NOT_IN' cannot be used in the same query with 'IN', 'ARRAY_CONTAINS_ANY' or 'OR'."
        )
    if count > MAX_DISJUNCTIONS:
        raise InvalidArgument(
            f"Too many disjunctions after normalization. Result had {count} disjunctions "
            f"which is more than the maximum of {MAX_DISJUNCTIONS}"
        )
    for alternative in _expand(where):
        if sum(clause.op in _CONTAINS for clause in alternative) > 1:
            raise InvalidArgument(
                "A maximum of 1 'ARRAY_CONTAINS' filter is allowed per disjunction."
            )
    unequal = {clause.path for clause in every_clause if clause.op in INEQUALITIES}
    if len(unequal) > MAX_INEQUALITY_FIELDS:
        fields = ", ".join(format_field_path(path) for path in sorted(unequal))
        raise InvalidArgument(
            f"The query contains {len(unequal)} distinct inequality fields: [{fields}]. "
            f"A query may not have more than {MAX_INEQUALITY_FIELDS} distinct inequality fields."
        )


def _check_junctions(where: Filter) -> None:
    if isinstance(where, Junction):
        if not where.filters:
            raise InvalidArgument("Composite filter must have at least one sub-filter.")
        for child in where.filters:
            _check_junctions(child)


def _check_clause(clause: Clause) -> None:
    check_path(clause.path)
    values: list[Value] = [clause.value]
    limit = _LISTS.get(clause.op)
    if limit is not None:
        values = _elements(clause)
        if not values:
            raise InvalidArgument(f"'{clause.op.name}' requires an non-empty ArrayValue.")
        if len(values) > limit:
            raise InvalidArgument(f"'{clause.op.name}' supports up to {limit} comparison values.")
    if clause.path == NAME_PATH and (
        clause.op not in _NAME_OPS or not all(isinstance(value, Reference) for value in values)
    ):
        raise InvalidArgument("__key__ filter value must be a Key")


def _check_orders(query: Query) -> None:
    seen: set[FieldPath] = set()
    for order in query.order_by:
        check_path(order.path)
        if order.path in seen:
            raise InvalidArgument(
                f"order by clause cannot contain duplicate fields {format_field_path(order.path)}"
            )
        seen.add(order.path)
    if any(order.path == NAME_PATH for order in query.orders[:-1]):
        raise InvalidArgument("order by clause cannot contain more fields after the key")
    filters, orders = sum(1 for _ in clauses(query.where)), len(query.order_by)
    ancestor = bool(query.scope.parent) and query.scope.all_descendants
    if filters + orders + ancestor > MAX_CLAUSES:
        raise InvalidArgument(
            f"The query may not have more than {MAX_CLAUSES} filters + sort orders + ancestor "
            f"total. Currently there are {filters} filters, {orders} sort orders, and "
            f"{'an' if ancestor else 'no'} ancestor filter."
        )


def _check_cursor(query: Query, cursor: Cursor | None) -> None:
    if cursor is None:
        return
    if len(cursor.values) > len(query.order_by):
        raise InvalidArgument("Cursor has too many values.")
    for order, value in zip(query.order_by, cursor.values, strict=False):
        if order.path == NAME_PATH and not isinstance(value, Reference):
            raise InvalidArgument("Cursor __key__ value is not a document reference.")


def _check_nearest(query: Query, nearest: Nearest) -> None:
    check_path(nearest.path)
    if not 1 <= nearest.limit <= MAX_NEAREST:
        raise InvalidArgument(
            f"FindNearest.limit must be a positive integer of no more than {MAX_NEAREST}"
        )
    if not nearest.vector.values:
        raise InvalidArgument("Cannot have a zero length vector.")
    if len(nearest.vector.values) > MAX_DIMENSIONS:
        raise InvalidArgument(f"Vectors must be at most {MAX_DIMENSIONS} dimensions.")
    if is_reserved(nearest.result_field):
        raise InvalidArgument(
            f'The distanceResultField.property.name "{nearest.result_field}" is reserved.'
        )
    if query.limit is not None:
        raise InvalidArgument("A query limit cannot be used with FindNearest")
    if query.offset:
        raise InvalidArgument("A query offset cannot be used with FindNearest")
    if query.start_at or query.end_at:
        raise InvalidArgument("A cursor cannot be used with FindNearest")

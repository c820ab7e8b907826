"""From google.firestore.v1 StructuredQuery messages to the core's `Query`, checked.

An unknown operator, direction or distance measure is refused by name: nothing is ignored.
"""

from collections.abc import Callable
from typing import Any, Final

from emulator.errors import InvalidArgument
from emulator.firestore import aggregate
from emulator.firestore.aggregate import Aggregation
from emulator.firestore.convert import decode_value
from emulator.firestore.paths import DatabaseName, parse_parent
from emulator.firestore.query import (
    NAME_PATH,
    Clause,
    Cursor,
    Filter,
    Junction,
    Measure,
    Nearest,
    Op,
    Order,
    Query,
    Scope,
    checked,
)
from emulator.firestore.values import FieldPath, Reference, Value, Vector, parse_field_path

# FieldFilter.Operator and UnaryFilter.Operator, by number.
_FIELD_OPS: Final = {
    1: Op.LESS_THAN,
    2: Op.LESS_THAN_OR_EQUAL,
    3: Op.GREATER_THAN,
    4: Op.GREATER_THAN_OR_EQUAL,
    5: Op.EQUAL,
    6: Op.NOT_EQUAL,
    7: Op.ARRAY_CONTAINS,
    8: Op.IN,
    9: Op.ARRAY_CONTAINS_ANY,
    10: Op.NOT_IN,
}
_UNARY_OPS: Final = {2: Op.IS_NAN, 3: Op.IS_NULL, 4: Op.IS_NOT_NAN, 5: Op.IS_NOT_NULL}
_AND, _OR = 1, 2
_DESCENDING = 2


def decode_query(parent: str, message: Any) -> tuple[DatabaseName, Query]:
    """The query of a StructuredQuery message under the resource name `parent`.

    Raises:
        InvalidArgument: production would refuse it.
    """
    place = parse_parent(parent)
    selectors = message.from_
    if len(selectors) > 1:
        raise InvalidArgument("StructuredQuery.from cannot have more than one collection selector.")
    collection_id = selectors[0].collection_id if selectors else ""
    scope = Scope(
        place.name, collection_id or None, bool(selectors and selectors[0].all_descendants)
    )
    decoder = _Decoder(place.database)
    nearest = message.HasField("find_nearest")
    query = Query(
        scope,
        decoder.filter(message.where) if message.HasField("where") else None,
        tuple(
            Order(_path(order.field), order.direction == _DESCENDING) for order in message.order_by
        ),
        decoder.cursor(message.start_at) if message.HasField("start_at") else None,
        decoder.cursor(message.end_at) if message.HasField("end_at") else None,
        message.offset,
        message.limit.value if message.HasField("limit") else None,
        tuple(map(_path, message.select.fields)) if message.HasField("select") else None,
        _nearest(message.find_nearest) if nearest else None,
    )
    return place.database, checked(query)


def decode_aggregations(query: Query, messages: Any) -> tuple[Aggregation, ...]:
    """The aggregations of a StructuredAggregationQuery over `query`.

    Raises:
        InvalidArgument: production would refuse them.
    """
    return aggregate.checked(query, [_aggregation(message) for message in messages])


def _aggregation(message: Any) -> Aggregation:
    kind = message.WhichOneof("operator")
    if kind is None:
        raise InvalidArgument("Operator field in Aggregation is not set.")
    if kind == "count":
        up_to = message.count.up_to.value if message.count.HasField("up_to") else None
        return Aggregation(aggregate.Kind.COUNT, message.alias, up_to=up_to)
    return Aggregation(aggregate.Kind(kind), message.alias, _path(getattr(message, kind).field))


def _path(message: Any) -> FieldPath:
    if not message.field_path:
        raise InvalidArgument("Invalid empty property path string.")
    return parse_field_path(message.field_path)


def _nearest(message: Any) -> Nearest:
    vector = decode_value(message.query_vector)
    if not isinstance(vector, Vector):
        raise InvalidArgument("Query Value must be of type vector.")
    if message.distance_measure not in {measure.value for measure in Measure}:
        raise InvalidArgument("Unknown Distance Measure.")
    threshold = message.distance_threshold.value if message.HasField("distance_threshold") else None
    return Nearest(
        _path(message.vector_field),
        vector,
        Measure(message.distance_measure),
        message.limit.value,
        message.distance_result_field,
        threshold,
    )


class _Decoder:
    """Filters and cursors of queries in one database."""

    def __init__(self, database: DatabaseName) -> None:
        self._prefix = database.documents + "/"
        self._database = database

    def filter(self, message: Any) -> Filter:
        kind = message.WhichOneof("filter_type")
        decoders: dict[str, Callable[[Any], Filter]] = {
            "composite_filter": self._junction,
            "field_filter": self._field,
            "unary_filter": self._unary,
        }
        if kind is None:
            raise InvalidArgument("Unknown Filter type.")
        return decoders[kind](getattr(message, kind))

    def _junction(self, message: Any) -> Filter:
        if message.op not in (_AND, _OR):
            raise InvalidArgument("Unsupported CompositeFilter operator.")
        return Junction(message.op == _AND, tuple(map(self.filter, message.filters)))

    def _field(self, message: Any) -> Filter:
        op = _FIELD_OPS.get(message.op)
        if op is None:
            raise InvalidArgument("Unknown FieldFilter operator.")
        path = _path(message.field)
        value = decode_value(message.value)
        if path == NAME_PATH:
            for one in value if isinstance(value, list) else [value]:
                self._check_reference(one)
        return Clause(path, op, value)

    def _unary(self, message: Any) -> Filter:
        op = _UNARY_OPS.get(message.op)
        if op is None:
            raise InvalidArgument("Unknown UnaryFilter operator.")
        return Clause(_path(message.field), op)

    def cursor(self, message: Any) -> Cursor:
        return Cursor(tuple(map(decode_value, message.values)), message.before)

    def _check_reference(self, value: Value) -> None:
        if isinstance(value, Reference) and not value.name.startswith(self._prefix):
            other = value.name.partition("/documents")[0]
            raise InvalidArgument(
                f"The request was for database '{self._database}' but was attempting to access "
                f"database '{other}'"
            )

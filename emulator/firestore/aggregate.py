"""count, sum and avg over a query's result.

1. One to five aggregations; an unnamed one is called field_1, field_2... in turn.
2. A document takes part if it has every field that is summed or averaged, whatever its type;
   numbers count in the sum and the average, other types do not.
3. sum of integers is an integer if 64 bits hold it, else a double; of nothing it is 0. avg is a
   double, of nothing null. NaN gives NaN; infinities as in IEEE 754; -0.0 sums to 0.
4. A count's `up_to` ends that count, not the others.

Sources: google/firestore/v1/query.proto (StructuredAggregationQuery); observed: gcloud
Firestore emulator 1.19.9.
"""

import enum
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from emulator.errors import InvalidArgument
from emulator.firestore.paths import is_reserved
from emulator.firestore.query import NAME_PATH, Query, check_path
from emulator.firestore.query_match import Stored
from emulator.firestore.values import MISSING, FieldPath, Value, get_field

MAX_AGGREGATIONS = 5
MAX_INT = 2**63 - 1


class Kind(enum.Enum):
    """Aggregation.operator, by its names."""

    COUNT = "count"
    SUM = "sum"
    AVG = "avg"


@dataclass(frozen=True, slots=True)
class Aggregation:
    """One aggregation: `path` of SUM and AVG, `up_to` of COUNT."""

    kind: Kind
    alias: str = ""
    path: FieldPath = ()
    up_to: int | None = None


def checked(query: Query, aggregations: Sequence[Aggregation]) -> tuple[Aggregation, ...]:
    """The aggregations with their aliases, if production would accept them.

    Raises:
        InvalidArgument: it would not.
    """
    if not aggregations:
        raise InvalidArgument("Aggregations can not be empty.")
    if len(aggregations) > MAX_AGGREGATIONS:
        raise InvalidArgument(
            f"The maximum number of aggregations allowed in an aggregation query is "
            f"{MAX_AGGREGATIONS}. Received: {len(aggregations)}."
        )
    named: dict[str, Aggregation] = {}
    unnamed = 0
    for aggregation in aggregations:
        alias = aggregation.alias
        if not alias:
            unnamed += 1
            alias = f"field_{unnamed}"
        if alias in named:
            raise InvalidArgument(f"Aggregation aliases contain duplicate alias: {alias}.")
        _check(query, aggregation, alias)
        named[alias] = Aggregation(aggregation.kind, alias, aggregation.path, aggregation.up_to)
    return tuple(named.values())


def _check(query: Query, aggregation: Aggregation, alias: str) -> None:
    if is_reserved(alias):
        raise InvalidArgument(f'The property.name "{alias}" is reserved.')
    if aggregation.kind is Kind.COUNT:
        if aggregation.up_to is not None and aggregation.up_to < 1:
            raise InvalidArgument(
                "The `up_to` value in a COUNT aggregation must be greater than zero."
            )
        return
    if aggregation.path == NAME_PATH:
        raise InvalidArgument("Aggregations are not supported for the property: __key__")
    check_path(aggregation.path)
    if query.select is not None and aggregation.path not in query.select:
        raise InvalidArgument(
            f"The aggregation property {'.'.join(aggregation.path)} is not present in the base "
            "query's property mask."
        )


def counted_only(aggregations: Iterable[Aggregation]) -> bool:
    """Whether no document need be looked at."""
    return all(aggregation.kind is Kind.COUNT for aggregation in aggregations)


def from_count(aggregations: Iterable[Aggregation], total: int) -> dict[str, Value]:
    """The results of counts, given the whole count."""
    return {
        aggregation.alias: total if aggregation.up_to is None else min(total, aggregation.up_to)
        for aggregation in aggregations
    }


def most_counted(aggregations: Iterable[Aggregation]) -> int | None:
    """How far counting can be of any use; None: to the end."""
    most = 0
    for aggregation in aggregations:
        if aggregation.up_to is None:
            return None
        most = max(most, aggregation.up_to)
    return most


@dataclass
class _Numbers:
    """The numbers of one field, so far."""

    integers: int = 0
    doubles: list[float] = field(default_factory=list)
    count: int = 0

    def add(self, value: Value) -> None:
        if isinstance(value, float):
            self.doubles.append(value)
        elif isinstance(value, int) and not isinstance(value, bool):
            self.integers += value
        else:
            return
        self.count += 1

    def _double(self) -> float:
        # Python's fsum is exact, but knows no infinite sums.
        finite = [value for value in self.doubles if math.isfinite(value)]
        try:
            exact = math.fsum(finite)
        except OverflowError:
            exact = sum(finite)
        special = sum(value for value in self.doubles if not math.isfinite(value))
        return float(self.integers) + exact + special + 0.0

    def sum(self) -> Value:
        if self.doubles or not -MAX_INT - 1 <= self.integers <= MAX_INT:
            return self._double()
        return self.integers

    def avg(self) -> Value:
        return self._double() / self.count if self.count else None


def aggregate(
    aggregations: Sequence[Aggregation], documents: Iterable[Stored]
) -> Mapping[str, Value]:
    """The results by alias, over the documents of the query's result."""
    paths = {one.path for one in aggregations if one.kind is not Kind.COUNT}
    numbers = {path: _Numbers() for path in paths}
    total = 0
    for document in documents:
        values = {path: get_field(document.fields, path) for path in paths}
        if any(value is MISSING for value in values.values()):
            continue
        total += 1
        for path, value in values.items():
            if value is not MISSING:
                numbers[path].add(value)
    results = from_count([one for one in aggregations if one.kind is Kind.COUNT], total)
    for one in aggregations:
        if one.kind is Kind.SUM:
            results[one.alias] = numbers[one.path].sum()
        elif one.kind is Kind.AVG:
            results[one.alias] = numbers[one.path].avg()
    return results

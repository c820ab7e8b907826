"""count, sum and avg by the table."""

import math
from typing import Any

import pytest

from emulator.errors import InvalidArgument
from emulator.firestore.aggregate import Aggregation, Kind, aggregate, checked
from emulator.firestore.query import NAME_PATH, Query, Scope
from emulator.firestore.writes import Document

ALL = Query(Scope((), "c"))
X = ("x",)
COUNT = Aggregation(Kind.COUNT)
SUM = Aggregation(Kind.SUM, path=X)
AVG = Aggregation(Kind.AVG, path=X)
MAX = 2**63 - 1


def run(aggregations: list[Aggregation], *rows: dict[str, Any]) -> dict[str, Any]:
    documents = [Document(("c", str(at)), row, 1, 1) for at, row in enumerate(rows)]
    return dict(aggregate(checked(ALL, aggregations), documents))


@pytest.mark.parametrize(
    ("values", "total", "average"),
    [
        ([], 0, None),
        ([1, 2, 3], 6, 2.0),
        ([1, 2.5], 3.5, 1.75),
        ([1, "s", None, True, [2]], 1, 1.0),
        (["s"], 0, None),
        ([1.5, math.nan], math.nan, math.nan),
        ([MAX, MAX, -5], 1.8446744073709552e19, 6.148914691236517e18),
        ([MAX, 1, 1.0], 9.223372036854775808e18, 3.0744573456182584e18),
        ([MAX, -1], MAX - 1, 4.611686018427388e18),
        ([-0.0, -0.0], 0.0, 0.0),
        ([math.inf, 1], math.inf, math.inf),
        ([math.inf, -math.inf], math.nan, math.nan),
        ([1e308, 1e308], math.inf, math.inf),
        ([0.1] * 10, 1.0, 0.1),
    ],
    ids=str,
)
def test_sum_and_average(values: list[Any], total: Any, average: Any) -> None:
    """Observed on gcloud Firestore emulator 1.19.9; integers stay integers while they fit."""
    result = run([SUM, AVG], *({"x": value} for value in values))
    assert repr(result) == repr({"field_1": total, "field_2": average})


def test_documents_without_a_field_that_is_summed_count_for_nothing() -> None:
    """Whatever else is counted beside it."""
    rows = ({"x": 1}, {"y": 1}, {"x": "s", "y": 2})
    other = Aggregation(Kind.SUM, "y", ("y",))
    assert run([COUNT], *rows) == {"field_1": 3}
    assert run([COUNT, SUM], *rows) == {"field_1": 2, "field_2": 1}
    assert run([COUNT, SUM, other], *rows) == {"field_1": 1, "field_2": 0, "y": 2}


def test_a_count_stops_at_its_bound_alone() -> None:
    """COUNT_UP_TO bounds itself; unnamed ones are numbered in turn."""
    rows = [{"x": 1}] * 5
    bounded = Aggregation(Kind.COUNT, "few", up_to=2)
    assert run([COUNT, bounded, COUNT], *rows) == {"field_1": 5, "few": 2, "field_2": 5}


@pytest.mark.parametrize(
    ("aggregations", "text"),
    [
        ([], "Aggregations can not be empty."),
        (
            [COUNT] * 6,
            "The maximum number of aggregations allowed in an aggregation query is 5. Received: 6.",
        ),
        (
            [Aggregation(Kind.COUNT, "s"), Aggregation(Kind.COUNT, "s")],
            "Aggregation aliases contain duplicate alias: s.",
        ),
        ([Aggregation(Kind.COUNT, "__s__")], 'The property.name "__s__" is reserved.'),
        (
            [Aggregation(Kind.COUNT, up_to=0)],
            "The `up_to` value in a COUNT aggregation must be greater than zero.",
        ),
        (
            [Aggregation(Kind.SUM, path=NAME_PATH)],
            "Aggregations are not supported for the property: __key__",
        ),
    ],
)
def test_what_is_refused_and_how(aggregations: list[Aggregation], text: str) -> None:
    """Texts observed on gcloud Firestore emulator 1.19.9, which takes an up_to of zero."""
    with pytest.raises(InvalidArgument) as refused:
        checked(ALL, aggregations)
    assert refused.value.message == text


def test_a_field_that_is_not_selected_cannot_be_summed() -> None:
    """The projection comes first."""
    with pytest.raises(InvalidArgument, match="The aggregation property x is not present"):
        checked(Query(Scope((), "c"), select=(("y",),)), [SUM])

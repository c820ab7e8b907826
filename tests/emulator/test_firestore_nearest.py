"""find_nearest by the table."""

import math
from typing import Any

import pytest

from emulator.firestore.nearest import rank
from emulator.firestore.query import Measure, Nearest
from emulator.firestore.values import Vector
from emulator.firestore.writes import Document

STORED: dict[str, Any] = {
    "a": Vector((1.0, 0.0)),
    "b": Vector((0.0, 1.0)),
    "c": Vector((3.0, 4.0)),
    "d": Vector((0.0, 0.0)),
    "other dimension": Vector((1.0, 2.0, 3.0)),
    "array": [1.0, 1.0],
    "null": None,
}
DOCUMENTS = [
    Document(("c", name), {"v": value, "m": {"v": value}}, 1, 1) for name, value in STORED.items()
]


def nearest(
    measure: Measure, limit: int = 10, threshold: float | None = None, path: str = "v"
) -> dict[str, float]:
    asked = Nearest(tuple(path.split(".")), Vector((1.0, 1.0)), measure, limit, "", threshold)
    return {document.name[1]: how_far for document, how_far in rank(asked, DOCUMENTS)}


@pytest.mark.parametrize(
    ("measure", "distances"),
    [
        (Measure.EUCLIDEAN, {"a": 1.0, "b": 1.0, "d": math.sqrt(2), "c": math.sqrt(13)}),
        (
            Measure.COSINE,
            {"c": 1 - 7 / math.sqrt(50), "a": 1 - math.sqrt(0.5), "b": 1 - math.sqrt(0.5)},
        ),
        (Measure.DOT_PRODUCT, {"c": 7.0, "a": 1.0, "b": 1.0, "d": 0.0}),
    ],
)
def test_distances_and_their_order(measure: Measure, distances: dict[str, float]) -> None:
    """Other dimensions and types are left out; a zero vector's cosine is NaN, and last."""
    measured = nearest(measure)
    if measure is Measure.COSINE:
        assert math.isnan(measured.pop("d"))
    assert measured == pytest.approx(distances)
    assert list(measured) == list(distances)


@pytest.mark.parametrize(
    ("measure", "threshold", "names"),
    [
        (Measure.EUCLIDEAN, 1.0, "ab"),
        (Measure.COSINE, 0.1, "c"),
        (Measure.COSINE, 2.0, "cab"),
        (Measure.DOT_PRODUCT, 1.0, "cab"),
        (Measure.DOT_PRODUCT, 8.0, ""),
    ],
)
def test_a_threshold_includes_its_own_distance(
    measure: Measure, threshold: float, names: str
) -> None:
    """At most it, or for the dot product at least."""
    assert "".join(nearest(measure, threshold=threshold)) == names


def test_the_limit_and_a_nested_field() -> None:
    """A nested vector is found like another (Google's emulator 1.19.9 finds none)."""
    assert list(nearest(Measure.EUCLIDEAN, limit=2, path="m.v")) == ["a", "b"]

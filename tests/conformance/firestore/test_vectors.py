"""Vector search: the nearest vectors by each distance."""

import math
from typing import Any

import pytest
from google.api_core.exceptions import InvalidArgument
from google.cloud import firestore
from google.cloud.firestore_v1 import FieldFilter
from google.cloud.firestore_v1.base_vector_query import DistanceMeasure
from google.cloud.firestore_v1.vector import Vector

from tests.conformance.features import feature
from tests.conformance.firestore.pages import VECTOR
from tests.conformance.firestore.raw import Raw, to_value

POINTS = {"east": [1.0, 0.0], "far_east": [5.0, 0.0], "north": [0.0, 1.0], "near": [0.9, 0.2]}


@pytest.fixture
def points(db: firestore.Client) -> firestore.CollectionReference:
    for name, point in POINTS.items():
        db.document(f"points/{name}").set({"at": Vector(point), "axis": name in {"east", "north"}})
    db.document("points/three").set({"at": Vector([1.0, 0.0, 0.0]), "axis": True})
    db.document("points/text").set({"at": "here", "axis": True})
    collection: firestore.CollectionReference = db.collection("points")
    return collection


def nearest(query: Any, measure: DistanceMeasure, limit: int = 10, **more: Any) -> Any:
    return query.find_nearest(
        vector_field="at",
        query_vector=Vector([1.0, 0.0]),
        distance_measure=measure,
        limit=limit,
        distance_result_field="distance",
        **more,
    ).get()


NEAR = math.hypot(0.1, 0.2)
COSINE = 1 - 0.9 / math.hypot(0.9, 0.2)
DISTANCES: list[tuple[DistanceMeasure, list[tuple[str, float]]]] = [
    (
        DistanceMeasure.EUCLIDEAN,
        [("east", 0.0), ("near", NEAR), ("north", math.sqrt(2)), ("far_east", 4.0)],
    ),
    (
        DistanceMeasure.COSINE,
        [("east", 0.0), ("far_east", 0.0), ("near", COSINE), ("north", 1.0)],
    ),
    (
        DistanceMeasure.DOT_PRODUCT,
        [("far_east", 5.0), ("east", 1.0), ("near", 0.9), ("north", 0.0)],
    ),
]


@feature("Nearest vectors by three distances", production=VECTOR)
@pytest.mark.parametrize(("measure", "wanted"), DISTANCES, ids=lambda v: getattr(v, "name", ""))
def test_nearest_are_found_in_order(
    points: firestore.CollectionReference, measure: DistanceMeasure, wanted: list[tuple[str, float]]
) -> None:
    """Vectors of the same dimension, nearest first, each with its distance."""
    found = [(snapshot.id, snapshot.get("distance")) for snapshot in nearest(points, measure)]
    assert [name for name, _ in found] == [name for name, _ in wanted]
    assert [far for _, far in found] == pytest.approx([far for _, far in wanted])


@feature("Nearest vectors: limit, filter and threshold", production=VECTOR)
def test_limit_filter_and_threshold(points: firestore.CollectionReference) -> None:
    """A filter narrows what is searched, a threshold what is found, a limit how many."""
    measure = DistanceMeasure.EUCLIDEAN
    assert [s.id for s in nearest(points, measure, limit=2)] == ["east", "near"]
    on_axis = points.where(filter=FieldFilter("axis", "==", True))
    assert [s.id for s in nearest(on_axis, measure)] == ["east", "north"]
    found = nearest(points, measure, distance_threshold=1.0)
    assert [s.id for s in found] == ["east", "near"]
    found = nearest(points, DistanceMeasure.DOT_PRODUCT, distance_threshold=1.0)
    assert [s.id for s in found] == ["far_east", "east"]


@feature(
    "Nearest vectors of a nested field", production=VECTOR, gcloud="finds nothing in a nested field"
)
def test_vector_in_a_map_is_found(db: firestore.Client) -> None:
    """The vector field may be a path into maps."""
    db.document("nested/one").set({"a": {"at": Vector([1.0, 2.0])}})
    query = db.collection("nested").find_nearest(
        vector_field="a.at",
        query_vector=Vector([1.0, 2.0]),
        distance_measure=DistanceMeasure.EUCLIDEAN,
        limit=1,
    )
    assert [snapshot.id for snapshot in query.get()] == ["one"]


@feature("Vectors have at most 2048 dimensions", production=VECTOR)
@pytest.mark.parametrize(
    ("size", "accepted"),
    [(2048, True), (2049, False)],
)
def test_dimensions_are_limited(db: firestore.Client, size: int, accepted: bool) -> None:
    """2048 dimensions are stored, 2049 are INVALID_ARGUMENT."""
    vector = Vector([0.5] * size)
    if accepted:
        db.document("large/one").set({"v": vector})
        assert db.document("large/one").get().get("v") == vector
    else:
        with pytest.raises(InvalidArgument):
            db.document("large/one").set({"v": vector})


@feature("Odd vector searches are refused", production=VECTOR)
@pytest.mark.parametrize(
    "odd",
    [
        pytest.param({"limit": {"value": 0}}, id="limit 0"),
        pytest.param({"limit": {"value": 1001}}, id="limit 1001"),
        pytest.param({"limit": None}, id="no limit"),
        pytest.param({"distance_measure": 0}, id="no distance"),
        pytest.param({"query_vector": to_value([1.0])}, id="no vector"),
    ],
)
def test_odd_search_is_refused(raw: Raw, odd: dict[str, Any]) -> None:
    """A search without a vector, a distance or a limit from 1 to 1000 is INVALID_ARGUMENT."""
    vector = to_value(
        {"__type__": "__vector__", "value": [1.0, 0.0]},
    )
    search = {
        "vector_field": {"field_path": "at"},
        "query_vector": vector,
        "distance_measure": "EUCLIDEAN",
        "limit": {"value": 1},
    }
    raw.query("points", find_nearest=search)
    with pytest.raises(InvalidArgument):
        raw.query("points", find_nearest=search | odd)

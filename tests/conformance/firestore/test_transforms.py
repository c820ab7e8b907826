"""Transforms: what the server computes into a field, and the result it returns."""

import datetime
import math
from typing import Any

import pytest
from google.api_core.exceptions import InvalidArgument
from google.cloud import firestore
from google.cloud.firestore_v1 import types

from tests.conformance.features import feature
from tests.conformance.firestore.pages import TRANSFORM, WRITE
from tests.conformance.firestore.raw import Raw, to_value


def transformed(raw: Raw, before: dict[str, Any], **transform: Any) -> tuple[Any, Any]:
    """The field `v` after one transform of it, and the result that the commit returned."""
    raw.commit(raw.put("t/one", **before))
    write = types.Write(
        transform=types.DocumentTransform(
            document=raw.name("t/one"), field_transforms=[{"field_path": "v", **transform}]
        )
    )
    reply = raw.commit(write)
    return raw.get("t/one").fields["v"], reply.write_results[0].transform_results[0]


NUMBERS: list[tuple[str, dict[str, Any], Any, Any]] = [
    ("increment", {"v": 1}, 2, 3),
    ("increment", {"v": 1}, 0.5, 1.5),
    ("increment", {"v": 1.5}, 1, 2.5),
    ("increment", {}, 5, 5),
    ("increment", {"v": "text"}, 5, 5),
    ("increment", {"v": 2**63 - 1}, 1, 2**63 - 1),
    ("increment", {"v": -(2**63)}, -1, -(2**63)),
    ("maximum", {"v": 1}, 2, 2),
    ("maximum", {"v": 3}, 2.0, 3),
    ("maximum", {"v": 3}, 3.0, 3),
    ("maximum", {"v": 3.0}, 3, 3.0),
    ("maximum", {"v": "text"}, 1, 1),
    ("minimum", {"v": 1}, 2, 1),
    ("minimum", {"v": 3}, 2.5, 2.5),
    ("minimum", {}, 7, 7),
]


@feature("Transforms: increment, maximum, minimum", production=TRANSFORM)
@pytest.mark.parametrize(("kind", "before", "operand", "after"), NUMBERS)
def test_number_transform(
    raw: Raw, kind: str, before: dict[str, Any], operand: Any, after: Any
) -> None:
    """The field and the returned result agree; integers saturate, types mix as documented."""
    stored, result = transformed(raw, before, **{kind: to_value(operand)})
    assert stored == result == to_value(after)


@feature("Transforms: increment, maximum, minimum", production=TRANSFORM)
@pytest.mark.parametrize("kind", ["maximum", "minimum"])
def test_nan_wins(raw: Raw, kind: str) -> None:
    """The maximum and the minimum of anything and NaN are NaN."""
    stored, _ = transformed(raw, {"v": 1}, **{kind: to_value(math.nan)})
    assert math.isnan(stored.double_value)


@feature("Transforms: increment, maximum, minimum", production=TRANSFORM)
def test_increment_by_a_text_is_refused(raw: Raw) -> None:
    """An operand that is no number is INVALID_ARGUMENT."""
    with pytest.raises(InvalidArgument):
        transformed(raw, {}, increment=to_value("1"))


ARRAYS: list[tuple[str, dict[str, Any], list[Any], list[Any]]] = [
    ("append_missing_elements", {"v": [1, 2]}, [2, 3, 3], [1, 2, 3]),
    ("append_missing_elements", {"v": [1]}, [1.0, True], [1, True]),
    ("append_missing_elements", {}, ["a", "a"], ["a"]),
    ("append_missing_elements", {"v": "text"}, [1], [1]),
    ("append_missing_elements", {"v": [{"a": 1}]}, [{"a": 1}, {"a": 2}], [{"a": 1}, {"a": 2}]),
    ("remove_all_from_array", {"v": [1, 2, 1, 3]}, [1], [2, 3]),
    ("remove_all_from_array", {"v": [1, 1.0, True]}, [1.0], [True]),
    ("remove_all_from_array", {}, [1], []),
    ("remove_all_from_array", {"v": 5}, [1], []),
]


@feature("Transforms: array union and removal", production=TRANSFORM)
@pytest.mark.parametrize(("kind", "before", "operand", "after"), ARRAYS)
def test_array_transform(
    raw: Raw, kind: str, before: dict[str, Any], operand: list[Any], after: list[Any]
) -> None:
    """Equal elements are added once and removed everywhere; the result returned is null."""
    stored, result = transformed(raw, before, **{kind: to_value(operand).array_value})
    assert stored == to_value(after)
    assert result == to_value(None)


@feature("Transforms: server timestamp", production=TRANSFORM)
def test_server_timestamp_is_the_commit_time(raw: Raw) -> None:
    """All server timestamps of one commit are one time, near its commit time."""
    transform = {"field_path": "t", "set_to_server_value": "REQUEST_TIME"}
    writes = [
        types.Write(update=raw.document(path, v=1), update_transforms=[transform])
        for path in ("users/ann", "users/ben")
    ]
    reply = raw.commit(*writes)
    times = [raw.get(path).fields["t"].timestamp_value for path in ("users/ann", "users/ben")]
    assert times[0] == times[1] == reply.write_results[0].transform_results[0].timestamp_value
    assert abs(times[0] - reply.commit_time) < datetime.timedelta(seconds=1)


@feature("Transforms apply after the update of the same write", production=WRITE)
def test_transforms_follow_the_update(db: firestore.Client) -> None:
    """One set carries fields and transforms; transforms of nested paths keep their siblings."""
    db.document("users/ann").set(
        {"a": {"n": firestore.Increment(1), "keep": 1}, "list": firestore.ArrayUnion([1])}
    )
    db.document("users/ann").update({"a.n": firestore.Increment(2), "b": 2})
    assert db.document("users/ann").get().to_dict() == {
        "a": {"n": 3, "keep": 1},
        "list": [1],
        "b": 2,
    }


@feature("Transforms apply after the update of the same write", production=WRITE)
def test_transforms_of_one_field_apply_in_order(raw: Raw) -> None:
    """Two transforms of one field in one write are applied one after the other."""
    transforms = [
        {"field_path": "v", "increment": to_value(1)},
        {"field_path": "v", "increment": to_value(2)},
    ]
    write = types.Write(update=raw.document("t/one", v=10), update_transforms=transforms)
    results = raw.commit(write).write_results[0].transform_results
    assert list(results) == [to_value(11), to_value(13)]

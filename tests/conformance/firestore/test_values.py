"""Values: every type goes in and comes out as it was, and all have one order."""

import datetime
import math

import pytest
from google.api_core.datetime_helpers import DatetimeWithNanoseconds
from google.api_core.exceptions import InvalidArgument
from google.cloud import firestore
from google.cloud.firestore_v1 import GeoPoint, types
from google.cloud.firestore_v1.base_query import FieldFilter
from google.cloud.firestore_v1.vector import Vector

from tests.conformance.features import feature
from tests.conformance.firestore.pages import TYPES
from tests.conformance.firestore.raw import Raw, to_value

NOON = datetime.datetime(2026, 2, 28, 12, 0, 0, 123456, tzinfo=datetime.UTC)

ROUND_TRIPS = {
    "null": None,
    "true": True,
    "false": False,
    "integer": 42,
    "largest_integer": 2**63 - 1,
    "smallest_integer": -(2**63),
    "double": 1.5,
    "smallest_double": 5e-324,
    "infinity": math.inf,
    "string": "naïve \U0001d4b3 \u2028 \x00",
    "empty_string": "",
    "bytes": b"\x00\xff",
    "timestamp": NOON,
    "geo_point": GeoPoint(-89.5, 179.25),
    "array": [1, "two", None, {"three": [3]}],
    "empty_array": [],
    "map": {"a": {"b": {"c": 1}}, "with.dot": 2, "`tick`": 3},
    "empty_map": {},
    "vector": Vector([0.5, -1.0, 2.0]),
}


@feature("Values of every type are kept", production=TYPES)
@pytest.mark.parametrize("name", ROUND_TRIPS)
def test_value_comes_back_as_it_was_written(db: firestore.Client, name: str) -> None:
    """A value is read back equal and of the same type."""
    reference = db.document("values/one")
    reference.set({"value": ROUND_TRIPS[name]})
    found = reference.get().get("value")
    assert found == ROUND_TRIPS[name]
    assert type(found) in {type(ROUND_TRIPS[name]), DatetimeWithNanoseconds}


@feature("Integers, doubles and booleans are three types", production=TYPES)
def test_one_keeps_its_type(db: firestore.Client) -> None:
    """1, 1.0 and True differ in type after a round trip."""
    db.document("values/ones").set({"values": [1, 1.0, True]})
    found = db.document("values/ones").get().get("values")
    assert [type(value) for value in found] == [int, float, bool]


@feature("NaN and negative zero are kept", production=TYPES)
def test_nan_and_negative_zero_are_kept(db: firestore.Client) -> None:
    """NaN stays NaN and -0.0 keeps its sign."""
    db.document("values/doubles").set({"nan": math.nan, "zero": -0.0})
    found = db.document("values/doubles").get()
    assert math.isnan(found.get("nan"))
    assert math.copysign(1, found.get("zero")) == -1


@feature("References are kept, to other databases too", production=TYPES)
def test_reference_comes_back_as_a_document_reference(db: firestore.Client, raw: Raw) -> None:
    """A reference comes back as one, whether or not the document exists."""
    db.document("values/link").set({"to": db.document("a/b/c/d")})
    assert db.document("values/link").get().get("to") == db.document("a/b/c/d")
    elsewhere = "projects/other/databases/second/documents/x/y"
    raw.commit(raw.put("values/far", to=types.Value(reference_value=elsewhere)))
    assert raw.get("values/far").fields["to"].reference_value == elsewhere


@feature("Timestamps are cut to microseconds", production=TYPES)
def test_timestamp_is_rounded_down_to_microseconds(raw: Raw) -> None:
    """Nanoseconds beyond the microsecond are dropped, not rounded."""
    fine = types.Value()
    fine._pb.timestamp_value.seconds, fine._pb.timestamp_value.nanos = 1, 123456999
    raw.commit(raw.put("values/time", at=fine))
    assert raw.get("values/time").fields["at"]._pb.timestamp_value.nanos == 123456000


def ascending(db: firestore.Client) -> list[object]:
    """One value of every kind, in the order that production documents."""
    return [
        None,
        False,
        True,
        math.nan,
        -math.inf,
        -(2**63),
        -1.5,
        -1,
        0,
        5e-324,
        1,
        1.5,
        2,
        2**53 + 2,
        math.inf,
        datetime.datetime(1, 1, 1, tzinfo=datetime.UTC),
        NOON,
        NOON + datetime.timedelta(microseconds=1),
        "",
        "A",
        "a",
        "aa",
        "b",
        "é",
        "\uffee",
        "\U0001d4b3",  # after U+FFEE in UTF-8, before it in UTF-16
        b"",
        b"\x00",
        b"\x00\x01",
        b"\xff",
        db.document("a/b"),
        db.document("a/b/c/d"),
        db.document("a/ba"),
        db.document("b/a"),
        GeoPoint(-1, 5),
        GeoPoint(0, -5),
        GeoPoint(0, 5),
        [],
        [1],
        [1, 2, 3],
        [1, 2, 3, 1],
        [2],
        ["a"],
        Vector([3.0]),
        Vector([1.0, 2.0]),
        Vector([1.0, 3.0]),
        {},
        {"a": "aaa", "b": "baz"},
        {"a": "foo", "b": "bar"},
        {"a": "foo", "b": "bar", "c": "qux"},
        {"a": "foo", "b": "baz"},
        {"b": "aaa", "c": "baz"},
        {"c": "aaa"},
    ]


@feature("All values have one order", production=f"{TYPES}#value_type_ordering")
@pytest.mark.parametrize("direction", ["ASCENDING", "DESCENDING"])
def test_values_of_all_types_are_ordered(db: firestore.Client, direction: str) -> None:
    """Ordering by a field of mixed types follows the documented order of types and values."""
    values = ascending(db)
    batch = db.batch()
    for position, value in enumerate(values):
        # The ids run against the order of the values, so that they cannot be what sorts.
        batch.set(db.document(f"mixed/{len(values) - position:03}"), {"v": value, "at": position})
    batch.commit()
    found = [s.get("at") for s in db.collection("mixed").order_by("v", direction=direction).get()]
    wanted = list(range(len(values)))
    assert found == (wanted if direction == "ASCENDING" else wanted[::-1])


@feature("Integers and doubles compare as numbers", production=f"{TYPES}#numeric_ordering")
def test_large_integers_and_doubles_are_compared_exactly(db: firestore.Client) -> None:
    """2^53 as a double sorts before the integer 2^53+1, which no double can hold."""
    db.document("big/1").set({"v": 2**53 + 1})
    db.document("big/2").set({"v": float(2**53)})
    db.document("big/3").set({"v": 2**53 - 1})
    assert [s.id for s in db.collection("big").order_by("v").get()] == ["3", "2", "1"]


@feature("Equality ignores the kind of number", production=f"{TYPES}#numeric_ordering")
@pytest.mark.parametrize(
    ("value", "ids"),
    [
        (1, {"integer", "double"}),
        (1.0, {"integer", "double"}),
        (True, {"boolean"}),
        (0, {"zero", "negative_zero"}),
    ],
)
def test_equality_of_numbers(db: firestore.Client, value: object, ids: set[str]) -> None:
    """1 finds 1.0 and not true; 0 finds -0.0."""
    numbers = {"integer": 1, "double": 1.0, "boolean": True, "zero": 0, "negative_zero": -0.0}
    for name, number in numbers.items():
        db.document(f"numbers/{name}").set({"v": number})
    found = db.collection("numbers").where(filter=FieldFilter("v", "==", value)).get()
    assert {snapshot.id for snapshot in found} == ids


@feature("Arrays and maps are equal by their elements", production=TYPES)
@pytest.mark.parametrize(
    "value", [[1, {"a": 2}], {"b": 1, "a": [2]}, GeoPoint(1, 2), b"\x01", NOON, [], {}]
)
def test_equality_of_composed_values(db: firestore.Client, value: object) -> None:
    """A map is found whatever the order of its keys; a longer or shorter value is not."""
    db.document("same/yes").set({"v": value})
    db.document("same/no").set({"v": "other"})
    found = db.collection("same").where(filter=FieldFilter("v", "==", value)).get()
    assert [snapshot.id for snapshot in found] == ["yes"]


def year_10000() -> types.Value:
    value = types.Value()
    value._pb.timestamp_value.seconds = 253402300800
    return value


@feature("Values that cannot be are refused", production=TYPES)
@pytest.mark.parametrize(
    "value",
    [
        pytest.param(to_value([[1]]), id="array in array"),
        pytest.param(types.Value(), id="no type"),
        pytest.param(to_value(GeoPoint(90.5, 0)), id="latitude"),
        pytest.param(to_value(GeoPoint(0, 180.5)), id="longitude"),
        pytest.param(types.Value(reference_value="a/b"), id="reference"),
        pytest.param(year_10000(), id="year 10000"),
    ],
)
def test_impossible_value_is_refused(raw: Raw, value: types.Value) -> None:
    """What is no Firestore value is INVALID_ARGUMENT and writes nothing."""
    with pytest.raises(InvalidArgument):
        raw.commit(raw.put("values/bad", value=value))
    assert raw.query("values")[0].document.name == ""

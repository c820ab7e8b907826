"""Firestore's values: one total order, identity by type and bits, field paths there and back."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.errors import InvalidArgument
from emulator.firestore.values import (
    MISSING,
    GeoPoint,
    Reference,
    Timestamp,
    Vector,
    format_field_path,
    get_field,
    order_key,
    parse_field_path,
    same_value,
)

ROOT = "projects/p/databases/d/documents"

# The documented order, least first; every line is strictly less than the next.
ASCENDING = [
    None,
    False,
    True,
    math.nan,
    -math.inf,
    -(2**63),
    -1,
    -0.5,
    0,
    1,
    1.5,
    2**53,
    2**53 + 1,  # a double could not tell these two apart
    float(2**53 + 2),
    2**63 - 1,
    math.inf,
    Timestamp(-1),
    Timestamp(5),
    "",
    "A",
    "a",
    "\uffff",
    "\U0001f600",  # after U+FFFF in UTF-8, before it in UTF-16
    b"",
    b"\x00",
    b"\xff",
    Reference(f"{ROOT}/c/__id7__"),
    Reference(f"{ROOT}/c/__id10__"),
    Reference(f"{ROOT}/c/10"),
    Reference(f"{ROOT}/c/a"),
    Reference(f"{ROOT}/c/a/b/c"),
    Reference(f"{ROOT}/c/aa"),
    GeoPoint(-90, 0),
    GeoPoint(1, -2),
    GeoPoint(1, 2),
    [],
    [1, 2],
    [2],
    ["a"],
    Vector((9.0,)),
    Vector((1.0, 2.0)),
    Vector((1.0, 3.0)),
    {},
    {"a": 1},
    {"a": 1, "b": 0},
    {"a": 2},
    {"b": None},
]


def test_values_order_as_documented():
    """Sorting by key gives the documented order, and no two of the table are equal."""
    keys = [order_key(value) for value in ASCENDING]
    assert sorted(keys) == keys
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(
    ("left", "right"),
    [(1, 1.0), (0, -0.0), (0.0, -0.0), ([1], [1.0]), ({"a": 0}, {"a": -0.0})],
)
def test_equal_to_a_query_is_not_the_same_to_a_write(left, right):
    """Keys agree where queries call values equal; identity still tells types and signs apart."""
    assert order_key(left) == order_key(right)
    assert not same_value(left, right)


def test_nan_is_the_same_as_nan():
    """Python's NaN differs from itself; Firestore's does not, alone or inside a value."""
    assert order_key(math.nan) == order_key(-math.nan)
    assert same_value(math.nan, float("nan"))
    assert same_value({"a": [math.nan]}, {"a": [float("nan")]})


@pytest.mark.parametrize("pair", [(True, 1), (1, 1.0), (0.0, -0.0), (None, False), ("a", b"a")])
def test_identity_tells_types_apart(pair):
    """A write that changes only the type of a value is a change."""
    assert not same_value(*pair)
    assert not same_value([pair[0]], [pair[1]])
    assert not same_value({"k": pair[0]}, {"k": pair[1]})


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=5)
    | st.builds(Timestamp, st.integers(0, 10))
    | st.builds(Vector, st.lists(st.floats(), max_size=3).map(tuple))
    | st.builds(GeoPoint, st.floats(-90, 90), st.floats(-180, 180)),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=3), children, max_size=3)
    ),
    max_leaves=8,
)


@given(values, values)
def test_any_two_values_compare(left, right):
    """The order is total: keys of any two values compare, and identity implies equality."""
    one, other = order_key(left), order_key(right)
    assert (one < other) + (one == other) + (one > other) == 1
    assert same_value(left, left)
    if same_value(left, right):
        assert one == other


@given(st.lists(st.text(min_size=1, max_size=6), min_size=1, max_size=4).map(tuple))
def test_field_paths_come_back(path):
    """Formatting quotes whatever must be, so that parsing gives the same segments."""
    assert parse_field_path(format_field_path(path)) == path


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("a", ("a",)),
        ("a.b_1", ("a", "b_1")),
        ("`a.b`.c", ("a.b", "c")),
        (r"`a\`b`", ("a`b",)),
        (r"`a\\b`", ("a\\b",)),
        ("__name__", ("__name__",)),
    ],
)
def test_field_paths_parse(text, path):
    """Backquotes keep dots, a backslash escapes."""
    assert parse_field_path(text) == path


@pytest.mark.parametrize("text", ["", ".", "a.", ".a", "a..b", "1a", "a-b", "`a", "``", "`a`b"])
def test_bad_field_paths_are_refused(text):
    """An empty segment, or an unquoted one that needs quotes, is INVALID_ARGUMENT."""
    with pytest.raises(InvalidArgument):
        parse_field_path(text)


def test_a_missing_field_is_not_a_null_one():
    """A path through something that is no map, or to no key, is MISSING."""
    fields = {"a": {"b": None}, "c": 1}
    assert get_field(fields, ("a", "b")) is None
    assert get_field(fields, ("a", "x")) is MISSING
    assert get_field(fields, ("c", "x")) is MISSING


def test_long_strings_are_ordered_whole():
    """Production orders them by their first 1,500 bytes."""
    assert order_key("x" * 1500 + "a") < order_key("x" * 1500 + "b")

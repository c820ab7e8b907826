"""Firestore's writes: masks, preconditions, transforms, what changes nothing, limits."""

import math

import pytest

from emulator.clock import SECOND_US
from emulator.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
)
from emulator.firestore.limits import MAX_DOCUMENT_BYTES, document_bytes, index_entries
from emulator.firestore.paths import DatabaseName
from emulator.firestore.store import Database, Store
from emulator.firestore.transforms import Kind, Transform
from emulator.firestore.values import GeoPoint, Reference, Timestamp, Vector, same_value
from emulator.firestore.writes import Operation, Precondition, Write

NOW = 1_700_000_000 * SECOND_US + 123_456
NAME = ("c", "d")


@pytest.fixture
def database() -> Database:
    return Store().database(DatabaseName("p", "(default)"))


def write(fields=None, mask=None, transforms=(), precondition=None):
    return Write(
        Operation.UPDATE,
        NAME,
        fields or {},
        mask,
        tuple(transforms),
        precondition or Precondition(),
    )


def fields_after(database, *writes):
    for one in writes:
        database.commit([one], NOW)
    return database.get(NAME).fields


@pytest.mark.parametrize(
    ("update", "mask", "after"),
    [
        ({"x": 1}, None, {"x": 1}),
        ({"x": 1}, (), {"a": {"b": 1, "c": 2}, "k": 0}),
        ({"x": 1}, (("x",),), {"a": {"b": 1, "c": 2}, "k": 0, "x": 1}),
        ({"a": {"b": 9}}, (("a", "b"),), {"a": {"b": 9, "c": 2}, "k": 0}),
        ({}, (("a", "b"),), {"a": {"c": 2}, "k": 0}),
        ({}, (("a", "b"), ("a", "c")), {"a": {}, "k": 0}),
        ({"a": {"b": 9}}, (("a",),), {"a": {"b": 9}, "k": 0}),
        ({}, (("a",), ("k",)), {}),
        ({}, (("k", "deeper"),), {"a": {"b": 1, "c": 2}, "k": 0}),
        ({"k": {"deeper": 1}}, (("k", "deeper"),), {"a": {"b": 1, "c": 2}, "k": {"deeper": 1}}),
    ],
)
def test_a_mask_sets_and_deletes_its_paths(database, update, mask, after):
    """Without a mask all is replaced; with one only its paths, absent values deleting."""
    before = {"a": {"b": 1, "c": 2}, "k": 0}
    assert fields_after(database, write(before), write(update, mask)) == after
    assert before == {"a": {"b": 1, "c": 2}, "k": 0}, "a stored document is never changed in place"


@pytest.mark.parametrize(
    ("precondition", "stored", "error"),
    [
        (Precondition(exists=True), False, NotFound),
        (Precondition(exists=False), True, AlreadyExists),
        (Precondition(update_time_us=5), True, FailedPrecondition),
        (Precondition(update_time_us=5), False, FailedPrecondition),
        (Precondition(exists=True), True, None),
        (Precondition(exists=False), False, None),
        (Precondition(update_time_us=NOW), True, None),
    ],
)
@pytest.mark.parametrize("operation", list(Operation))
def test_preconditions_guard_every_operation(database, precondition, stored, error, operation):
    """A failed one refuses the whole commit, the writes before it too."""
    if stored:
        database.commit([write({"n": 1})], NOW)
    other = Write(Operation.UPDATE, ("c", "other"))
    guarded = Write(operation, NAME, precondition=precondition)
    if error is None:
        database.commit([other, guarded], NOW + 1)
    else:
        with pytest.raises(error):
            database.commit([other, guarded], NOW + 1)
    assert (database.get(("c", "other")) is None) == (error is not None)


def test_later_writes_of_a_commit_see_the_earlier_ones(database):
    """Create, then update what was just created, with the precondition that it exists."""
    created = write({"a": 1}, precondition=Precondition(exists=False))
    updated = write({"b": 2}, (("b",),), precondition=Precondition(exists=True))
    result = database.commit([created, updated], NOW)
    assert database.get(NAME).fields == {"a": 1, "b": 2}
    assert [one.update_time_us for one in result.results] == [NOW, NOW]


def test_a_write_that_changes_nothing_keeps_the_update_time(database):
    """By identity of values: 1 over 1 is nothing, 1.0 over 1 is a change."""
    database.commit([write({"n": 1})], NOW)
    same = database.commit([write({"n": 1})], NOW + 10)
    assert same.results[0].update_time_us == NOW
    assert same.commit_time_us == NOW + 10
    changed = database.commit([write({"n": 1.0})], NOW + 20)
    assert changed.results[0].update_time_us == NOW + 20
    assert database.get(NAME).create_time_us == NOW


_REQUEST_TIME = Timestamp(NOW - 456)  # to the millisecond

TRANSFORMS = [
    # kind, operand, stored (... is missing), field after, result
    (Kind.INCREMENT, 3, ..., 3, 3),
    (Kind.INCREMENT, 3, 4, 7, 7),
    (Kind.INCREMENT, 1.5, 4, 5.5, 5.5),
    (Kind.INCREMENT, 1, 4.0, 5.0, 5.0),
    (Kind.INCREMENT, 1, "text", 1, 1),
    (Kind.INCREMENT, 1, True, 1, 1),
    (Kind.INCREMENT, 1, 2**63 - 1, 2**63 - 1, 2**63 - 1),
    (Kind.INCREMENT, -1, -(2**63), -(2**63), -(2**63)),
    (Kind.MAXIMUM, 3, ..., 3, 3),
    (Kind.MAXIMUM, 3, 2.5, 3, 3),
    (Kind.MAXIMUM, 3.0, 3, 3, 3),
    (Kind.MAXIMUM, -0.0, 0, 0, 0),
    (Kind.MAXIMUM, math.nan, 3, math.nan, math.nan),
    (Kind.MAXIMUM, 3, None, 3, 3),
    (Kind.MINIMUM, 3, 2.5, 2.5, 2.5),
    (Kind.MINIMUM, 2, 3, 2, 2),
    (Kind.MINIMUM, -0.0, 0.0, 0.0, 0.0),
    (Kind.MINIMUM, 3, math.nan, math.nan, math.nan),
    (Kind.APPEND_MISSING_ELEMENTS, [1, 1.0, 2, math.nan, math.nan], ..., [1, 2, math.nan], None),
    (Kind.APPEND_MISSING_ELEMENTS, [2, 3], [1, 1, 2.0], [1, 1, 2.0, 3], None),
    (Kind.APPEND_MISSING_ELEMENTS, [1], "text", [1], None),
    (Kind.REMOVE_ALL_FROM_ARRAY, [1.0], [1, 2, 1], [2], None),
    (Kind.REMOVE_ALL_FROM_ARRAY, [1], ..., [], None),
    (Kind.REMOVE_ALL_FROM_ARRAY, [1], "text", [], None),
    (Kind.SET_TO_SERVER_VALUE, None, 5, _REQUEST_TIME, _REQUEST_TIME),
]


@pytest.mark.parametrize(("kind", "operand", "stored", "after", "result"), TRANSFORMS)
def test_transforms_compute_as_observed(database, kind, operand, stored, after, result):
    """Each transform over a missing, a fitting and an unfitting value; types and signs kept."""
    if stored is not ...:
        database.commit([write({"f": stored})], NOW - 1)
    commit = database.commit([write(mask=(), transforms=[Transform(("f",), kind, operand)])], NOW)
    assert same_value(database.get(NAME).fields["f"], after)
    assert same_value(commit.results[0].transform_results[0], result)


def test_transforms_apply_after_the_update_and_in_order(database):
    """A field may be set and then incremented twice; a nested path makes its maps."""
    transforms = [
        Transform(("n",), Kind.INCREMENT, 1),
        Transform(("n",), Kind.INCREMENT, 10),
        Transform(("a", "b"), Kind.MAXIMUM, 5),
    ]
    result = database.commit([write({"n": 100}, transforms=transforms)], NOW)
    assert database.get(NAME).fields == {"n": 111, "a": {"b": 5}}
    assert result.results[0].transform_results == (101, 111, 5)


@pytest.mark.parametrize(
    "transforms",
    [
        [Transform(("a",), Kind.INCREMENT, "1")],
        [Transform(("a",), Kind.MAXIMUM, None)],
        [Transform(("a",), Kind.MINIMUM, True)],
        [Transform(("a", "b"), Kind.INCREMENT, 1), Transform(("a",), Kind.INCREMENT, 1)],
        [Transform((f"f{n}",), Kind.INCREMENT, 1) for n in range(501)],
    ],
)
def test_bad_transforms_are_refused(database, transforms):
    """Operands that are no numbers, a path inside another, more than 500 of one document."""
    with pytest.raises(InvalidArgument):
        database.commit([write({}, transforms=transforms)], NOW)
    assert database.get(NAME) is None


def nested(levels):
    value = 1
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    "fields",
    [
        {"": 1},
        {"__x__": 1},
        {"a": {"__x__": 1}},
        {"f" * 1501: 1},
        {"a": [[1]]},
        {"a": [Vector((1.0,))]},
        {"a": [{"b": [[]]}]},
        {"a": nested(21)},
        {"a": "x" * 1_048_488},
        {"a": "x" * 600_000, "b": "x" * 600_000},
        {f"f{n}": n for n in range(20_001)},
        {"a": list(range(40_001))},
        {"a": Vector((1.0,) * 2049)},
    ],
    ids=lambda fields: next(iter(fields))[:10],
)
def test_documents_over_a_limit_are_refused(database, fields):
    """INVALID_ARGUMENT, and nothing is stored."""
    with pytest.raises(InvalidArgument):
        database.commit([write(fields)], NOW)
    assert database.get(NAME) is None


@pytest.mark.parametrize(
    "fields",
    [
        {"f" * 1500: 1, "_": 1, "__x": 1, "é.`\\": 1},
        {"a": [{"b": [1]}]},
        {"a": nested(20)},
        {f"f{n}": n for n in range(20_000)},
        {"a": [1] * 50_000},
        {"a": Vector((1.0,) * 2048)},
    ],
    ids=lambda fields: next(iter(fields))[:10],
)
def test_documents_at_a_limit_are_stored(database, fields):
    """The last size that is allowed."""
    assert fields_after(database, write(fields)) == fields


def test_a_document_of_exactly_the_limit_is_stored(database):
    """One byte more is refused, and the message says both sizes."""
    room = MAX_DOCUMENT_BYTES - document_bytes(NAME, {"a": "", "b": ""})
    database.commit([write({"a": "x" * 1_000_000, "b": "x" * (room - 1_000_000)})], NOW)
    with pytest.raises(InvalidArgument, match=r"1,048,577 bytes.*1,048,576 bytes"):
        database.commit([write({"a": "x" * 1_000_000, "b": "x" * (room - 999_999)})], NOW)


def test_sizes_count_as_documented():
    """The example of the documentation: users/jeff/tasks/my_task_id is 147 bytes."""
    name = ("users", "jeff", "tasks", "my_task_id")
    fields = {
        "type": "Personal",
        "done": False,
        "priority": 1,
        "description": "Learn Cloud Firestore",
    }
    assert document_bytes(name, fields) == 147
    others = {"t": Timestamp(1), "g": GeoPoint(1, 2), "b": b"123", "n": None, "d": 1.5, "é": True}
    assert document_bytes((), others) == 48 + 10 + 18 + 5 + 3 + 10 + 4
    assert document_bytes((), {"r": Reference("ab"), "v": Vector((1.0, 2.0))}) == 48 + 21 + 18


def test_index_entries_count_each_automatic_index():
    """Two for a plain field, one for each distinct array element, none for a map itself."""
    assert index_entries({"a": 1, "b": {"c": None, "d": {}}, "e": [1, 1.0, 2], "f": []}) == 6

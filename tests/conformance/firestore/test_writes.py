"""Writes: what a commit sets, keeps, checks, computes and answers."""

import itertools
from typing import Any

import pytest
from google.api_core.exceptions import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
)
from google.cloud import firestore
from google.cloud.firestore_v1 import types
from google.protobuf import timestamp_pb2

from tests.conformance.features import feature
from tests.conformance.firestore.pages import (
    ADD,
    DELETE,
    PRECONDITION,
    WRITE,
    WRITE_RESULT,
)
from tests.conformance.firestore.raw import Raw, to_value


@feature("set replaces a document", production=ADD)
def test_set_replaces_the_document(db: firestore.Client) -> None:
    """Fields that the second set does not name are gone; the create time stays."""
    db.document("users/ann").set({"a": 1, "b": 2})
    created = db.document("users/ann").get().create_time
    db.document("users/ann").set({"b": 3})
    found = db.document("users/ann").get()
    assert found.to_dict() == {"b": 3}
    assert found.create_time == created < found.update_time


@feature("set merges on request", production=ADD)
@pytest.mark.parametrize(
    ("data", "merge", "result"),
    [
        ({"a": {"x": 9}}, True, {"a": {"x": 9, "y": 2}, "b": 3}),
        ({"a": {"z": 9}, "b": 4}, ["a"], {"a": {"z": 9}, "b": 3}),
        ({"a": {"z": 9}}, ["a.z"], {"a": {"x": 1, "y": 2, "z": 9}, "b": 3}),
        ({"a": {}}, True, {"a": {}, "b": 3}),
        ({"b": firestore.DELETE_FIELD}, True, {"a": {"x": 1, "y": 2}}),
    ],
)
def test_merge_keeps_what_it_does_not_name(
    db: firestore.Client, data: dict[str, Any], merge: Any, result: dict[str, Any]
) -> None:
    """A merge replaces leaves (an empty map is one), or just the paths it lists."""
    db.document("users/ann").set({"a": {"x": 1, "y": 2}, "b": 3})
    if merge is not True and "b" in data:
        data = {"a": data["a"]}
    db.document("users/ann").set(data, merge=merge)
    assert db.document("users/ann").get().to_dict() == result


@feature("set merges on request", production=ADD)
def test_merge_creates_what_is_missing(db: firestore.Client) -> None:
    """A merge into no document creates it."""
    db.document("users/ann").set({"a": {"x": 1}}, merge=True)
    assert db.document("users/ann").get().to_dict() == {"a": {"x": 1}}


@feature("update sets and deletes paths", production=ADD)
def test_update_sets_nested_paths(db: firestore.Client) -> None:
    """A dotted path changes within a map, DELETE_FIELD removes, all else stays."""
    db.document("users/ann").set({"a": {"x": 1, "y": 2}, "b": 3, "c": 4, "s": "text"})
    db.document("users/ann").update(
        {
            "a.x": 9,
            "b": firestore.DELETE_FIELD,
            "n.e.w": 1,
            "a.gone": firestore.DELETE_FIELD,
            "s.t": 5,
            "`odd.name`.k": 6,
        }
    )
    assert db.document("users/ann").get().to_dict() == {
        "a": {"x": 9, "y": 2},
        "c": 4,
        "n": {"e": {"w": 1}},
        "s": {"t": 5},
        "odd.name": {"k": 6},
    }


@feature("update needs a document", production=ADD)
def test_update_of_a_missing_document_is_not_found(db: firestore.Client) -> None:
    """An update of nothing is NOT_FOUND and creates nothing."""
    with pytest.raises(NotFound):
        db.document("users/ann").update({"a": 1})
    assert not db.document("users/ann").get().exists


@feature("Preconditions: exists", production=PRECONDITION)
def test_exists_precondition(raw: Raw) -> None:
    """exists=false on what is there is ALREADY_EXISTS, exists=true on nothing NOT_FOUND."""
    write = raw.put("users/ann", v=1)
    write.current_document.exists = True
    with pytest.raises(NotFound):
        raw.commit(write)
    write.current_document.exists = False
    raw.commit(write)
    with pytest.raises(AlreadyExists):
        raw.commit(write)


@feature("Preconditions: update_time", production=PRECONDITION)
def test_update_time_precondition(db: firestore.Client) -> None:
    """A write for another update time is FAILED_PRECONDITION; for the right one it is applied."""
    old = db.document("users/ann").set({"v": 1}).update_time
    new = db.document("users/ann").set({"v": 2}).update_time
    with pytest.raises(FailedPrecondition):
        db.document("users/ann").update({"v": 3}, option=db.write_option(last_update_time=old))
    with pytest.raises(FailedPrecondition):
        db.document("users/ann").delete(option=db.write_option(last_update_time=old))
    db.document("users/ann").update({"v": 4}, option=db.write_option(last_update_time=new))
    assert db.document("users/ann").get().to_dict() == {"v": 4}


@feature("Preconditions: update_time", production=PRECONDITION)
def test_update_time_of_nothing_is_refused(raw: Raw) -> None:
    """A write that wants an update time of a missing document fails."""
    write = types.Write(delete=raw.name("users/nobody"))
    write.current_document.update_time = timestamp_pb2.Timestamp(seconds=1700000000)
    with pytest.raises((FailedPrecondition, NotFound)):
        raw.commit(write)


@feature("A commit is all or nothing", production=WRITE)
def test_failed_precondition_undoes_the_whole_commit(db: firestore.Client) -> None:
    """When one write of a batch fails, none is applied."""
    batch = db.batch()
    batch.set(db.document("users/ann"), {"v": 1})
    batch.update(db.document("users/nobody"), {"v": 1})
    with pytest.raises(NotFound):
        batch.commit()
    assert not db.document("users/ann").get().exists


@feature("A commit applies its writes in order", production=WRITE)
def test_writes_of_one_commit_see_each_other(db: firestore.Client) -> None:
    """Set, increment, update and delete of the same documents in one batch take effect in turn."""
    batch = db.batch()
    batch.set(db.document("users/ann"), {"v": 1})
    batch.update(db.document("users/ann"), {"v": firestore.Increment(1), "w": 5})
    batch.set(db.document("users/ben"), {"v": 1})
    batch.delete(db.document("users/ben"))
    results = batch.commit()
    assert len(results) == 4
    assert db.document("users/ann").get().to_dict() == {"v": 2, "w": 5}
    assert not db.document("users/ben").get().exists


def verify(raw: Raw, path: str) -> types.Write:
    """A write that only checks: field 5 of Write, which the installed client does not name."""
    write = types.Write(current_document={"exists": True})
    name = raw.name(path).encode()
    write._pb.MergeFromString(bytes([5 << 3 | 2, len(name)]) + name)
    return write


@feature("verify writes nothing", production=WRITE)
def test_verify_checks_and_writes_nothing(raw: Raw) -> None:
    """A verify needs its precondition to hold, and leaves the document as it is."""
    raw.commit(raw.put("users/ann", v=1))
    before = raw.get("users/ann")
    raw.commit(verify(raw, "users/ann"), raw.put("users/ben", v=1))
    assert raw.get("users/ann") == before
    with pytest.raises((NotFound, FailedPrecondition)):
        raw.commit(verify(raw, "users/nobody"), raw.put("users/carl", v=1))
    with pytest.raises(NotFound):
        raw.get("users/carl")


@feature("Deletes", production=DELETE)
def test_delete_removes_the_document(db: firestore.Client) -> None:
    """A deleted document is gone; set again, it is a new one with a new create time."""
    first = db.document("users/ann").set({"v": 1}).update_time
    db.document("users/ann").delete()
    assert not db.document("users/ann").get().exists
    db.document("users/ann").set({"v": 1})
    assert db.document("users/ann").get().create_time > first


@feature("Commit times rise", production=WRITE_RESULT)
def test_commit_times_strictly_increase(raw: Raw) -> None:
    """Twenty commits in a row have twenty rising times."""
    times = [raw.commit(raw.put("users/ann", v=n)).commit_time for n in range(20)]
    assert all(one < two for one, two in itertools.pairwise(times))


@feature("A write that changes nothing keeps update_time", production=WRITE_RESULT)
@pytest.mark.parametrize("way", ["set", "merge", "update"])
def test_no_op_write_keeps_the_update_time(db: firestore.Client, way: str) -> None:
    """Writing what is there already answers, and leaves, the previous update time."""
    reference = db.document("users/ann")
    first = reference.set({"v": 1, "w": {"x": [1, 2.0]}}).update_time
    match way:
        case "set":
            again = reference.set({"w": {"x": [1, 2.0]}, "v": 1})
        case "merge":
            again = reference.set({"w": {"x": [1, 2.0]}}, merge=True)
        case _:
            again = reference.update({"v": 1})
    assert again.update_time == first == reference.get().update_time
    assert reference.set({"v": 1.0, "w": {"x": [1, 2.0]}}).update_time > first


INCREMENT = types.DocumentTransform.FieldTransform(field_path="v", increment=to_value(1))


@feature("Odd writes are refused", production=WRITE)
@pytest.mark.parametrize(
    "write",
    [
        types.Write(),
        types.Write(delete="{root}/a/b", update_mask={"field_paths": ["x"]}),
        types.Write(delete="{root}/a/b", update_transforms=[INCREMENT]),
        types.Write(
            transform={"document": "{root}/a/b", "field_transforms": [INCREMENT]},
            update_mask={"field_paths": ["v"]},
        ),
        types.Write(update={"name": "{root}/a/b"}, update_mask={"field_paths": ["a..b"]}),
        types.Write(
            update={"name": "{root}/a/b"},
            update_transforms=[{"field_path": "v", "set_to_server_value": 0}],
        ),
    ],
    ids=[
        "no operation",
        "mask of a delete",
        "transform of a delete",
        "mask of a transform",
        "bad path",
        "no server value",
    ],
)
def test_odd_write_is_refused(raw: Raw, write: types.Write) -> None:
    """A write that cannot mean anything is INVALID_ARGUMENT."""
    write = types.Write(write)
    if write.delete:
        write.delete = write.delete.format(root=raw.root)
    if write.transform.document:
        write.transform.document = write.transform.document.format(root=raw.root)
    if write.update.name:
        write.update.name = write.update.name.format(root=raw.root)
    with pytest.raises(InvalidArgument):
        raw.commit(write)

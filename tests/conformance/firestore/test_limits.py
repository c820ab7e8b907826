"""Limits: what is too large, too deep or badly named is refused by name."""

import datetime

import pytest
from google.api_core.exceptions import InvalidArgument
from google.cloud import firestore
from google.cloud.firestore_v1 import types

from tests.conformance.features import differs, feature
from tests.conformance.firestore.pages import LIMITS
from tests.conformance.firestore.raw import Raw, to_value

MIB = 1024 * 1024


def nested(depth: int) -> dict[str, object]:
    """A map of maps: depth 1 is {"a": 1}."""
    value: dict[str, object] = {"a": 1}
    for _ in range(depth - 1):
        value = {"a": value}
    return value


@feature("A document holds at most 1 MiB", production=LIMITS)
def test_document_of_almost_one_mebibyte_is_stored(db: firestore.Client) -> None:
    """Sizes count as documented: the name, each field's name and value, and 32 bytes."""
    db.document("limits/large").set({"text": b"x" * (MIB - 200)})
    assert len(db.document("limits/large").get().get("text")) == MIB - 200


@feature("A document holds at most 1 MiB", production=LIMITS)
def test_document_over_one_mebibyte_is_refused(db: firestore.Client) -> None:
    """Two values that only together pass 1 MiB are INVALID_ARGUMENT; nothing is stored."""
    half = "x" * (MIB // 2)
    with pytest.raises(InvalidArgument):
        db.document("limits/large").set({"one": half, "two": half})
    assert not db.document("limits/large").get().exists


@feature("A document holds at most 1 MiB", production=LIMITS)
def test_update_that_grows_a_document_over_one_mebibyte_is_refused(db: firestore.Client) -> None:
    """The limit is on the document after the write, not on what the write carries."""
    reference = db.document("limits/growing")
    reference.set({"one": "x" * (MIB // 2)})
    with pytest.raises(InvalidArgument):
        reference.update({"two": "x" * (MIB // 2)})
    assert "two" not in reference.get().to_dict()


@feature("Maps nest 20 levels deep", production=LIMITS)
def test_twenty_levels_are_stored(db: firestore.Client) -> None:
    """A field that nests 20 levels is kept whole."""
    db.document("limits/deep").set({"v": nested(19)})
    assert db.document("limits/deep").get().get("v") == nested(19)


@feature("Maps nest 20 levels deep", production=LIMITS)
def test_deeper_nesting_is_refused(db: firestore.Client) -> None:
    """A field that nests 21 levels is INVALID_ARGUMENT."""
    with pytest.raises(InvalidArgument):
        db.document("limits/deep").set({"v": nested(21)})


BAD_DOCUMENT_IDS = {
    "dot": ".",
    "two dots": "..",
    "reserved": "__id__",
    "1501 bytes": "x" * 1501,
    "1501 bytes of UTF-8": "é" * 751,
}


@feature("Names are checked", production=LIMITS)
@pytest.mark.parametrize("name", BAD_DOCUMENT_IDS.values(), ids=BAD_DOCUMENT_IDS)
@pytest.mark.parametrize("path", ["names/{}", "{}/one", "names/one/{}/two"])
def test_bad_id_is_refused(raw: Raw, path: str, name: str) -> None:
    """A document or collection id outside the documented form is INVALID_ARGUMENT."""
    with pytest.raises(InvalidArgument):
        raw.commit(raw.put(path.format(name), v=1))


@feature("Names are checked", production=LIMITS)
@pytest.mark.parametrize("name", ["x" * 1500, "é" * 750, "...", "__x", "x__", "a b+c%2F", "~`'\"*"])
def test_unusual_id_is_accepted(raw: Raw, name: str) -> None:
    """An id of 1,500 bytes, and one of odd characters, is kept as written."""
    raw.commit(raw.put(f"names/{name}", v=1))
    assert raw.get(f"names/{name}").name == raw.name(f"names/{name}")
    assert [reply.document.name for reply in raw.query("names")] == [raw.name(f"names/{name}")]


@feature("Names are checked", production=LIMITS)
@pytest.mark.parametrize(
    "path", ["collection", "collection/document/collection", "a//b", "", "/a/b"]
)
def test_name_that_is_no_document_is_refused(raw: Raw, path: str) -> None:
    """A name that does not alternate collections and documents is INVALID_ARGUMENT."""
    with pytest.raises(InvalidArgument):
        raw.commit(raw.put(path, v=1))


@feature("Field names are checked", production=LIMITS)
@pytest.mark.parametrize("name", ["__x__", "", "x" * 1501])
def test_bad_field_name_is_refused(raw: Raw, name: str) -> None:
    """A field name that is empty, reserved or over 1,500 bytes is INVALID_ARGUMENT."""
    with pytest.raises(InvalidArgument):
        raw.commit(raw.put("names/one", **{name: 1}))


@feature("Strings longer than an index holds are stored and found", production=LIMITS)
def test_long_strings_are_stored_and_found(db: firestore.Client) -> None:
    """A string of 100,000 characters is stored, and equality finds it."""
    db.document("long/a").set({"v": "x" * 100_000})
    query = db.collection("long").order_by("v").limit(1)
    assert [snapshot.id for snapshot in query.get()] == ["a"]


@feature(
    "At most 40,000 index entries a document",
    production=LIMITS,
    gcloud="stored: index entries are not counted",
)
def test_document_with_too_many_index_entries_is_refused(db: firestore.Client) -> None:
    """20,001 array elements make more than 40,000 entries: INVALID_ARGUMENT."""
    with pytest.raises(InvalidArgument):
        db.document("limits/many").set({"v": list(range(40_001))})


def five_megabyte_writes(raw: Raw, count: int) -> list[types.Write]:
    return [raw.put(f"commits/{n}", v=b"x" * (MIB - 1024)) for n in range(count)]


@feature(
    "A commit holds at most 10 MiB",
    production=LIMITS,
    gcloud="refused above 4 MiB (RESOURCE_EXHAUSTED of the transport)",
)
def test_commit_of_nine_mebibytes_is_accepted(raw: Raw) -> None:
    """Nine documents of almost 1 MiB go into one commit."""
    assert len(raw.commit(*five_megabyte_writes(raw, 9)).write_results) == 9


@feature(
    "A commit holds at most 10 MiB",
    production=LIMITS,
    gcloud="RESOURCE_EXHAUSTED of the transport instead of INVALID_ARGUMENT",
)
def test_commit_over_ten_mebibytes_is_refused(raw: Raw) -> None:
    """Eleven documents of almost 1 MiB in one commit are INVALID_ARGUMENT."""
    with pytest.raises(InvalidArgument):
        raw.commit(*five_megabyte_writes(raw, 11))


@feature("At most 500 transforms of one document a commit", production=LIMITS)
@pytest.mark.parametrize(
    ("count", "accepted"),
    [(500, True), pytest.param(501, False, marks=differs(gcloud="any number is applied"))],
)
def test_number_of_transforms_is_limited(raw: Raw, count: int, accepted: bool) -> None:
    """500 transforms of one document are applied, 501 are INVALID_ARGUMENT."""
    transforms = [
        types.DocumentTransform.FieldTransform(field_path=f"f{n}", increment=to_value(1))
        for n in range(count)
    ]
    write = types.Write(update=raw.document("limits/many"), update_transforms=transforms)
    if accepted:
        assert len(raw.commit(write).write_results[0].transform_results) == count
    else:
        with pytest.raises(InvalidArgument):
            raw.commit(write)


@feature("A batch takes more than 500 writes", production=LIMITS)
def test_commit_of_a_thousand_writes_is_accepted(raw: Raw) -> None:
    """Writes in a commit are limited by size and time, not by number."""
    writes = [raw.put(f"many/{n}", v=n) for n in range(1000)]
    assert len(raw.commit(*writes).write_results) == 1000


@feature(
    "Operators have limits",
    production="https://firebase.google.com/docs/firestore/query-data/queries#query_limitations",
)
@pytest.mark.parametrize("operator", ["IN", "ARRAY_CONTAINS_ANY", "NOT_IN"])
def test_number_of_values_to_compare_with_is_limited(raw: Raw, operator: str) -> None:
    """`in` and `array-contains-any` take 30 values, `not-in` 10; one more is refused."""
    most = 10 if operator == "NOT_IN" else 30

    def where(count: int) -> types.StructuredQuery.Filter:
        return types.StructuredQuery.Filter(
            field_filter=types.StructuredQuery.FieldFilter(
                field={"field_path": "v"}, op=operator, value=to_value(list(range(count)))
            )
        )

    raw.query("values", where=where(most))
    with pytest.raises(InvalidArgument):
        raw.query("values", where=where(most + 1))


@feature("Commit times are real", production=LIMITS)
def test_commit_time_is_now(db: firestore.Client) -> None:
    """The update time is within a minute of this machine's clock."""
    written = db.document("limits/time").set({}).update_time
    assert abs(written - datetime.datetime.now(datetime.UTC)) < datetime.timedelta(minutes=1)

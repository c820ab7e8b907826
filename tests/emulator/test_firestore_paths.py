"""Firestore's resource names: parsed, checked, ordered."""

import pytest

from emulator.errors import InvalidArgument
from emulator.firestore.paths import (
    DatabaseName,
    name_key,
    parse_database,
    parse_document_name,
    parse_name,
    parse_parent,
)

ROOT = "projects/p/databases/(default)/documents"


def test_a_document_name_splits_and_comes_back():
    """The relative segments of a full name, and the full name of them."""
    parsed = parse_document_name(f"{ROOT}/a/b/c/d")
    assert parsed.database == DatabaseName("p", "(default)")
    assert parsed.name == ("a", "b", "c", "d")
    assert str(parsed) == f"{ROOT}/a/b/c/d"


def test_roots_and_documents_are_parents():
    """A collection hangs under the root or under a document."""
    assert parse_parent(ROOT).name == ()
    assert parse_parent(f"{ROOT}/a/b").name == ("a", "b")
    assert parse_name(f"{ROOT}/a").name == ("a",)


@pytest.mark.parametrize(
    "text", ["", "projects/p", "projects//databases/d", "projects/p/databases/d/x"]
)
def test_bad_databases_are_refused(text):
    """A database is projects/P/databases/D and nothing else."""
    with pytest.raises(InvalidArgument):
        parse_database(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ROOT,
        f"{ROOT}/a",
        f"{ROOT}/a//b/c",
        f"{ROOT}/a/.",
        f"{ROOT}/a/..",
        f"{ROOT}/a/__b__",
        f"{ROOT}/__a__/b",
        f"{ROOT}/a/{'x' * 1501}",
        f"{ROOT}/a/{'é' * 751}",
        f"{ROOT}x/a/b",
        "projects/p/a/b",
    ],
)
def test_bad_document_names_are_refused(text):
    """Odd, empty, dotted, reserved or long: INVALID_ARGUMENT."""
    with pytest.raises(InvalidArgument):
        parse_document_name(text)


@pytest.mark.parametrize("document_id", ["x" * 1500, "é" * 750, "__id7__", "__x", "____x", "a b"])
def test_unusual_ids_are_allowed(document_id):
    """1500 bytes, numeric ids, underscores that do not match __.*__, spaces."""
    assert parse_document_name(f"{ROOT}/a/{document_id}").name == ("a", document_id)


def test_numeric_ids_come_first_and_as_numbers():
    """__id9__ < __id10__ < every other id; a parent comes before what is under it."""
    names = [("c", "__id9__"), ("c", "__id10__"), ("c", "10"), ("c", "a"), ("c", "a", "b", "c")]
    assert sorted(names, key=name_key) == names

"""firestore.indexes.json: what is read from it, what is refused, and what is told in its words."""

from typing import Any

import pytest

from emulator.errors import InvalidArgument
from emulator.firestore.index_definitions import (
    FieldOverride,
    IndexDefinition,
    IndexField,
    Mode,
    SingleField,
)
from emulator.firestore.index_file import definitions
from tests.emulator.firestore_queries import DATABASE

UP, DOWN = "ASCENDING", "DESCENDING"
COMPOSITE = IndexDefinition(
    "c",
    False,
    (
        IndexField(("a",), Mode.ASCENDING),
        IndexField(("t",), Mode.CONTAINS),
        IndexField(("b",), Mode.DESCENDING),
    ),
)
VECTOR = IndexDefinition("c", True, (IndexField(("v",), Mode.VECTOR, 2),))
OVERRIDE = FieldOverride(
    "c", ("m", "x-y"), (SingleField(Mode.ASCENDING, False), SingleField(Mode.CONTAINS, True)), True
)


def test_what_is_told_is_what_is_read() -> None:
    """Composite indexes, vectors, overrides, exemptions, `*`."""
    everything, exempt = FieldOverride("c", (), ()), FieldOverride("c", ("e",), ())
    overrides = [OVERRIDE, everything, exempt]
    known = definitions(
        {
            "indexes": [COMPOSITE.to_json(), VECTOR.to_json()],
            "fieldOverrides": [one.to_json() for one in overrides],
        }
    )
    assert known.composite == (COMPOSITE, VECTOR)
    assert list(known.overrides.values()) == overrides
    assert everything.to_json() == {"collectionGroup": "c", "fieldPath": "*", "indexes": []}
    assert known.ttl_policies == [("c", ("m", "x-y"))]


def test_the_definitions_to_paste() -> None:
    """As firestore.indexes.json and the Terraform provider have them."""
    assert COMPOSITE.to_json() == {
        "collectionGroup": "c",
        "queryScope": "COLLECTION",
        "fields": [
            {"fieldPath": "a", "order": "ASCENDING"},
            {"fieldPath": "t", "arrayConfig": "CONTAINS"},
            {"fieldPath": "b", "order": "DESCENDING"},
        ],
    }
    assert COMPOSITE.to_terraform(DATABASE) == (
        'resource "google_firestore_index" "c_a_t_b" {\n'
        '  project    = "p"\n'
        '  database   = "(default)"\n'
        '  collection = "c"\n'
        '  query_scope = "COLLECTION"\n'
        "  fields {\n"
        '    field_path = "a"\n'
        '    order = "ASCENDING"\n'
        "  }\n"
        "  fields {\n"
        '    field_path = "t"\n'
        '    array_config = "CONTAINS"\n'
        "  }\n"
        "  fields {\n"
        '    field_path = "b"\n'
        '    order = "DESCENDING"\n'
        "  }\n"
        "}"
    )
    assert VECTOR.to_json()["fields"] == [
        {"fieldPath": "v", "vectorConfig": {"dimension": 2, "flat": {}}}
    ]
    assert "dimension = 2\n      flat {}" in VECTOR.to_terraform(DATABASE)


def test_an_override_to_paste() -> None:
    """All its indexes, each with its scope, and its TTL policy."""
    assert OVERRIDE.to_json() == {
        "collectionGroup": "c",
        "fieldPath": "m.`x-y`",
        "indexes": [
            {"order": "ASCENDING", "queryScope": "COLLECTION"},
            {"arrayConfig": "CONTAINS", "queryScope": "COLLECTION_GROUP"},
        ],
        "ttl": True,
    }
    assert OVERRIDE.to_terraform(DATABASE) == (
        'resource "google_firestore_field" "c_m_x_y" {\n'
        '  project    = "p"\n'
        '  database   = "(default)"\n'
        '  collection = "c"\n'
        '  field      = "m.`x-y`"\n'
        "  index_config {\n"
        "    indexes {\n"
        '      order = "ASCENDING"\n'
        '      query_scope = "COLLECTION"\n'
        "    }\n"
        "    indexes {\n"
        '      array_config = "CONTAINS"\n'
        '      query_scope = "COLLECTION_GROUP"\n'
        "    }\n"
        "  }\n"
        "  ttl_config {}\n"
        "}"
    )


def index(*fields: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"indexes": [{"collectionGroup": "c", "fields": list(fields), **more}]}


def override(*indexes: dict[str, Any], field: str = "e", **more: Any) -> dict[str, Any]:
    entry = {"collectionGroup": "c", "fieldPath": field, "indexes": list(indexes), **more}
    return {"fieldOverrides": [entry]}


A, B = {"fieldPath": "a", "order": UP}, {"fieldPath": "b", "order": DOWN}
NAME_UP, NAME_DOWN = ({"fieldPath": "__name__", "order": order} for order in (UP, DOWN))
V = {"fieldPath": "v", "vectorConfig": {"dimension": 2, "flat": {}}}
CONTAINS_A = {"fieldPath": "a", "arrayConfig": "CONTAINS"}
EXEMPT = {"collectionGroup": "c", "fieldPath": "e", "indexes": []}


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ([A, B, NAME_DOWN], ["a", "b"]),
        ([A, B, NAME_UP], ["a", "b", "__name__"]),
        ([A, NAME_DOWN], ["a", "__name__"]),
        ([NAME_DOWN], ["__name__"]),
        ([NAME_UP, V], ["v"]),
        ([A, NAME_UP, V], ["a", "v"]),
    ],
)
def test_an_implied_name_is_not_a_field(fields: list[dict[str, Any]], names: list[str]) -> None:
    """`firebase firestore:indexes` writes it: in the last field's direction, before a vector."""
    (found,) = definitions(index(*fields)).composite
    assert [".".join(one.path) for one in found.fields] == names


def test_what_firebase_writes_of_each_index_is_read() -> None:
    """`firebase firestore:indexes`: the values that Standard edition has, and ttl false."""
    told = {"apiScope": "ANY_API", "density": "SPARSE_ALL", "multikey": False, "unique": False}
    known = definitions(
        {**index(A, B, queryScope="COLLECTION", **told), **override({"order": UP, **told})}
    )
    assert len(known.composite) == 1
    assert known.single_fields("c", ("e",)) == (SingleField(Mode.ASCENDING, False),)
    assert definitions(override(ttl=False)).ttl_policies == []


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ({"indices": []}, "the file has 'indices', which is not known"),
        ([], "not a firestore.indexes.json: 'list' object is not a mapping"),
        ({"indexes": 5}, "the file has indexes 5: it is a list"),
        ({"indexes": {}}, "the file has indexes {}: it is a list"),
        ({"indexes": None}, "the file has indexes None: it is a list"),
        ({"fieldOverrides": {}}, "the file has fieldOverrides {}: it is a list"),
        # Composite indexes.
        ({"indexes": [{"collectionGroup": "c"}]}, "an entry lacks 'fields'"),
        (index(), "an index of c has no fields"),
        (index(A), "an index of c has one field, a: that belongs into fieldOverrides"),
        (index(A, NAME_UP), "has one field, a"),
        (index(A, B, collectionGroup=""), "an index has collectionGroup '': it is a collection's"),
        (index(A, B, collectionGroup=7), "an index has collectionGroup 7"),
        (index(A, B, collectionGroup="c/d/e"), "an index has collectionGroup 'c/d/e'"),
        (index(A, B, fields={}), "an index of c has fields {}: it is a list"),
        (index(A, B, {**A, "order": DOWN}), "an index of c has the field a twice"),
        (index(CONTAINS_A, B, CONTAINS_A), "an index of c has the field a twice"),
        (index(V, V), "an index of c has the field v twice"),
        (index(A, B, unknown=1), "an index of c has 'unknown', which is not known"),
        (index(A, {**B, "unknown": 1}), "has 'unknown', which is not known"),
        (index(A, B, density="DENSE"), "has density 'DENSE': Standard edition has 'SPARSE_ALL'"),
        (index(A, B, apiScope="MONGODB_COMPATIBLE_API"), "has apiScope"),
        (index(A, B, queryScope="GROUP"), "has queryScope 'GROUP': it is one of COLLECTION, "),
        (index(A, {"fieldPath": "b", "order": "UP"}), "give one of order"),
        (index(A, {**B, "arrayConfig": "CONTAINS"}), "give one of order"),
        (index(A, {"fieldPath": "b"}), "give one of order"),
        *(
            (index(A, {"fieldPath": "v", "vectorConfig": config}), "give one of .* vectorConfig")
            for config in (
                {"flat": {}},
                {"dimension": 2},
                {"dimension": -1, "flat": {}},
                {"dimension": 0, "flat": {}},
                {"dimension": 2049, "flat": {}},
                {"dimension": True, "flat": {}},
                {"dimension": "2", "flat": {}},
                {"dimension": 2, "hnsw": {}},
                {"dimension": 2, "flat": {}, "hnsw": {}},
                {"dimension": 2, "flat": {"lists": 5}},
                {"dimension": 2, "flat": True},
            )
        ),
        # Overrides.
        ({"fieldOverrides": [{"collectionGroup": "c", "fieldPath": "e"}]}, "lacks 'indexes'"),
        (override(collectionGroup=""), "an override has collectionGroup ''"),
        (override(collectionGroup=None), "an override has collectionGroup None"),
        ({"fieldOverrides": [{**EXEMPT, "indexes": {}}]}, r"c\.e has indexes {}: it is a list"),
        (override(unknown=1), r"c\.e has 'unknown', which is not known; .*collectionGroup"),
        (override({"order": UP, "unknown": 1}), "has 'unknown', which is not known"),
        (override({"order": UP, "fieldPath": "e"}), "has 'fieldPath', which is not known"),
        (override({"vectorConfig": {"dimension": 2}}), "has 'vectorConfig', which is not known"),
        (override({"queryScope": "COLLECTION_GROUP"}), "give one of order"),
        (override({"order": "CONTAINS"}), "give one of order"),
        (override({"order": UP, "queryScope": "GROUP"}), "has queryScope 'GROUP'"),
        (override({"order": UP, "unique": True}), "has unique True: Standard edition has False"),
        (override(ttl="true"), "has ttl 'true': it is true or false"),
        (override(field="*", ttl=True), r"c\.\* has ttl: a TTL policy names one field"),
        (override(field="__name__"), "has no override"),
        (override(field="a..b"), "Invalid property path"),
        (override(collectionGroup="__default__"), "takes the fieldPath \\* alone"),
        (
            {"fieldOverrides": override()["fieldOverrides"] * 2},
            r"c\.e is there twice: leave one, with all its indexes",
        ),
    ],
)
def test_what_is_not_known_is_refused_by_its_name(document: Any, text: str) -> None:
    """Rather than found to declare nothing."""
    with pytest.raises(InvalidArgument, match=text):
        definitions(document)

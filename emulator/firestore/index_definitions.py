"""Which indexes a database has: the automatic ones, composite ones, and overrides of fields.

1. A field has single-field indexes without being asked for: ascending, descending and
   array-contains for a collection, none for a collection group. An override of the field is
   all that it has instead; an empty one exempts it. The fields of a map inherit it from the
   map, unless they have their own. `*` is every field of a collection group, and the `*` of
   `__default__` every field there is.
2. All other indexes are composite: of several fields, of a vector, or of `__name__`. A field
   without single-field indexes may be in one.
3. Both kinds are told as a firestore.indexes.json and as Terraform have them.

Not here: reading the file (index_file.py), which of them a query needs (advice.py). Sources:
https://firebase.google.com/docs/firestore/query-data/index-overview#single-field_index_exemptions,
https://cloud.google.com/firestore/docs/reference/rpc/google.firestore.admin.v1#field (`*`).
"""

import enum
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from emulator.firestore.paths import DatabaseName
from emulator.firestore.query import NAME_PATH
from emulator.firestore.values import FieldPath, format_field_path

ANY_FIELD: FieldPath = ()
"""`*`: the parent of every field."""
DEFAULT_GROUP = "__default__"


class Mode(enum.Enum):
    """How a field is indexed."""

    ASCENDING = "ASCENDING"
    DESCENDING = "DESCENDING"
    CONTAINS = "CONTAINS"
    VECTOR = "VECTOR"


@dataclass(frozen=True, slots=True)
class IndexField:
    """One field of a definition; `dimension` is a vector's."""

    path: FieldPath
    mode: Mode
    dimension: int = 0


@dataclass(frozen=True, slots=True)
class IndexDefinition:
    """An index: a composite one, or a single-field one.

    `fields` are without the `__name__` that production appends in the last field's direction.
    """

    collection: str
    group: bool
    fields: tuple[IndexField, ...]

    section = "indexes"  # of a firestore.indexes.json

    @property
    def is_single(self) -> bool:
        """Whether it is a single-field index, which only an override declares."""
        first = self.fields[0]
        return len(self.fields) == 1 and first.mode is not Mode.VECTOR and first.path != NAME_PATH

    def to_json(self) -> dict[str, Any]:
        """A composite index as an entry of `indexes`.

        {"collectionGroup": "orders", "queryScope": "COLLECTION", "fields": [
          {"fieldPath": "status", "order": "ASCENDING"}, {"fieldPath": "at", "order": "..."}]}
        """
        return {
            "collectionGroup": self.collection,
            "queryScope": _scope(self.group),
            "fields": [
                {"fieldPath": format_field_path(one.path), **_json_mode(one)} for one in self.fields
            ],
        }

    def to_terraform(self, database: DatabaseName) -> str:
        """A composite index as a `google_firestore_index`."""
        paths = (one.path for one in self.fields)
        lines = _terraform_head("index", database, self.collection, *paths)
        lines.append(f'  query_scope = "{_scope(self.group)}"')
        for one in self.fields:
            lines += [
                "  fields {",
                f'    field_path = "{_quoted(one.path)}"',
                f"    {_terraform_mode(one)}",
                "  }",
            ]
        return "\n".join([*lines, "}"])


class SingleField(NamedTuple):
    """A single-field index of a field that the context names."""

    mode: Mode
    group: bool


AUTOMATIC = (
    SingleField(Mode.ASCENDING, False),
    SingleField(Mode.DESCENDING, False),
    SingleField(Mode.CONTAINS, False),
)


@dataclass(frozen=True, slots=True)
class FieldOverride:
    """All the single-field indexes of a field, and whether it has a TTL policy."""

    collection: str
    path: FieldPath
    indexes: tuple[SingleField, ...]
    ttl: bool = False

    section = "fieldOverrides"  # of a firestore.indexes.json

    @property
    def name(self) -> str:
        """Such as `orders.at`, `orders.*`."""
        return f"{self.collection}.{_path_text(self.path)}"

    def to_json(self) -> dict[str, Any]:
        """An entry of `fieldOverrides`.

        {"collectionGroup": "orders", "fieldPath": "at", "indexes": [
          {"order": "ASCENDING", "queryScope": "COLLECTION"}, ...]}
        """
        entry: dict[str, Any] = {
            "collectionGroup": self.collection,
            "fieldPath": _path_text(self.path),
            "indexes": [
                {**_json_mode(IndexField(self.path, mode)), "queryScope": _scope(group)}
                for mode, group in self.indexes
            ],
        }
        return {**entry, "ttl": True} if self.ttl else entry

    def to_terraform(self, database: DatabaseName) -> str:
        """A `google_firestore_field`."""
        lines = _terraform_head("field", database, self.collection, self.path)
        lines += [f'  field      = "{_quoted(self.path)}"', "  index_config {"]
        for mode, group in self.indexes:
            lines += [
                "    indexes {",
                f"      {_terraform_mode(IndexField(self.path, mode))}",
                f'      query_scope = "{_scope(group)}"',
                "    }",
            ]
        lines.append("  }")
        if self.ttl:
            lines.append("  ttl_config {}")
        return "\n".join([*lines, "}"])


@dataclass(frozen=True)
class Definitions:
    """What a database has beside the automatic indexes, and instead of them: see rule 1."""

    composite: tuple[IndexDefinition, ...] = ()
    overrides: Mapping[tuple[str, FieldPath], FieldOverride] = field(default_factory=dict)

    @property
    def ttl_policies(self) -> list[tuple[str, FieldPath]]:
        """The fields that have a TTL policy, with their collection groups."""
        return [place for place, override in self.overrides.items() if override.ttl]

    def single_fields(self, collection: str, path: FieldPath) -> tuple[SingleField, ...]:
        """The single-field indexes of a field: its own, or those that it inherits."""
        places = [(collection, path[:length]) for length in range(len(path), -1, -1)]
        for place in [*places, (DEFAULT_GROUP, ANY_FIELD)]:
            if place in self.overrides:
                return self.overrides[place].indexes
        return AUTOMATIC

    def declaring(
        self, missing: Iterable[IndexDefinition]
    ) -> list[IndexDefinition | FieldOverride]:
        """What to declare so that there are these indexes too.

        For a single-field one that is a whole override, to be there instead of one of the same
        field: it repeats what the field has.
        """
        found: dict[object, IndexDefinition | FieldOverride] = {}
        added: dict[tuple[str, FieldPath], list[SingleField]] = {}
        for one in missing:
            if not one.is_single:
                found[one] = one
                continue
            place = (one.collection, one.fields[0].path)
            indexes = added.setdefault(place, list(self.single_fields(*place)))
            indexes.append(SingleField(one.fields[0].mode, one.group))
            ttl = place in self.overrides and self.overrides[place].ttl
            found[place] = FieldOverride(*place, tuple(indexes), ttl)
        return list(found.values())


def _scope(group: bool) -> str:
    return "COLLECTION_GROUP" if group else "COLLECTION"


def _path_text(path: FieldPath) -> str:
    return "*" if path == ANY_FIELD else format_field_path(path)


def _quoted(path: FieldPath) -> str:
    return _path_text(path).replace("\\", "\\\\").replace('"', '\\"')


def _json_mode(of: IndexField) -> dict[str, Any]:
    if of.mode is Mode.VECTOR:
        return {"vectorConfig": {"dimension": of.dimension, "flat": {}}}
    return {"arrayConfig" if of.mode is Mode.CONTAINS else "order": of.mode.value}


def _terraform_head(
    kind: str, database: DatabaseName, collection: str, *paths: FieldPath
) -> list[str]:
    label = re.sub(r"\W+", "_", "_".join([collection, *(".".join(path) for path in paths)]))
    return [
        f'resource "google_firestore_{kind}" "{label}" {{',
        f'  project    = "{database.project}"',
        f'  database   = "{database.database}"',
        f'  collection = "{collection}"',
    ]


def _terraform_mode(of: IndexField) -> str:
    if of.mode is Mode.VECTOR:
        return f"vector_config {{\n      dimension = {of.dimension}\n      flat {{}}\n    }}"
    key = "array_config" if of.mode is Mode.CONTAINS else "order"
    return f'{key} = "{of.mode.value}"'

"""The composite index that production would demand for a query, ready to paste.

1. Without any definition production has, for each field of a *collection*: ascending,
   descending and array-contains; for a *collection group* only the order by name.
2. It joins single-field indexes for equalities, so those need no more, unless there is an
   order besides: then one index must hold the equalities and the order, or several that share
   the order and cover the equalities between them.
3. Each alternative of an OR or IN needs its own. A sum or average needs its field in the index.
   find_nearest needs a vector index, with the equalities as prefix. A descending name alone
   needs an index of just that.
4. `Advisor.check` warns once for each missing index, or with `require` refuses the query as
   production does, FAILED_PRECONDITION.

Sources: https://firebase.google.com/docs/firestore/query-data/index-overview,
https://firebase.google.com/docs/firestore/query-data/indexing (index merging),
https://firebase.google.com/docs/firestore/vector-search#create_and_manage_vector_indexes,
https://firebase.google.com/docs/reference/firestore/indexes,
https://github.com/GoogleCloudPlatform/magic-modules/pull/12121 (`__name__ DESC`).
"""

import enum
import json
import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from emulator.errors import FailedPrecondition, InvalidArgument
from emulator.firestore.aggregate import Aggregation, Kind
from emulator.firestore.paths import DatabaseName
from emulator.firestore.query import NAME_PATH, Order, Query
from emulator.firestore.query_alternative import Alternative
from emulator.firestore.values import FieldPath, format_field_path, parse_field_path

log = logging.getLogger(__name__)


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
    """A composite index, or with one field a single-field one of a collection group.

    `fields` are without the `__name__` that production appends in the last field's direction.
    """

    collection: str
    group: bool
    fields: tuple[IndexField, ...]

    def to_json(self) -> dict[str, Any]:
        """An entry of firestore.indexes.json, of `indexes` or, with one field, `fieldOverrides`.

        {"collectionGroup": "orders", "queryScope": "COLLECTION", "fields": [
          {"fieldPath": "status", "order": "ASCENDING"}, {"fieldPath": "at", "order": "..."}]}
        """
        scope = _scope(self.group)
        if self._is_single:
            field = self.fields[0]
            return {
                "collectionGroup": self.collection,
                "fieldPath": format_field_path(field.path),
                "indexes": [
                    {"order": "ASCENDING", "queryScope": "COLLECTION"},
                    {"order": "DESCENDING", "queryScope": "COLLECTION"},
                    {"arrayConfig": "CONTAINS", "queryScope": "COLLECTION"},
                    {**_json_mode(field), "queryScope": scope},
                ],
            }
        return {
            "collectionGroup": self.collection,
            "queryScope": scope,
            "fields": [
                {"fieldPath": format_field_path(field.path), **_json_mode(field)}
                for field in self.fields
            ],
        }

    def to_terraform(self, database: DatabaseName) -> str:
        """A `google_firestore_index`, or for a single field a `google_firestore_field`."""
        label = re.sub(
            r"\W+", "_", "_".join([self.collection, *(".".join(one.path) for one in self.fields)])
        )
        head = [f'  project    = "{database.project}"', f'  database   = "{database.database}"']
        head.append(f'  collection = "{self.collection}"')
        if self._is_single:
            lines = [
                f'resource "google_firestore_field" "{label}" {{',
                *head,
                f'  field      = "{_quoted(self.fields[0].path)}"',
                "  index_config {",
            ]
            for mode, scope in (
                ('order = "ASCENDING"', "COLLECTION"),
                ('order = "DESCENDING"', "COLLECTION"),
                ('array_config = "CONTAINS"', "COLLECTION"),
                (_terraform_mode(self.fields[0]), _scope(self.group)),
            ):
                lines += [
                    "    indexes {",
                    f"      {mode}",
                    f'      query_scope = "{scope}"',
                    "    }",
                ]
            return "\n".join([*lines, "  }", "}"])
        lines = [f'resource "google_firestore_index" "{label}" {{', *head]
        lines.append(f'  query_scope = "{_scope(self.group)}"')
        for field in self.fields:
            lines += [
                "  fields {",
                f'    field_path = "{_quoted(field.path)}"',
                f"    {_terraform_mode(field)}",
                "  }",
            ]
        return "\n".join([*lines, "}"])

    @property
    def _is_single(self) -> bool:
        field = self.fields[0]
        return len(self.fields) == 1 and field.mode is not Mode.VECTOR and field.path != NAME_PATH


def _scope(group: bool) -> str:
    return "COLLECTION_GROUP" if group else "COLLECTION"


def _quoted(path: FieldPath) -> str:
    return format_field_path(path).replace("\\", "\\\\").replace('"', '\\"')


def _json_mode(field: IndexField) -> dict[str, Any]:
    if field.mode is Mode.VECTOR:
        return {"vectorConfig": {"dimension": field.dimension, "flat": {}}}
    key = "arrayConfig" if field.mode is Mode.CONTAINS else "order"
    return {key: field.mode.value}


def _terraform_mode(field: IndexField) -> str:
    if field.mode is Mode.VECTOR:
        return f"vector_config {{\n      dimension = {field.dimension}\n      flat {{}}\n    }}"
    key = "array_config" if field.mode is Mode.CONTAINS else "order"
    return f'{key} = "{field.mode.value}"'


def definitions(document: dict[str, Any]) -> tuple[IndexDefinition, ...]:
    """The definitions of a firestore.indexes.json, see `IndexDefinition.to_json`.

    Raises:
        InvalidArgument: an entry is not of that shape.
    """
    found = []
    try:
        for entry in document.get("indexes", ()):
            fields = tuple(map(_field_from_json, entry["fields"]))
            if len(fields) > 1 and fields[-1].path == NAME_PATH:
                fields = _without_implied_name(fields)
            group = entry.get("queryScope") == "COLLECTION_GROUP"
            found.append(IndexDefinition(entry["collectionGroup"], group, fields))
        for entry in document.get("fieldOverrides", ()):
            for index in entry["indexes"]:
                field = _field_from_json({"fieldPath": entry["fieldPath"], **index})
                group = index.get("queryScope") == "COLLECTION_GROUP"
                found.append(IndexDefinition(entry["collectionGroup"], group, (field,)))
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidArgument(f"not a firestore.indexes.json: {error!r}") from error
    return tuple(found)


def _field_from_json(entry: dict[str, Any]) -> IndexField:
    path = parse_field_path(entry["fieldPath"])
    if "vectorConfig" in entry:
        return IndexField(path, Mode.VECTOR, entry["vectorConfig"]["dimension"])
    return IndexField(path, Mode(entry.get("arrayConfig") or entry["order"]))


def _without_implied_name(fields: tuple[IndexField, ...]) -> tuple[IndexField, ...]:
    implied = fields[-2].mode if fields[-2].mode is Mode.DESCENDING else Mode.ASCENDING
    return fields[:-1] if fields[-1].mode is implied else fields


def missing(
    query: Query,
    aggregations: Iterable[Aggregation] = (),
    declared: Sequence[IndexDefinition] = (),
) -> list[IndexDefinition]:
    """The indexes production lacks to answer the query, given those declared."""
    if query.scope.collection_id is None:
        return []  # by name only: see query.checked
    summed = {one.path for one in aggregations if one.kind is not Kind.COUNT}
    lacking: dict[IndexDefinition, None] = {}
    for clauses in query.disjunctions:
        alternative = Alternative(query, clauses)
        if not alternative.impossible and alternative.named is None:
            for definition in _lacking(query, alternative, summed, declared):
                lacking[definition] = None
    return list(lacking)


def _lacking(
    query: Query,
    alternative: Alternative,
    summed: set[FieldPath],
    declared: Sequence[IndexDefinition],
) -> list[IndexDefinition]:
    """What one alternative lacks: see rules 1 to 3."""
    collection, group = query.scope.collection_id or "", query.scope.all_descendants
    prefix = [IndexField(path, Mode.ASCENDING) for path in sorted(alternative.equal)]
    if alternative.element is not None:
        prefix.append(IndexField(alternative.element[0], Mode.CONTAINS))
    suffix = _suffix(query, alternative, summed)
    if query.find_nearest is not None:
        nearest = query.find_nearest
        dimension = len(nearest.vector.values)
        suffix = (*suffix, IndexField(nearest.path, Mode.VECTOR, dimension))
    whole = IndexDefinition(collection, group, (*prefix, *suffix))
    if not whole.fields:
        return []
    in_scope = [
        one.fields for one in declared if one.collection == collection and one.group == group
    ]
    usable = [fields for fields in in_scope if fields[len(fields) - len(suffix) :] == suffix]
    covered: set[IndexField] = set()
    for fields in usable:
        part = {_either_way(field) for field in fields[: len(fields) - len(suffix)]}
        if part <= set(prefix):
            covered |= part
            covered.update(suffix)
    if not group and _automatic(prefix, suffix):
        return []
    if covered >= {*prefix, *suffix}:
        return []
    if not suffix:  # of a group: one single-field index for each equality
        return [
            IndexDefinition(collection, group, (field,)) for field in prefix if field not in covered
        ]
    return [whole]


def _either_way(field: IndexField) -> IndexField:
    """An equality can use either direction."""
    if field.mode is Mode.DESCENDING:
        return IndexField(field.path, Mode.ASCENDING)
    return field


def _suffix(
    query: Query, alternative: Alternative, summed: set[FieldPath]
) -> tuple[IndexField, ...]:
    """The fields that must come last, in order: those of the order, then summed ones."""
    orders = [*alternative.orders]
    name = query.orders[-1]
    present = {order.path for order in orders} | alternative.equal.keys()
    orders += [Order(path, name.descending) for path in sorted(summed - present)]
    suffix = [
        IndexField(order.path, Mode.DESCENDING if order.descending else Mode.ASCENDING)
        for order in orders
    ]
    if name.descending != (orders[-1].descending if orders else False):
        mode = Mode.DESCENDING if name.descending else Mode.ASCENDING
        suffix.append(IndexField(NAME_PATH, mode))
    return tuple(suffix)


def _automatic(prefix: Sequence[IndexField], suffix: Sequence[IndexField]) -> bool:
    """Whether a collection's automatic indexes are enough, joined if there are several."""
    if not suffix:
        return True
    if len(suffix) > 1 or suffix[0].mode is Mode.VECTOR:
        return False
    if suffix[0].path == NAME_PATH:  # descending: so are the names in a descending index
        return bool(prefix) and all(field.mode is Mode.ASCENDING for field in prefix)
    return not prefix


class Advisor:
    """Warns of queries that production would refuse, or refuses them too."""

    def __init__(self, declared: Sequence[IndexDefinition] = (), require: bool = False) -> None:
        self._declared = tuple(declared)
        self._require = require
        self._warned: set[tuple[DatabaseName, IndexDefinition]] = set()

    def check(
        self, database: DatabaseName, query: Query, aggregations: Iterable[Aggregation] = ()
    ) -> None:
        """Look at one query.

        Raises:
            FailedPrecondition: an index is missing, and indexes are required.
        """
        lacking = missing(query, aggregations, self._declared)
        if lacking and self._require:
            entries = ", ".join(json.dumps(one.to_json()) for one in lacking)
            raise FailedPrecondition(
                "The query requires an index. You can create it here: "
                f"https://console.cloud.google.com/firestore/databases/{database.database}"
                f"/indexes?project={database.project} "
                f"or add it to firestore.indexes.json: {entries}"
            )
        for one in lacking:
            if (database, one) not in self._warned:
                self._warned.add((database, one))
                log.warning(
                    "A query of %s in %s needs an index in production. Terraform:\n%s\n"
                    "firestore.indexes.json, in %s:\n%s",
                    one.collection,
                    database,
                    one.to_terraform(database),
                    "fieldOverrides" if "fieldPath" in one.to_json() else "indexes",
                    json.dumps(one.to_json()),
                )

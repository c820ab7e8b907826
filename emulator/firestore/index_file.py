"""Reading a firestore.indexes.json, the file that declares indexes and exemptions.

1. What may stand in one, and what `firebase firestore:indexes` writes, is honoured, or refused
   by its name: nothing is passed over.
2. `fieldOverrides` is all that a field has, so that a field may be there once. `indexes` takes
   no index of one field, which production refuses too: "this index is not necessary, configure
   using single field index controls". A field is there once in an index; its elements
   (`arrayConfig`) and its vector count apart, as a query can need them beside its order.
3. `ttl` in an override is a TTL policy; false is as without it.

Sources: https://firebase.google.com/docs/reference/firestore/indexes,
https://github.com/firebase/firebase-tools/blob/master/src/firestore/ (api-spec.ts; api.ts:
`flat` must be there), and `*` in
https://cloud.google.com/firestore/docs/reference/rpc/google.firestore.admin.v1#field.
"""

from collections.abc import Collection, Mapping
from typing import Any

from emulator.errors import InvalidArgument
from emulator.firestore.index_definitions import (
    ANY_FIELD,
    DEFAULT_GROUP,
    Definitions,
    FieldOverride,
    IndexDefinition,
    IndexField,
    Mode,
    SingleField,
)
from emulator.firestore.limits import MAX_VECTOR_DIMENSIONS
from emulator.firestore.query import NAME_PATH
from emulator.firestore.values import FieldPath, format_field_path, parse_field_path

_SCOPES = {"COLLECTION": False, "COLLECTION_GROUP": True}
# `firebase firestore:indexes` says them of every index; Standard edition has no other values.
_STANDARD = {"apiScope": "ANY_API", "density": "SPARSE_ALL", "multikey": False, "unique": False}


def definitions(document: Mapping[str, Any]) -> Definitions:
    """What a firestore.indexes.json declares; see the `to_json` of its two kinds of entries.

    {"indexes": [...], "fieldOverrides": [
      {"collectionGroup": "outbox", "fieldPath": "created_time", "indexes": []}]}

    Raises:
        InvalidArgument: an entry is not of that shape, or says what is not known here.
    """
    overrides: dict[tuple[str, FieldPath], FieldOverride] = {}
    try:
        document = {"indexes": [], "fieldOverrides": [], **document}
        _check_keys("the file", document, ("indexes", "fieldOverrides"))
        composite = tuple(map(_composite, _list("the file", document, "indexes")))
        for override in map(_override, _list("the file", document, "fieldOverrides")):
            place = (override.collection, override.path)
            if place in overrides:
                raise _refusal(override.name, "is there twice: leave one, with all its indexes")
            overrides[place] = override
    except KeyError as error:
        raise _refusal("an entry", f"lacks {error}") from error
    except (AttributeError, TypeError, ValueError) as error:
        raise InvalidArgument(f"not a firestore.indexes.json: {error}") from error
    return Definitions(composite, overrides)


def _composite(entry: Mapping[str, Any]) -> IndexDefinition:
    collection = _collection("an index", entry)
    where = f"an index of {collection}"
    group = _is_of_group(where, entry, ("collectionGroup", "fields"))
    fields: list[IndexField] = []
    for one in _list(where, entry, "fields"):
        _check_keys(where, one, ("fieldPath", "order", "arrayConfig", "vectorConfig"))
        field = _field(where, parse_field_path(one["fieldPath"]), one)
        if (field.path, _use(field)) in ((other.path, _use(other)) for other in fields):
            raise _refusal(where, f"has the field {one['fieldPath']} twice: leave it once")
        fields.append(field)
    if not fields:
        raise _refusal(where, "has no fields")
    made = IndexDefinition(collection, group, _without_implied_name(tuple(fields)))
    if made.is_single:
        path = format_field_path(made.fields[0].path)
        raise _refusal(where, f"has one field, {path}: that belongs into fieldOverrides")
    return made


def _use(field: IndexField) -> Mode:
    """Both directions are one use of a field."""
    return Mode.ASCENDING if field.mode is Mode.DESCENDING else field.mode


def _without_implied_name(fields: tuple[IndexField, ...]) -> tuple[IndexField, ...]:
    """The name has the direction of the field before it; a vector comes after both."""
    vector = fields[-1:] if fields[-1].mode is Mode.VECTOR else ()
    rest = fields[: len(fields) - len(vector)]
    descending = len(rest) > 1 and rest[-2].mode is Mode.DESCENDING
    implied = IndexField(NAME_PATH, Mode.DESCENDING if descending else Mode.ASCENDING)
    return (*rest[:-1], *vector) if len(fields) > 1 and rest[-1] == implied else fields


def _override(entry: Mapping[str, Any]) -> FieldOverride:
    collection, text = _collection("an override", entry), entry["fieldPath"]
    where, ttl = f"{collection}.{text}", entry.get("ttl", False)
    _check_keys(where, entry, ("collectionGroup", "fieldPath", "indexes", "ttl"))
    path = ANY_FIELD if text == "*" else parse_field_path(text)
    if path == NAME_PATH:
        raise _refusal(where, "has no override: an index of the name alone belongs into indexes")
    if collection == DEFAULT_GROUP and path != ANY_FIELD:
        raise _refusal(where, f"has no effect: {DEFAULT_GROUP} takes the fieldPath * alone")
    if not isinstance(ttl, bool):
        raise _refusal(where, f"has ttl {ttl!r}: it is true or false")
    if ttl and path == ANY_FIELD:
        raise _refusal(where, "has ttl: a TTL policy names one field")
    indexes = []
    for one in _list(where, entry, "indexes"):
        group = _is_of_group(where, one, ("order", "arrayConfig"))
        indexes.append(SingleField(_field(where, path, one).mode, group))
    return FieldOverride(collection, path, tuple(indexes), ttl)


def _field(where: str, path: FieldPath, entry: Mapping[str, Any]) -> IndexField:
    given = {key: entry[key] for key in ("order", "arrayConfig", "vectorConfig") if key in entry}
    match list(given.items()):
        case [("order", "ASCENDING" | "DESCENDING" as order)]:
            return IndexField(path, Mode(order))
        case [("arrayConfig", "CONTAINS")]:
            return IndexField(path, Mode.CONTAINS)
        case [("vectorConfig", {"dimension": int(size), "flat": {} as flat, **other})]:
            right = not isinstance(size, bool) and 1 <= size <= MAX_VECTOR_DIMENSIONS
            if right and not (flat or other):
                return IndexField(path, Mode.VECTOR, size)
    raise _refusal(
        where,
        f"has {given}: give one of order (ASCENDING, DESCENDING), arrayConfig (CONTAINS), and in "
        f'an index vectorConfig ({{"dimension": 1 to {MAX_VECTOR_DIMENSIONS}, "flat": {{}}}})',
    )


def _collection(what: str, entry: Mapping[str, Any]) -> str:
    collection = entry["collectionGroup"]
    if not isinstance(collection, str) or not collection or "/" in collection:
        raise _refusal(what, f"has collectionGroup {collection!r}: it is a collection's id")
    return collection


def _list(where: str, entry: Mapping[str, Any], key: str) -> list[Any]:
    if not isinstance(entry[key], list):
        raise _refusal(where, f"has {key} {entry[key]!r}: it is a list")
    return list(entry[key])


def _is_of_group(where: str, index: Mapping[str, Any], keys: Collection[str]) -> bool:
    """The scope of an index; what any index may say besides is checked."""
    _check_keys(where, index, (*keys, "queryScope", *_STANDARD))
    for key, value in _STANDARD.items():
        if index.get(key, value) != value:
            raise _refusal(where, f"has {key} {index[key]!r}: Standard edition has {value!r} alone")
    scope = index.get("queryScope", "COLLECTION")
    if scope not in _SCOPES:
        raise _refusal(where, f"has queryScope {scope!r}: it is one of {', '.join(_SCOPES)}")
    return _SCOPES[scope]


def _check_keys(where: str, entry: Mapping[str, Any], known: Collection[str]) -> None:
    for key in entry:
        if key not in known:
            raise _refusal(where, f"has {key!r}, which is not known; these are: {', '.join(known)}")


def _refusal(where: str, problem: str) -> InvalidArgument:
    return InvalidArgument(f"firestore.indexes.json: {where} {problem}")

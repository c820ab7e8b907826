"""The index that production would demand for a query, ready to paste.

1. A query is answered from the indexes that there are (index_definitions.py): the automatic
   ones as far as no override exempts a field, and the declared ones.
2. It joins single-field and composite indexes for equalities. If there is an order besides,
   then one index must hold the equalities and the order, or several that share the order and
   cover the equalities between them. A field that is exempt counts with a composite index only.
3. Each alternative of an OR or IN needs its own. A sum or average needs its field in the index.
   find_nearest needs a vector index, with the equalities as prefix. A descending name alone
   needs an index of just that.
4. `Advisor.check` warns once for each missing index. With `require` it also refuses the query,
   each time, as production does: FAILED_PRECONDITION. The one who asked may keep the reason to
   itself, so the log has it too.

Sources: https://firebase.google.com/docs/firestore/query-data/index-overview,
https://firebase.google.com/docs/firestore/query-data/indexing (index merging),
https://firebase.google.com/docs/firestore/vector-search#create_and_manage_vector_indexes,
https://github.com/GoogleCloudPlatform/magic-modules/pull/12121 (`__name__ DESC`), and for
production's words https://github.com/t-k/fireemu (index_messages.rs, recorded 2026-09-24).
"""

import json
import logging
from collections.abc import Iterable, Iterator

from emulator.errors import FailedPrecondition
from emulator.firestore.aggregate import Aggregation, Kind
from emulator.firestore.index_definitions import (
    Definitions,
    FieldOverride,
    IndexDefinition,
    IndexField,
    Mode,
)
from emulator.firestore.paths import DatabaseName
from emulator.firestore.query import NAME_PATH, Order, Query
from emulator.firestore.query_alternative import Alternative
from emulator.firestore.values import FieldPath, format_field_path

log = logging.getLogger(__name__)

AUTOMATIC_ONLY = Definitions()

_SHORT = {Mode.ASCENDING: "ASC", Mode.DESCENDING: "DESC", Mode.CONTAINS: "CONTAINS"}
_NAME_DESCENDING = IndexField(NAME_PATH, Mode.DESCENDING)


def missing(
    query: Query,
    aggregations: Iterable[Aggregation] = (),
    declared: Definitions = AUTOMATIC_ONLY,
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
    query: Query, alternative: Alternative, summed: set[FieldPath], declared: Definitions
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
    covered: set[IndexField] = set()
    for fields in _candidates(whole, declared):
        length = len(fields) - len(suffix)
        part = {_either_way(one) for one in fields[:length]}
        if fields[length:] == suffix and part <= set(prefix):
            covered |= {*part, *suffix}
    if covered.issuperset(whole.fields):
        return []
    if group and not suffix:  # one single-field index for each equality
        return [IndexDefinition(collection, group, (one,)) for one in prefix if one not in covered]
    return [whole]


def _candidates(whole: IndexDefinition, declared: Definitions) -> Iterator[tuple[IndexField, ...]]:
    """The fields of all indexes in the scope of `whole` that may have a part in it.

    What ends descending is there twice, then with the descending name that it implies.
    """
    scope = (whole.collection, whole.group)
    found = [one.fields for one in declared.composite if (one.collection, one.group) == scope]
    for path in sorted({one.path for one in whole.fields} - {NAME_PATH}):
        for mode, group in declared.single_fields(whole.collection, path):
            if group == whole.group:
                found.append((IndexField(path, mode),))
    for fields in found:
        yield fields
        if fields[-1].mode is Mode.DESCENDING and fields[-1].path != NAME_PATH:
            yield (*fields, _NAME_DESCENDING)


def _either_way(one: IndexField) -> IndexField:
    """An equality can use either direction."""
    if one.mode is Mode.DESCENDING:
        return IndexField(one.path, Mode.ASCENDING)
    return one


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


class Advisor:
    """Warns of queries that production would refuse, or refuses them too."""

    def __init__(self, declared: Definitions = AUTOMATIC_ONLY, require: bool = False) -> None:
        self._declared = declared
        self._require = require
        self._warned: set[tuple[DatabaseName, IndexDefinition | FieldOverride]] = set()

    def check(
        self, database: DatabaseName, query: Query, aggregations: Iterable[Aggregation] = ()
    ) -> None:
        """Look at one query.

        Raises:
            FailedPrecondition: an index is missing, and indexes are required.
        """
        lacking = missing(query, aggregations, self._declared)
        if not lacking:
            return
        wanted = self._declared.declaring(lacking)
        self._warn(database, wanted)
        if self._require:
            entries = ", ".join(f"{one.section}: {json.dumps(one.to_json())}" for one in wanted)
            raise FailedPrecondition(
                f"The query requires {_told(lacking[0])}. You can create it here: "
                f"https://console.cloud.google.com/firestore/databases/{database.database}"
                f"/indexes?project={database.project} "
                f"or declare it in firestore.indexes.json, {entries}"
            )

    def _warn(
        self, database: DatabaseName, wanted: Iterable[IndexDefinition | FieldOverride]
    ) -> None:
        """Log what to declare, in each place that may be the user's; once."""
        outcome = (
            "was refused: it needs an index" if self._require else "needs an index in production"
        )
        for one in wanted:
            if (database, one) not in self._warned:
                self._warned.add((database, one))
                log.warning(
                    "A query of %s in %s %s. In a topology, add it to `firestore.indexes`, or "
                    "take the field out of `firestore.unindexed`. Terraform:\n%s\n"
                    "firestore.indexes.json, in %s:\n%s",
                    one.collection,
                    database,
                    outcome,
                    one.to_terraform(database),
                    one.section,
                    json.dumps(one.to_json()),
                )


def _told(index: IndexDefinition) -> str:
    """As production calls it: a single-field index by its kind, others not at all."""
    if not index.is_single:
        return "an index"
    scope = "COLLECTION_GROUP" if index.group else "COLLECTION"
    path = format_field_path(index.fields[0].path)
    kind = f"{scope}_{_SHORT[index.fields[0].mode]}"
    return f"a {kind} index for collection {index.collection} and field {path}"

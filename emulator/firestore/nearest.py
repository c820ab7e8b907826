"""find_nearest: the documents whose vector is nearest to the query's.

1. Only vectors of the query's dimension take part; others are as if they were not there.
2. EUCLIDEAN and COSINE: the smallest distance first, at most the threshold. DOT_PRODUCT: the
   largest first, at least the threshold. Equal distances are in order of name.
3. The cosine distance to or from a zero vector is NaN: it comes last, and passes no threshold.
4. It is exact: every candidate is measured. Production's is, too.

Sources: google/firestore/v1/query.proto; observed: gcloud Firestore emulator 1.19.9.
"""

import math
from collections.abc import Iterable, Sequence
from heapq import nsmallest
from operator import itemgetter
from typing import TypeVar

from emulator.firestore.paths import Name
from emulator.firestore.query import Measure, Nearest
from emulator.firestore.query_match import Stored, name_order
from emulator.firestore.values import Vector, get_field

D = TypeVar("D", bound=Stored)


def distance(measure: Measure, left: Sequence[float], right: Sequence[float]) -> float:
    """The distance by one measure; for DOT_PRODUCT larger is nearer."""
    if measure is Measure.EUCLIDEAN:
        return math.dist(left, right)
    product = sum(a * b for a, b in zip(left, right, strict=True))
    if measure is Measure.DOT_PRODUCT:
        return product
    norms = math.hypot(*left) * math.hypot(*right)
    return 1.0 - product / norms if norms else math.nan


def rank(nearest: Nearest, documents: Iterable[D]) -> list[tuple[D, float]]:
    """The nearest documents and their distances, the nearest first."""
    wanted = nearest.vector.values
    larger_is_nearer = nearest.measure is Measure.DOT_PRODUCT
    found: list[tuple[tuple[bool, float, Name], float, D]] = []
    for document in documents:
        value = get_field(document.fields, nearest.path)
        if not isinstance(value, Vector) or len(value.values) != len(wanted):
            continue
        how_far = distance(nearest.measure, value.values, wanted)
        unknown = math.isnan(how_far)
        if nearest.threshold is not None:
            near = (
                how_far >= nearest.threshold if larger_is_nearer else how_far <= nearest.threshold
            )
            if not near:
                continue
        key = 0.0 if unknown else -how_far if larger_is_nearer else how_far
        found.append(((unknown, key, name_order(document.name)), how_far, document))
    best = nsmallest(nearest.limit, found, key=itemgetter(0))
    return [(document, how_far) for _, how_far, document in best]

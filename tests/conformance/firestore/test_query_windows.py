"""Query windows: cursors, limits, offsets and aggregations over them."""

from typing import Any

import pytest
from google.api_core.exceptions import InvalidArgument
from google.cloud import firestore
from google.cloud.firestore_v1 import FieldFilter, types
from google.cloud.firestore_v1.aggregation import AggregationQuery

from tests.conformance.features import differs, feature
from tests.conformance.firestore.pages import AGGREGATION, CURSORS, ORDER, RPC
from tests.conformance.firestore.raw import OWNER, Raw, to_value


@pytest.fixture
def numbers(db: firestore.Client) -> firestore.CollectionReference:
    """Ten documents a..j: v from 0 to 9, w = v // 2."""
    batch = db.batch()
    for number, name in enumerate("abcdefghij"):
        batch.set(db.document(f"numbers/{name}"), {"v": number, "w": number // 2})
    batch.commit()
    collection: firestore.CollectionReference = db.collection("numbers")
    return collection


def ids(query: Any) -> str:
    return "".join(snapshot.id for snapshot in query.get())


@feature("Limit and offset", production=ORDER)
def test_limit_and_offset(numbers: firestore.CollectionReference) -> None:
    """An offset skips, a limit stops; beyond the end there is nothing."""
    query = numbers.order_by("v")
    assert ids(query.limit(3)) == "abc"
    assert ids(query.offset(8)) == "ij"
    assert ids(query.offset(2).limit(2)) == "cd"
    assert ids(query.offset(20)) == ""
    assert ids(numbers.order_by("v", direction="DESCENDING").limit(2)) == "ji"


@feature("limit_to_last", production=ORDER)
def test_limit_to_last(numbers: firestore.CollectionReference) -> None:
    """The last documents of the order, in the order asked for."""
    assert ids(numbers.order_by("v").limit_to_last(3)) == "hij"
    assert ids(numbers.order_by("w").limit_to_last(2)) == "ij"


@feature("Cursors", production=CURSORS)
@pytest.mark.parametrize(
    ("bounds", "found"),
    [
        ([("start_at", 3)], "defghij"),
        ([("start_after", 3)], "efghij"),
        ([("end_at", 3)], "abcd"),
        ([("end_before", 3)], "abc"),
        ([("start_at", 3), ("end_at", 5)], "def"),
        ([("start_after", 3), ("end_before", 5)], "e"),
        ([("start_at", 2.5), ("end_before", 4.5)], "de"),
        ([("start_at", 6), ("end_at", 5)], ""),
        ([("start_at", "text")], ""),
        ([("end_at", None)], ""),
    ],
    ids=str,
)
def test_cursor_of_values(
    numbers: firestore.CollectionReference, bounds: list[tuple[str, Any]], found: str
) -> None:
    """Cursors bound a query at values, with or without them, also between and beyond."""
    query: Any = numbers.order_by("v")
    for method, value in bounds:
        query = getattr(query, method)({"v": value})
    assert ids(query) == found


@feature("Cursors", production=CURSORS)
def test_cursor_in_descending_order(numbers: firestore.CollectionReference) -> None:
    """In descending order a query starts at what is larger."""
    query = numbers.order_by("v", direction="DESCENDING")
    assert ids(query.start_at({"v": 3})) == "dcba"
    assert ids(query.start_after({"v": 3}).end_at({"v": 1})) == "cb"


@feature("Cursors of several fields", production=CURSORS)
def test_cursor_of_several_fields(numbers: firestore.CollectionReference) -> None:
    """A cursor may name a prefix of the order: then it bounds all that share it."""
    query = numbers.order_by("w").order_by("v", direction="DESCENDING")
    assert ids(query) == "badcfehgji"
    assert ids(query.start_at({"w": 2})) == "fehgji"
    assert ids(query.start_after({"w": 2})) == "hgji"
    assert ids(query.end_at({"w": 1})) == "badc"
    assert ids(query.start_after({"w": 2, "v": 5})) == "ehgji"


@feature("Cursors from a document", production=CURSORS)
def test_cursor_from_a_snapshot(numbers: firestore.CollectionReference) -> None:
    """A document among equals is an exact place, by its name."""
    query = numbers.order_by("w")
    assert ids(query.start_after(numbers.document("c").get())) == "defghij"
    assert ids(query.end_before(numbers.document("d").get())) == "abc"
    assert ids(numbers.start_after(numbers.document("h").get())) == "ij"


@feature("Pages by cursors", production=CURSORS)
def test_pages_by_cursors_lose_nothing(numbers: firestore.CollectionReference) -> None:
    """Reading three at a time, each page after the last one's last document, finds all once."""
    seen, last = "", None
    while True:
        query = numbers.order_by("w", direction="DESCENDING").limit(3)
        page = (query.start_after(last) if last else query).get()
        if not page:
            break
        seen += "".join(snapshot.id for snapshot in page)
        last = page[-1]
    assert seen == "jihgfedcba"


@feature("Cursors with filters", production=CURSORS)
def test_cursor_and_filter(numbers: firestore.CollectionReference) -> None:
    """A cursor bounds what the filter finds."""
    query = numbers.where(filter=FieldFilter("v", ">", 2)).order_by("v").start_at({"v": 1})
    assert ids(query.limit(2)) == "de"
    query = numbers.where(filter=FieldFilter("w", "==", 2)).order_by("v").start_after({"v": 4})
    assert ids(query) == "f"


@feature("skipped_results", production=RPC)
def test_skipped_results_are_counted(numbers: firestore.CollectionReference, raw: Raw) -> None:
    """The replies say how many documents the offset skipped."""
    replies = raw.query(numbers.id, offset=4, limit={"value": 2})
    assert sum(reply.skipped_results for reply in replies) == 4
    assert len([reply for reply in replies if "document" in reply]) == 2


def values(query: Any) -> dict[str, Any]:
    return {result.alias: result.value for result in query.get()[0]}


@feature("count, sum and average", production=AGGREGATION)
def test_count_sum_and_average(numbers: firestore.CollectionReference) -> None:
    """Several aggregations of one query come in one answer, under their aliases."""
    query = AggregationQuery(numbers.where(filter=FieldFilter("v", ">=", 5)))
    query.count("n").sum("v", "total").avg("v", "mean")
    assert values(query) == {"n": 5, "total": 35, "mean": 7.0}


def aggregated(raw: Raw, collection_id: str, *aggregations: dict[str, Any]) -> dict[str, Any]:
    """The values themselves: the official client cannot tell 0, 0.0 and null apart."""
    structured = types.StructuredAggregationQuery(
        structured_query={"from_": [{"collection_id": collection_id}]}, aggregations=aggregations
    )
    request = types.RunAggregationQueryRequest(
        parent=raw.root, structured_aggregation_query=structured
    )
    (reply,) = raw.api.run_aggregation_query(request=request, metadata=OWNER)
    assert "read_time" in reply
    return dict(reply.result.aggregate_fields)


@feature("count, sum and average", production=AGGREGATION)
def test_aggregation_of_nothing(raw: Raw) -> None:
    """Of no documents the count is 0, the sum integer 0 and the average null."""
    field = {"field_path": "v"}
    found = aggregated(
        raw,
        "none",
        {"alias": "n", "count": {}},
        {"alias": "s", "sum": {"field": field}},
        {"alias": "a", "avg": {"field": field}},
    )
    assert found == {"n": to_value(0), "s": to_value(0), "a": to_value(None)}


@feature("sum and average skip what is no number", production=AGGREGATION)
def test_only_numbers_are_added(db: firestore.Client) -> None:
    """Texts and missing fields are left out of sum and average; a double makes the sum a double."""
    for name, value in {"a": 1, "b": "text", "c": 2.5, "d": None}.items():
        db.document(f"mixed/{name}").set({"v": value})
    db.document("mixed/e").set({"other": 1})
    query = db.collection("mixed").sum("v", "s").avg("v", "a")
    assert values(query) == {"s": 3.5, "a": 1.75}


@feature("sum and average skip what is no number", production=AGGREGATION)
def test_sum_that_overflows_is_a_double(db: firestore.Client) -> None:
    """Integers whose sum leaves 64 bits are added as doubles."""
    db.document("large/a").set({"v": 2**63 - 1})
    db.document("large/b").set({"v": 2**63 - 1})
    found = values(db.collection("large").sum("v", "s"))
    assert found == {"s": float(2**64)}


@feature("A count stops at its limit", production=AGGREGATION)
def test_count_up_to(numbers: firestore.CollectionReference, raw: Raw) -> None:
    """up_to bounds the count; so does the query's own limit."""
    assert values(AggregationQuery(numbers.order_by("v").limit(4)).count("n")) == {"n": 4}
    found = aggregated(raw, "numbers", {"alias": "n", "count": {"up_to": {"value": 7}}})
    assert found == {"n": to_value(7)}


@feature("Aggregations over groups, cursors and ORs", production=AGGREGATION)
def test_aggregation_of_a_collection_group_and_a_window(
    db: firestore.Client, numbers: firestore.CollectionReference
) -> None:
    """Whatever a query finds can be counted."""
    db.document("x/y/numbers/k").set({"v": 100})
    assert values(db.collection_group("numbers").count("n")) == {"n": 11}
    assert values(numbers.order_by("v").start_at({"v": 7}).count("n")) == {"n": 3}


@feature("Odd aggregations are refused", production=AGGREGATION)
@pytest.mark.parametrize(
    "aggregations",
    [
        pytest.param([], id="none"),
        pytest.param(
            [{"alias": f"a{n}", "count": {}} for n in range(6)],
            id="six",
            marks=differs(gcloud="UNKNOWN without a text"),
        ),
        pytest.param([{"alias": "a", "count": {}}, {"alias": "a", "count": {}}], id="one alias"),
        pytest.param(
            [{"alias": "a", "count": {"up_to": {"value": 0}}}],
            id="up to nothing",
            marks=differs(gcloud="answers 0"),
        ),
        pytest.param([{"alias": "a"}], id="no operator"),
    ],
)
def test_odd_aggregation_is_refused(raw: Raw, aggregations: list[dict[str, Any]]) -> None:
    """One to five aggregations with aliases of their own, each with an operator."""
    with pytest.raises(InvalidArgument):
        aggregated(raw, "numbers", *aggregations)

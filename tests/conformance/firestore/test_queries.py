"""Queries: what each operator finds."""

import math
from typing import Any

import pytest
from google.api_core.exceptions import InvalidArgument
from google.cloud import firestore
from google.cloud.firestore_v1 import FieldFilter, types
from google.cloud.firestore_v1.base_query import And, Or
from google.cloud.firestore_v1.field_path import FieldPath

from tests.conformance.features import differs, feature
from tests.conformance.firestore.pages import ORDER, QUERIES, RANGES, RPC
from tests.conformance.firestore.raw import Raw, to_value

CITIES: dict[str, dict[str, Any]] = {
    "BJ": {"name": "Beijing", "population": 21_500_000, "tags": ["capital", "east"]},
    "DC": {"name": "Washington", "population": 680_000, "state": None, "tags": ["capital"]},
    "LA": {"name": "Los Angeles", "population": 3_900_000, "state": "CA", "tags": ["west", 5]},
    "SF": {"name": "San Francisco", "population": 860_000, "state": "CA", "tags": ["west"]},
    "TOK": {"name": "Tokyo", "population": 9e6, "state": math.nan, "at": {"lat": 35}, "tags": []},
}


@pytest.fixture
def cities(db: firestore.Client) -> firestore.CollectionReference:
    batch = db.batch()
    for name, city in CITIES.items():
        batch.set(db.document(f"cities/{name}"), city)
    batch.commit()
    collection: firestore.CollectionReference = db.collection("cities")
    return collection


def ids(query: Any) -> list[str]:
    return [snapshot.id for snapshot in query.get()]


@feature("A query without a filter finds the collection", production=QUERIES)
def test_collection_is_found_in_order_of_names(cities: firestore.CollectionReference) -> None:
    """Every document of the collection, and none of its subcollections, by name."""
    cities.document("LA").collection("cities").document("x").set({})
    assert ids(cities) == ["BJ", "DC", "LA", "SF", "TOK"]


OPERATORS: list[tuple[str, str, Any, list[str]]] = [
    ("state", "==", "CA", ["LA", "SF"]),
    ("state", "==", None, ["DC"]),
    ("state", "==", math.nan, ["TOK"]),
    ("state", "!=", "CA", ["TOK"]),
    ("state", "!=", None, ["TOK", "LA", "SF"]),
    ("state", "!=", math.nan, ["LA", "SF"]),
    ("population", "<", 860_000, ["DC"]),
    ("population", "<=", 860_000, ["DC", "SF"]),
    ("population", ">", 9_000_000, ["BJ"]),
    ("population", ">=", 9_000_000, ["TOK", "BJ"]),
    ("population", ">", "text", []),
    ("name", ">=", "San", ["SF", "TOK", "DC"]),
    ("tags", "array_contains", "capital", ["BJ", "DC"]),
    ("tags", "array_contains", 5.0, ["LA"]),
    ("tags", "array_contains_any", ["east", "west"], ["BJ", "LA", "SF"]),
    ("tags", "==", ["west"], ["SF"]),
    ("tags", "==", [], ["TOK"]),
    ("state", "in", ["CA", "NY"], ["LA", "SF"]),
    ("tags", "in", [["west"], ["capital"]], ["DC", "SF"]),
    ("population", "in", [9_000_000, 680_000.0], ["DC", "TOK"]),
    ("state", "not-in", ["CA"], ["TOK"]),
    ("population", "not-in", [680_000, 860_000], ["LA", "TOK", "BJ"]),
    ("at.lat", ">", 0, ["TOK"]),
    ("at", "==", {"lat": 35.0}, ["TOK"]),
    ("nothing", "==", 1, []),
]


@feature("Every operator", production=QUERIES)
@pytest.mark.parametrize(
    ("path", "operator", "value", "found"), OPERATORS, ids=lambda case: str(case)[:24]
)
def test_operator_finds(
    cities: firestore.CollectionReference, path: str, operator: str, value: Any, found: list[str]
) -> None:
    """Each operator finds values of its kind only; documents without the field are never found."""
    assert ids(cities.where(filter=FieldFilter(path, operator, value))) == found


@feature("Unary operators", production=RPC)
@pytest.mark.parametrize(
    ("operator", "found"),
    [
        ("IS_NULL", ["DC"]),
        ("IS_NAN", ["TOK"]),
        ("IS_NOT_NULL", ["LA", "SF", "TOK"]),
        ("IS_NOT_NAN", ["LA", "SF"]),
    ],
)
def test_unary_operator_finds(
    cities: firestore.CollectionReference, raw: Raw, operator: str, found: list[str]
) -> None:
    """IS_NOT_NAN finds what has a value other than NaN and null; IS_NOT_NULL what is not null."""
    where = {"unary_filter": {"op": operator, "field": {"field_path": "state"}}}
    replies = raw.query(cities.id, where=where)
    assert sorted(reply.document.name.rsplit("/", 1)[1] for reply in replies) == found


@feature("AND", production=QUERIES)
def test_filters_are_joined_with_and(cities: firestore.CollectionReference) -> None:
    """Chained filters and an And of them find what satisfies all."""
    state = FieldFilter("state", "==", "CA")
    large = FieldFilter("population", ">", 1_000_000)
    west = FieldFilter("tags", "array_contains", "west")
    assert ids(cities.where(filter=state).where(filter=large)) == ["LA"]
    assert ids(cities.where(filter=And([state, large, west]))) == ["LA"]


@feature("OR", production=f"{QUERIES}#or_queries")
def test_filters_are_joined_with_or(cities: firestore.CollectionReference) -> None:
    """An Or finds each document once, by name; And and Or nest."""
    state = FieldFilter("state", "==", "CA")
    west = FieldFilter("tags", "array_contains", "west")
    capital = FieldFilter("tags", "array_contains", "capital")
    large = FieldFilter("population", ">", 10_000_000)
    assert ids(cities.where(filter=Or([west, state]))) == ["LA", "SF"]
    assert ids(cities.where(filter=Or([state, And([capital, large])])).order_by("name")) == [
        "BJ",
        "LA",
        "SF",
    ]
    nested = And([Or([state, capital]), Or([large, FieldFilter("name", "==", "San Francisco")])])
    assert ids(cities.where(filter=nested).order_by("name")) == ["BJ", "SF"]


@feature("OR", production=f"{QUERIES}#or_queries")
def test_or_is_ordered_and_limited_as_a_whole(cities: firestore.CollectionReference) -> None:
    """Order and limit apply to the union, not to its parts."""
    either = Or([FieldFilter("state", "==", "CA"), FieldFilter("name", "==", "Beijing")])
    query = cities.where(filter=either).order_by("population", direction="DESCENDING")
    assert ids(query.limit(2)) == ["BJ", "LA"]
    assert ids(query.limit(2).offset(1)) == ["LA", "SF"]


@feature("Inequalities on several fields", production=RANGES)
def test_inequalities_on_two_fields(cities: firestore.CollectionReference) -> None:
    """The result satisfies both, ordered by the fields in order of their names."""
    query = cities.where(filter=FieldFilter("population", ">", 700_000)).where(
        filter=FieldFilter("name", ">", "C")
    )
    assert ids(query) == ["LA", "SF", "TOK"]
    assert ids(query.order_by("population")) == ["SF", "LA", "TOK"]


@feature("Filters on the document id", production=QUERIES)
@pytest.mark.parametrize(
    ("operator", "value", "found"),
    [
        ("==", "LA", ["LA"]),
        (">=", "LA", ["LA", "SF", "TOK"]),
        ("<", "LA", ["BJ", "DC"]),
        ("in", ["SF", "DC", "nobody"], ["DC", "SF"]),
        ("not-in", ["SF", "DC"], ["BJ", "LA", "TOK"]),
        ("!=", "LA", ["BJ", "DC", "SF", "TOK"]),
    ],
)
def test_document_id_is_compared(
    cities: firestore.CollectionReference, operator: str, value: Any, found: list[str]
) -> None:
    """`__name__` compares with references to documents of the collection."""
    many = isinstance(value, list)
    operand = [cities.document(v) for v in value] if many else cities.document(value)
    where = FieldFilter(FieldPath.document_id(), operator, operand)
    assert ids(cities.where(filter=where)) == found


@feature("Filters on the document id", production=QUERIES)
def test_document_id_must_be_a_reference(raw: Raw) -> None:
    """`__name__` compared with a text is INVALID_ARGUMENT."""
    where = {
        "field_filter": {
            "field": {"field_path": "__name__"},
            "op": "EQUAL",
            "value": to_value("LA"),
        }
    }
    with pytest.raises(InvalidArgument):
        raw.query("cities", where=where)


@feature("Only the fields selected", production=RPC)
def test_select_returns_the_fields_named(cities: firestore.CollectionReference) -> None:
    """A projection returns just its paths; of no path, just the names."""
    found = cities.select(["name", "at.lat"]).get()
    assert found[-1].to_dict() == {"name": "Tokyo", "at": {"lat": 35}}
    assert found[0].to_dict() == {"name": "Beijing"}
    assert [s.to_dict() for s in cities.select([FieldPath.document_id()]).get()] == [{}] * 5


@feature("Order", production=ORDER)
def test_order_of_several_fields(cities: firestore.CollectionReference) -> None:
    """Each order has its direction; documents without the field are left out."""
    query = cities.order_by("state").order_by("population", direction="DESCENDING")
    assert ids(query) == ["DC", "TOK", "LA", "SF"]
    assert ids(cities.order_by("at.lat")) == ["TOK"]


@feature("Order", production=ORDER)
def test_equal_values_are_ordered_by_name_in_the_last_direction(db: firestore.Client) -> None:
    """Ties follow the direction of the last order."""
    for name in "cab":
        db.document(f"ties/{name}").set({"v": 1, "w": 1})
    ties = db.collection("ties")
    assert ids(ties.order_by("v")) == ["a", "b", "c"]
    assert ids(ties.order_by("v", direction="DESCENDING")) == ["c", "b", "a"]
    assert ids(ties.order_by("v", direction="DESCENDING").order_by("w")) == ["a", "b", "c"]


@feature("Collection groups", production=f"{QUERIES}#collection-group-query")
def test_collection_group_finds_at_every_depth(db: firestore.Client) -> None:
    """Every collection of that id, anywhere, in order of full names."""
    for path in ("mails/1", "users/ann/mails/2", "users/ann/mails/2/mails/3", "users/ben/other/4"):
        db.document(path).set({"v": int(path[-1])})
    group = db.collection_group("mails")
    assert ids(group) == ["1", "2", "3"]
    assert ids(group.where(filter=FieldFilter("v", ">", 1))) == ["2", "3"]
    assert ids(group.order_by("v", direction="DESCENDING").limit(1)) == ["3"]


@feature("Collection groups", production=f"{QUERIES}#collection-group-query")
def test_collection_group_below_a_document(db: firestore.Client, raw: Raw) -> None:
    """With a parent, a group is what lies below that document."""
    for path in ("mails/1", "users/ann/mails/2", "users/ann/x/y/mails/3", "users/anne/mails/4"):
        db.document(path).set({})
    query = types.StructuredQuery(from_=[{"collection_id": "mails", "all_descendants": True}])
    request = types.RunQueryRequest(parent=raw.name("users/ann"), structured_query=query)
    found = [reply.document.name[-1] for reply in raw.api.run_query(request=request)]
    assert found == ["2", "3"]


@feature("All descendants", production=RPC)
def test_every_collection_below_a_document(db: firestore.Client, raw: Raw) -> None:
    """A selector without an id and with all_descendants finds all documents below the parent."""
    for path in ("users/ann", "users/ann/a/1", "users/ann/a/1/b/2", "users/ben/a/3"):
        db.document(path).set({})
    query = types.StructuredQuery(from_=[{"all_descendants": True}])
    request = types.RunQueryRequest(parent=raw.name("users/ann"), structured_query=query)
    found = [reply.document.name for reply in raw.api.run_query(request=request)]
    assert found == [raw.name("users/ann/a/1"), raw.name("users/ann/a/1/b/2")]


@feature("A query has one read time", production=RPC)
def test_empty_result_has_a_read_time(raw: Raw) -> None:
    """A query that finds nothing answers one reply with a read time and no document."""
    replies = raw.query("nothing")
    assert len(replies) == 1
    assert "document" not in replies[0]
    assert "read_time" in replies[0]


def where(operator: str, value: Any, path: str = "v") -> dict[str, Any]:
    return {
        "field_filter": {"field": {"field_path": path}, "op": operator, "value": to_value(value)}
    }


@feature("Queries that cannot be are refused", production=f"{QUERIES}#query_limitations")
@pytest.mark.parametrize(
    "query",
    [
        pytest.param({"where": where("IN", [])}, id="in nothing"),
        pytest.param({"where": where("IN", 5)}, id="in a number"),
        pytest.param({"where": where("ARRAY_CONTAINS_ANY", [])}, id="any of nothing"),
        pytest.param({"limit": -1}, id="negative limit"),
        pytest.param({"offset": -1}, id="negative offset"),
        pytest.param({"where": where("EQUAL", 1, "a..b")}, id="bad path"),
        pytest.param(
            {"where": {"composite_filter": {"op": "AND", "filters": []}}},
            id="empty composite",
            marks=differs(gcloud="an AND of nothing finds everything"),
        ),
        pytest.param(
            {
                "where": {
                    "composite_filter": {
                        "op": "AND",
                        "filters": [where("ARRAY_CONTAINS", 1), where("ARRAY_CONTAINS", 2)],
                    }
                }
            },
            id="two array-contains",
        ),
        pytest.param(
            {
                "where": {
                    "composite_filter": {
                        "op": "AND",
                        "filters": [where("NOT_IN", [1]), where("NOT_EQUAL", 1)],
                    }
                }
            },
            id="not-in with not-equal",
        ),
        pytest.param(
            {
                "order_by": [{"field": {"field_path": "v"}}],
                "start_at": {"values": [to_value(1), to_value(2), to_value(3)]},
            },
            id="cursor longer than the order",
        ),
    ],
)
def test_impossible_query_is_refused(raw: Raw, query: dict[str, Any]) -> None:
    """A query outside the documented rules is INVALID_ARGUMENT, also on an empty collection."""
    with pytest.raises(InvalidArgument):
        raw.query("cities", **query)

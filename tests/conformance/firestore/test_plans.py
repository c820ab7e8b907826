"""Plans: what a query would cost, and how to split it."""

from typing import Any

import pytest
from google.api_core.exceptions import InvalidArgument
from google.cloud import firestore
from google.cloud.firestore_v1 import FieldFilter, types
from google.cloud.firestore_v1.query_profile import ExplainOptions, QueryExplainError

from tests.conformance.features import feature
from tests.conformance.firestore.pages import EXPLAIN, PARTITION
from tests.conformance.firestore.raw import OWNER, Raw

IGNORED = "explain_options are ignored: no metrics"


@pytest.fixture
def people(db: firestore.Client) -> firestore.CollectionReference:
    batch = db.batch()
    for number in range(20):
        batch.set(db.document(f"people/p{number:02}"), {"v": number % 4})
    batch.commit()
    collection: firestore.CollectionReference = db.collection("people")
    return collection


@feature("Explain: the plan alone", production=EXPLAIN, gcloud=IGNORED)
def test_plan_is_explained_without_running(raw: Raw, people: object) -> None:
    """With analyze false the answer is the indexes used, and no document."""
    replies = explained(raw, analyze=False)
    assert not [reply for reply in replies if "document" in reply]
    metrics = [reply.explain_metrics for reply in replies if "explain_metrics" in reply]
    assert len(metrics) == 1
    (index,) = metrics[0].plan_summary.indexes_used
    assert index["query_scope"] == "Collection"
    assert index["properties"] == "(v ASC, __name__ ASC)"
    assert "execution_stats" not in metrics[0]


@feature("Explain: with statistics", production=EXPLAIN, gcloud=IGNORED)
def test_analyzed_query_answers_and_counts(raw: Raw, people: object) -> None:
    """With analyze true the documents come too, and the last reply counts them and the reads."""
    replies = explained(raw, analyze=True)
    assert len([reply for reply in replies if "document" in reply]) == 5
    statistics = replies[-1].explain_metrics.execution_stats
    assert statistics.results_returned == 5
    assert statistics.read_operations == 5
    assert statistics.execution_duration.total_seconds() > 0


def explained(raw: Raw, analyze: bool) -> list[types.RunQueryResponse]:
    where = {
        "field_filter": {
            "field": {"field_path": "v"},
            "op": "EQUAL",
            "value": {"integer_value": 1},
        }
    }
    request = types.RunQueryRequest(
        parent=raw.root,
        structured_query={"from_": [{"collection_id": "people"}], "where": where},
        explain_options={"analyze": analyze},
    )
    return list(raw.api.run_query(request=request, metadata=OWNER))


@feature("Explain: through the client", production=EXPLAIN, gcloud=IGNORED)
def test_client_reads_explain_metrics(people: firestore.CollectionReference) -> None:
    """get() and an aggregation's get() carry the metrics."""
    query = people.where(filter=FieldFilter("v", "==", 1))
    for found in (query, query.count("n")):
        try:
            answer = found.get(explain_options=ExplainOptions(analyze=True))
            metrics = answer.get_explain_metrics()
        except QueryExplainError as error:
            pytest.fail(str(error))
        assert metrics.plan_summary.indexes_used
        assert metrics.execution_stats.results_returned == len(answer)


def partitions(raw: Raw, **more: Any) -> list[types.Cursor]:
    query = types.StructuredQuery(
        from_=[{"collection_id": "people", "all_descendants": True}],
        order_by=[{"field": {"field_path": "__name__"}, "direction": "ASCENDING"}],
    )
    request = types.PartitionQueryRequest(parent=raw.root, structured_query=query, **more)
    return list(raw.api.partition_query(request=request, metadata=OWNER))


NO_PARTITIONS = "UNIMPLEMENTED: PartitionQuery"


@feature("PartitionQuery", production=PARTITION, gcloud=NO_PARTITIONS)
def test_partitions_cover_the_group_once(db: firestore.Client, raw: Raw) -> None:
    """The parts of a partitioned group are disjoint and together the group."""
    batch = db.batch()
    for number in range(300):
        batch.set(db.document(f"teams/t{number % 3}/people/p{number:03}"), {"v": number})
    batch.commit()
    assert 1 <= len(partitions(raw, partition_count=3)) <= 3
    seen = []
    for partition in db.collection_group("people").get_partitions(4):
        seen += [snapshot.reference.path for snapshot in partition.query().get()]
    whole = [snapshot.reference.path for snapshot in db.collection_group("people").get()]
    assert seen == whole
    assert len(seen) == 300


@feature("PartitionQuery", production=PARTITION, gcloud=NO_PARTITIONS)
def test_partition_count_must_be_positive(raw: Raw) -> None:
    """A partition count of 0 is INVALID_ARGUMENT."""
    with pytest.raises(InvalidArgument):
        partitions(raw, partition_count=0)

"""google.firestore.v1: RunQuery, RunAggregationQuery and PartitionQuery.

Every method is: decode, take the transaction's turn, one call of the engine, build replies.
With explain_options the last reply carries the plan, and the statistics if `analyze` is set;
without `analyze` nothing is run.

`execution_stats.debug_stats` and `plan_summary.indexes_used` tell what this emulator did:
the entries it looked at, and its own indexes, built at first use.
Sources: google/firestore/v1/firestore.proto, query_profile.proto; observed: gcloud Firestore
emulator 1.19.9 (which ignores explain_options and has no PartitionQuery).
"""

from collections.abc import AsyncIterator
from typing import Any, Final

from emulator.clock import Clock
from emulator.errors import InvalidArgument
from emulator.firestore.advice import Advisor
from emulator.firestore.consistency import View, open_view, take_turns
from emulator.firestore.convert import document_bytes, document_pb, encode_time, encode_value
from emulator.firestore.pb import query_profile, types
from emulator.firestore.query import NAME_PATH, Order, Query
from emulator.firestore.query_decode import decode_aggregations, decode_query
from emulator.firestore.query_engine import Answer, Engines, QueryEngine, affects, resource
from emulator.firestore.query_plan import Stats
from emulator.firestore.store import Store
from emulator.wire import Context, Rpc

_RunQueryReply: Final[Any] = types.RunQueryResponse.pb()
_AggregationReply: Final[Any] = types.RunAggregationQueryResponse.pb()
_PartitionReply: Final[Any] = types.PartitionQueryResponse.pb()
_Metrics: Final[Any] = query_profile.ExplainMetrics.pb()


class QueryService:
    """The RPCs that answer queries."""

    def __init__(self, store: Store, clock: Clock, engines: Engines, advisor: Advisor) -> None:
        self._store = store
        self._clock = clock
        self._engines = engines
        self._advisor = advisor

    def rpcs(self) -> dict[str, Rpc]:
        """This part of the service's table."""
        return {
            "RunQuery": Rpc(
                types.RunQueryRequest.pb(), _RunQueryReply, self.run_query, stream_out=True
            ),
            "RunAggregationQuery": Rpc(
                types.RunAggregationQueryRequest.pb(),
                _AggregationReply,
                self.run_aggregation_query,
                stream_out=True,
            ),
            "PartitionQuery": Rpc(
                types.PartitionQueryRequest.pb(), _PartitionReply, self.partition_query
            ),
        }

    async def run_query(self, request: Any, _context: Context) -> AsyncIterator[Any]:
        """RunQuery: a reply for each document; `done` is on the last one."""
        if request.WhichOneof("query_type") is None:
            raise InvalidArgument("A query must be given: structured_query is not set.")
        name, query = decode_query(request.parent, request.structured_query)
        self._advisor.check(name, query)
        engine = self._engines.engine(name)
        if request.HasField("explain_options") and not request.explain_options.analyze:
            yield _RunQueryReply(explain_metrics=_planned(engine, query))
            return
        view = open_view(self._store, name, request, self._clock)
        if view.begun and view.transaction is not None:
            yield _RunQueryReply(transaction=view.transaction.transaction_id)
        await take_turns(view, [resource(query.scope)], self._clock)
        started_us = self._clock.now_us()
        answer = engine.run(query, view.snapshot_us)
        _record(view, query, answer)
        read_time_us = view.reply_time_us()
        last = _RunQueryReply(done=True)
        encode_time(read_time_us, last.read_time)
        if request.HasField("explain_options"):
            metrics = _planned(engine, query)
            took_us = self._clock.now_us() - started_us
            _fill_stats(metrics.execution_stats, answer.stats, len(answer.documents), took_us)
            last.explain_metrics.CopyFrom(metrics)
        for index, document in enumerate(answer.documents, start=1):
            reply = last
            if index < len(answer.documents):
                reply = _RunQueryReply()
                encode_time(read_time_us, reply.read_time)
            if query.select is None:
                reply.document.MergeFromString(document_bytes(name, document))
            else:
                reply.document.CopyFrom(document_pb(name, document, query.select))
            if index == 1:
                reply.skipped_results = query.offset
            yield reply
        if not answer.documents:
            yield last

    async def run_aggregation_query(self, request: Any, _context: Context) -> AsyncIterator[Any]:
        """RunAggregationQuery: one reply."""
        message = request.structured_aggregation_query
        if message.WhichOneof("query_type") is None:
            raise InvalidArgument("A query must be given: structured_query is not set.")
        name, query = decode_query(request.parent, message.structured_query)
        aggregations = decode_aggregations(query, message.aggregations)
        self._advisor.check(name, query, aggregations)
        engine = self._engines.engine(name)
        if request.HasField("explain_options") and not request.explain_options.analyze:
            yield _AggregationReply(explain_metrics=_planned(engine, query))
            return
        view = open_view(self._store, name, request, self._clock)
        await take_turns(view, [resource(query.scope)], self._clock)
        started_us = self._clock.now_us()
        results, stats = engine.aggregate(query, aggregations, view.snapshot_us)
        if view.transaction is not None:
            view.transaction.record_query(resource(query.scope), affects(query, ()))
        reply = _AggregationReply()
        if view.begun and view.transaction is not None:
            reply.transaction = view.transaction.transaction_id
        reply.result.SetInParent()
        for alias, value in results.items():
            encode_value(value, reply.result.aggregate_fields[alias])
        encode_time(view.reply_time_us(), reply.read_time)
        if request.HasField("explain_options"):
            metrics = _planned(engine, query)
            _fill_stats(metrics.execution_stats, stats, 1, self._clock.now_us() - started_us)
            reply.explain_metrics.CopyFrom(metrics)
        yield reply

    def partition_query(self, request: Any, _context: Context) -> Any:
        """PartitionQuery: cursors that cut a collection group, ordered by name, into parts."""
        if request.WhichOneof("query_type") is None:
            raise InvalidArgument("A query must be given: structured_query is not set.")
        name, query = decode_query(request.parent, request.structured_query)
        _check_partitionable(query)
        if request.partition_count < 1:
            raise InvalidArgument("partition_count must be greater than zero.")
        if request.page_size < 0:
            raise InvalidArgument("page_size must not be negative.")
        view = open_view(self._store, name, request, self._clock)
        cuts = self._engines.engine(name).partition(
            query, request.partition_count, view.snapshot_us
        )
        start = _page_start(request.page_token)
        stop = start + request.page_size if request.page_size else len(cuts)
        reply = _PartitionReply()
        for cut in cuts[start:stop]:
            partition = reply.partitions.add()
            partition.values.add().reference_value = name.full_name(cut)
            partition.before = True
        if stop < len(cuts):
            reply.next_page_token = str(stop)
        return reply


def _record(view: View, query: Query, answer: Answer) -> None:
    """Note the read in its transaction."""
    if view.transaction is not None:
        view.transaction.record_query(resource(query.scope), affects(query, answer.documents))


def _planned(engine: QueryEngine, query: Query) -> Any:
    """ExplainMetrics with the plan only."""
    metrics = _Metrics()
    metrics.plan_summary.SetInParent()
    for used in engine.plan(query).indexes_used():
        metrics.plan_summary.indexes_used.add().update(used)
    return metrics


def _fill_stats(message: Any, stats: Stats, returned: int, took_us: int) -> None:
    message.results_returned = returned
    message.read_operations = max(1, stats.documents_read)
    message.execution_duration.FromMicroseconds(took_us)
    message.debug_stats.update(
        {
            "index_entries_scanned": str(stats.entries_scanned),
            "documents_scanned": str(stats.documents_read),
            "billing_details": {
                "documents_billable": str(stats.documents_read),
                "index_entries_billable": str(stats.entries_scanned),
                "min_query_cost": "0",
                "small_ops": "0",
            },
        }
    )


def _check_partitionable(query: Query) -> None:
    """Raise unless the query is what PartitionQueryRequest's comment asks for.

    Raises:
        InvalidArgument: it is another.
    """
    plain = query.where is None and query.find_nearest is None
    if (
        not plain
        or not query.scope.all_descendants
        or query.order_by not in ((), (Order(NAME_PATH),))
        or query.limit is not None
        or query.offset
        or query.start_at
        or query.end_at
    ):
        raise InvalidArgument(
            "A partition query must be over a collection group with all descendants, ordered by "
            "__name__ ascending, without filter, limit, offset or cursor."
        )


def _page_start(token: str) -> int:
    if not token:
        return 0
    if not token.isdecimal():
        raise InvalidArgument("Invalid page_token.")
    return int(token)

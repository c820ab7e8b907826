"""Firestore's RPC methods on messages, without a socket: masks, pages, batches, transactions."""

import asyncio
import math
from typing import Any

import pytest
from google.cloud.firestore_v1 import types
from hypothesis import given
from hypothesis import strategies as st

from emulator.clock import SECOND_US, ManualClock
from emulator.errors import (
    Aborted,
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    Unimplemented,
)
from emulator.firestore.convert import ValuePb, decode_value, encode_value, time_pb
from emulator.firestore.document_service import DocumentService
from emulator.firestore.list_service import ListService
from emulator.firestore.store import Store
from emulator.firestore.transactions import TURN_US
from emulator.firestore.values import GeoPoint, Reference, Timestamp, Vector, same_value
from emulator.firestore.write_stream import WriteStream

DATABASE = "projects/p/databases/(default)"
ROOT = f"{DATABASE}/documents"


class Service:
    """The methods of one store, called with keyword arguments and run to their end."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = Store()
        self.documents = DocumentService(self.store, self.clock)
        self.lists = ListService(self.store, self.clock)
        self.stream = WriteStream(self.store, self.clock)

    def get(self, path: str, **more: Any) -> Any:
        request = types.GetDocumentRequest.pb()(name=f"{ROOT}/{path}", **more)
        return asyncio.run(self.documents.get_document(request, None))

    def batch_get(self, *paths: str, **more: Any) -> list[Any]:
        return asyncio.run(self.collect(*paths, **more))

    async def collect(self, *paths: str, **more: Any) -> list[Any]:
        names = [f"{ROOT}/{path}" for path in paths]
        request = types.BatchGetDocumentsRequest.pb()(database=DATABASE, documents=names, **more)
        return [reply async for reply in self.documents.batch_get_documents(request, None)]

    def create(self, collection_id: str, document_id: str, **fields: Any) -> Any:
        request = types.CreateDocumentRequest.pb()(
            parent=ROOT,
            collection_id=collection_id,
            document_id=document_id,
            document={"fields": to_fields(fields)},
        )
        return self.documents.create_document(request, None)

    def commit(self, *writes: Any, **more: Any) -> Any:
        request = types.CommitRequest.pb()(database=DATABASE, writes=writes, **more)
        return self.documents.commit(request, None)

    def begin(self, **options: Any) -> bytes:
        request = types.BeginTransactionRequest.pb()(database=DATABASE, options=options)
        transaction: bytes = self.documents.begin_transaction(request, None).transaction
        return transaction

    def list_page(self, collection_id: str, parent: str = "", **more: Any) -> Any:
        request = types.ListDocumentsRequest.pb()(
            parent=f"{ROOT}/{parent}".rstrip("/"), collection_id=collection_id, **more
        )
        return asyncio.run(self.lists.list_documents(request, None))

    def write(self, *requests: dict[str, Any]) -> list[Any]:
        async def run() -> list[Any]:
            async def messages() -> Any:
                for request in requests:
                    yield types.WriteRequest.pb()(**request)

            return [reply async for reply in self.stream.write(messages(), None)]

        return asyncio.run(run())


def to_fields(fields: dict[str, Any]) -> dict[str, Any]:
    messages = {}
    for key, value in fields.items():
        messages[key] = ValuePb()
        encode_value(value, messages[key])
    return messages


def from_fields(document: Any) -> dict[str, Any]:
    return {key: decode_value(value) for key, value in document.fields.items()}


def put(path: str, **fields: Any) -> Any:
    return types.Write.pb()(update={"name": f"{ROOT}/{path}", "fields": to_fields(fields)})


def ids(reply: Any) -> list[str]:
    return [document.name.removeprefix(f"{ROOT}/") for document in reply.documents]


@pytest.fixture
def service() -> Service:
    return Service()


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=5)
    | st.builds(Timestamp, st.integers(-(10**15), 10**15))
    | st.builds(GeoPoint, st.floats(-90, 90), st.floats(-180, 180))
    | st.builds(Vector, st.lists(st.floats(), min_size=1, max_size=3).map(tuple))
    | st.just(Reference(f"{ROOT}/a/b")),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=3), children, max_size=3)
    ),
    max_leaves=6,
)


@given(values)
def test_values_survive_the_wire(value):
    """Encoding, serializing, parsing and decoding gives the identical value."""
    message = ValuePb()
    encode_value(value, message)
    assert same_value(decode_value(ValuePb.FromString(message.SerializeToString())), value)


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"geo_point_value": {"latitude": 91}},
        {"geo_point_value": {"longitude": math.nan}},
        {"timestamp_value": {"seconds": 253_402_300_800}},
        {"reference_value": "somewhere"},
        {"reference_value": f"{ROOT}/a"},
        {"field_reference_value": "a"},
    ],
    ids=str,
)
def test_values_of_no_stored_type_are_refused(message):
    """Unset, out of range, pipelines' own, a vector that is none: INVALID_ARGUMENT."""
    with pytest.raises(InvalidArgument):
        decode_value(ValuePb(**message))


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "missing key"),
        ({"x": {}}, "missing key"),
        ({"value": {}}, "must be an array"),
        ({"value": {"array_value": {}}}, "zero length"),
        ({"value": {"array_value": {"values": [{"integer_value": 1}]}}}, "type 'double'"),
        ({"value": {"array_value": {"values": [{"double_value": 1}]}}, "x": {}}, "extraneous"),
    ],
    ids=str,
)
def test_maps_that_claim_to_be_vectors_must_be(fields, text):
    """Each way to be none is refused in the emulator's words."""
    marked = {"__type__": {"string_value": "__vector__"}, **fields}
    with pytest.raises(InvalidArgument, match=text):
        decode_value(ValuePb(map_value={"fields": marked}))


def test_instants_are_cut_to_microseconds():
    """Nanoseconds beyond are dropped, as documented."""
    value = ValuePb(timestamp_value={"seconds": 1, "nanos": 1_999})
    assert decode_value(value) == Timestamp(SECOND_US + 1)


def test_a_created_document_is_returned_and_got(service):
    """With times, with an id of ours where none is given, once only."""
    created = service.create("c", "d", n=1)
    assert created == service.get("c/d")
    assert from_fields(created) == {"n": 1}
    assert created.create_time == created.update_time
    with pytest.raises(AlreadyExists):
        service.create("c", "d", n=2)
    name = service.create("c", "", n=1).name
    assert len(name.removeprefix(f"{ROOT}/c/")) == 20
    with pytest.raises(InvalidArgument):
        service.create("c", "a/b")


def test_masks_cut_what_is_returned(service):
    """Only the named fields, nested ones too; a mask of __name__ or nothing known: no fields."""
    service.create("c", "d", a={"x": 1, "y": 2}, b=3)
    assert from_fields(service.get("c/d", mask={"field_paths": ["a.x"]})) == {"a": {"x": 1}}
    assert from_fields(service.get("c/d", mask={"field_paths": ["a.x", "a"]})) == {
        "a": {"x": 1, "y": 2}
    }
    for paths in (["__name__"], ["zz"], []):
        assert from_fields(service.get("c/d", mask={"field_paths": paths})) == {}
    assert from_fields(service.get("c/d")) == {"a": {"x": 1, "y": 2}, "b": 3}


def test_update_document_merges_and_returns(service):
    """UpdateDocument with an update_mask, and with a precondition."""
    service.create("c", "d", a=1, b=2)
    request = types.UpdateDocumentRequest.pb()(
        document={"name": f"{ROOT}/c/d", "fields": to_fields({"a": 9})},
        update_mask={"field_paths": ["a"]},
        current_document={"exists": True},
    )
    assert from_fields(service.documents.update_document(request, None)) == {"a": 9, "b": 2}
    request.document.name = f"{ROOT}/c/none"
    with pytest.raises(NotFound):
        service.documents.update_document(request, None)


def test_a_batch_get_answers_each_document_once(service):
    """Found or missing, in the order asked; a new transaction's id comes first and alone."""
    service.create("c", "d", n=1)
    first, *rest = service.batch_get("c/d", "c/none", "c/d", new_transaction={})
    assert first.transaction
    assert not first.HasField("read_time")
    assert [reply.WhichOneof("result") for reply in rest] == ["found", "missing"]
    assert all(reply.HasField("read_time") for reply in rest)
    assert service.commit(put("c/e", n=1), transaction=first.transaction).commit_time.seconds


def test_reads_at_a_time_and_in_a_read_only_transaction(service):
    """Both see the past; a time out of the window or in the future is refused."""
    created = service.create("c", "d", n=1)
    transaction = service.begin(read_only={})
    at = {"read_time": created.update_time}
    service.commit(put("c/d", n=2))
    assert from_fields(service.get("c/d", transaction=transaction)) == {"n": 1}
    assert from_fields(service.get("c/d", **at)) == {"n": 1}
    old = service.begin(read_only=at)
    assert from_fields(service.get("c/d", transaction=old)) == {"n": 1}
    with pytest.raises(InvalidArgument, match="future"):
        service.get("c/d", read_time=time_pb(service.clock.now_us() + SECOND_US))
    service.clock.advance(61)
    with pytest.raises(FailedPrecondition, match="too old"):
        service.get("c/d", **at)


def test_verify_is_honoured_though_the_published_proto_lacks_it(service):
    """Field 5 of Write, as web and mobile clients send it."""
    name = f"{ROOT}/c/d".encode()
    exists_false = types.Write.pb()(current_document={"exists": False}).SerializeToString()
    verify = types.Write.pb().FromString(b"\x2a" + bytes([len(name)]) + name + exists_false)
    service.commit(verify, put("c/e", n=1))
    service.create("c", "d", n=1)
    with pytest.raises(AlreadyExists):
        service.commit(verify, put("c/e", n=2))
    assert from_fields(service.get("c/e")) == {"n": 1}


@pytest.mark.parametrize(
    "write",
    [
        {},
        {"transform": {"document": f"{ROOT}/c/d"}},
        {"transform": {"document": f"{ROOT}/c/d", "field_transforms": [{"field_path": "a"}]}},
        {"delete": "projects/p/databases/other/documents/c/d"},
        {"delete": f"{ROOT}/c"},
        {"update": {"name": f"{ROOT}/c/d"}, "update_mask": {"field_paths": ["a-b"]}},
    ],
    ids=str,
)
def test_malformed_writes_are_refused(service, write):
    """INVALID_ARGUMENT, whatever is stored."""
    with pytest.raises(InvalidArgument):
        service.commit(types.Write.pb()(**write))


def test_a_commit_over_ten_mebibytes_is_refused(service):
    """By its size on the wire; just under it is taken."""
    writes = [put(f"c/{n}", text="x" * 1_000_000) for n in range(10)]
    service.commit(*writes)
    with pytest.raises(InvalidArgument, match="10485760"):
        service.commit(*writes, put("c/more", text="x" * 500_000))


def test_a_batch_write_answers_each_write_by_itself(service):
    """One failure stops none of the others; one document twice refuses all."""
    fails = put("c/none", n=1)
    fails.current_document.exists = True
    request = types.BatchWriteRequest.pb()(
        database=DATABASE, writes=[put("c/a", n=1), fails, put("c/b", n=1)]
    )
    reply = service.documents.batch_write(request, None)
    assert [status.code for status in reply.status] == [0, 5, 0]
    assert [result.HasField("update_time") for result in reply.write_results] == [True, False, True]
    request.writes.append(put("c/a", n=2))
    with pytest.raises(InvalidArgument):
        service.documents.batch_write(request, None)


def test_lists_page_in_order_of_name(service):
    """Every document once, whatever the page size, and what is written between pages shows."""
    service.commit(*[put(f"c/{name}", n=1) for name in ("b", "d", "a", "__id10__", "__id9__")])
    service.commit(put("c/a/sub/x", n=1), put("c/missing/sub/x", n=1))
    everything = ["c/__id9__", "c/__id10__", "c/a", "c/b", "c/d"]
    assert ids(service.list_page("c")) == everything
    first = service.list_page("c", page_size=3)
    assert ids(first) == everything[:3]
    service.commit(put("c/c", n=1), types.Write.pb()(delete=f"{ROOT}/c/a"))
    second = service.list_page("c", page_size=3, page_token=first.next_page_token)
    assert ids(second) == ["c/b", "c/c", "c/d"]
    assert second.next_page_token == ""
    assert ids(service.list_page("sub", parent="c/a")) == ["c/a/sub/x"]
    assert ids(service.list_page("", page_size=2, parent="c/missing")) == ["c/missing/sub/x"]


def test_a_page_has_a_default_and_a_greatest_size(service):
    """30 documents unless asked for more, 300 however many are asked for; none negative."""
    service.commit(*[put(f"c/{number}", n=1) for number in range(301)])
    assert len(service.list_page("c").documents) == 30
    assert len(service.list_page("c", page_size=1000).documents) == 300
    with pytest.raises(InvalidArgument, match="nonnegative"):
        service.list_page("c", page_size=-1)


def test_missing_documents_are_listed_on_request(service):
    """By name alone: no fields, no times."""
    service.commit(put("c/a", n=1), put("c/b/sub/x/deeper/y", n=1))
    assert ids(service.list_page("c")) == ["c/a"]
    reply = service.list_page("c", show_missing=True)
    assert ids(reply) == ["c/a", "c/b"]
    assert not reply.documents[1].HasField("create_time")
    with pytest.raises(InvalidArgument):
        service.list_page("c", show_missing=True, order_by="n")


def test_lists_in_an_order_by_fields_keep_to_the_first_page_s_state(service):
    """Ties by name in the last direction; documents without the field are left out."""
    rows = {"a": (1, 1), "b": (2, 1), "c": (1, 2), "d": (2, 2)}
    service.commit(*[put(f"c/{key}", n=n, m=m) for key, (n, m) in rows.items()], put("c/e", x=1))
    assert ids(service.list_page("c", order_by="n desc, m")) == ["c/b", "c/d", "c/a", "c/c"]
    assert ids(service.list_page("c", order_by="n desc")) == ["c/d", "c/b", "c/c", "c/a"]
    first = service.list_page("c", order_by="n", page_size=2)
    service.commit(put("c/0", n=0))
    second = service.list_page("c", order_by="n", page_size=2, page_token=first.next_page_token)
    assert ids(first) + ids(second) == ["c/a", "c/c", "c/b", "c/d"]
    by_name = service.list_page("c", order_by="__name__ desc")
    assert ids(by_name) == ["c/e", "c/d", "c/c", "c/b", "c/a", "c/0"]
    with pytest.raises(InvalidArgument):
        service.list_page("c", order_by="n sideways")


def test_lists_at_a_time_show_that_state(service):
    """A read time, with what was deleted since and without what was created since."""
    service.commit(put("c/a", n=1), put("c/b/sub/x", n=1))
    at = service.commit(put("c/d", n=1)).commit_time
    service.commit(types.Write.pb()(delete=f"{ROOT}/c/a"), put("c/new", n=1))
    assert ids(service.list_page("c", read_time=at)) == ["c/a", "c/d"]
    shown = service.list_page("c", read_time=at, show_missing=True, page_size=2)
    assert ids(shown) == ["c/a", "c/b"]
    request = types.ListCollectionIdsRequest.pb()(parent=f"{ROOT}/c/b", read_time=at)
    assert service.lists.list_collection_ids(request, None).collection_ids == ["sub"]


@pytest.mark.parametrize("token", ["zz", "W10=", "bm90IGpzb24=", "eyJza2lwIjogIngifQ=="])
def test_bad_page_tokens_are_refused(service, token):
    """INVALID_ARGUMENT, not a defect of ours."""
    with pytest.raises(InvalidArgument, match="page token"):
        service.list_page("c", page_token=token)


def test_collection_ids_page(service):
    """In order, of the root or of a document, missing ones included."""
    service.commit(put("b/x/sub/y", n=1), put("a/x", n=1), put("c/x", n=1))
    request = types.ListCollectionIdsRequest.pb()(parent=ROOT, page_size=2)
    first = service.lists.list_collection_ids(request, None)
    request.page_token = first.next_page_token
    second = service.lists.list_collection_ids(request, None)
    assert (list(first.collection_ids), list(second.collection_ids)) == (["a", "b"], ["c"])
    assert second.next_page_token == ""


def test_a_list_in_a_transaction_is_part_of_what_it_read(service):
    """A document created in a listed collection dooms it."""
    transaction = service.begin()
    service.list_page("c", transaction=transaction)
    service.commit(put("c/new", n=1))
    with pytest.raises(Aborted):
        service.commit(put("d/x", n=1), transaction=transaction)


def test_a_write_stream_commits_each_request(service):
    """A handshake, then one commit a request, each answered with results and a new token."""
    handshake, first, second = service.write(
        {"database": DATABASE},
        {"writes": [put("c/a", n=1)]},
        {"writes": [put("c/a", n=2), put("c/b", n=1)], "stream_token": (1).to_bytes(8, "big")},
    )
    assert handshake.stream_id
    assert len(first.write_results) == 1
    assert len(second.write_results) == 2
    assert len({handshake.stream_token, first.stream_token, second.stream_token}) == 3
    assert from_fields(service.get("c/a")) == {"n": 2}


def test_labels_of_a_stream_have_no_effect(service):
    """They name a request in production's usage reports, of which there are none here."""
    first = {"database": DATABASE, "labels": {"team": "sign-up"}}
    _, committed = service.write(first, {"writes": [put("c/a", n=1)]})
    assert len(committed.write_results) == 1


@pytest.mark.parametrize(
    ("requests", "error"),
    [
        ([{"database": DATABASE, "stream_id": "old"}], Unimplemented),
        ([{"database": DATABASE, "writes": [put("c/a", n=1)]}], InvalidArgument),
        ([{"database": DATABASE}, {"stream_token": b"bogus"}], InvalidArgument),
    ],
)
def test_a_write_stream_s_rules_are_enforced(service, requests, error):
    """Resuming, writes in the handshake, a token of another stream."""
    with pytest.raises(error):
        service.write(*requests)


def contended(service: Service) -> None:
    """Make c/d a document that transactions contend for."""
    one, two = service.begin(), service.begin()
    for transaction in (one, two):
        service.batch_get("c/d", transaction=transaction)
    service.commit(put("c/d", n=0), transaction=one)
    with pytest.raises(Aborted):
        service.commit(put("c/d", n=0), transaction=two)


def test_a_reader_of_a_contended_document_waits_for_the_commit_before_it(service):
    """Its reply comes with the value that commit left, and its own commit then succeeds."""
    contended(service)
    holder, waiting = service.begin(), service.begin()

    async def run() -> Any:
        await service.collect("c/d", transaction=holder)
        reading = asyncio.create_task(service.collect("c/d", transaction=waiting))
        await asyncio.sleep(0)
        assert not reading.done()
        service.commit(put("c/d", n=5), transaction=holder)
        return (await reading)[0].found

    assert from_fields(asyncio.run(run())) == {"n": 5}
    service.commit(put("c/d", n=6), transaction=waiting)


def test_a_reader_waits_for_an_abandoned_transaction_no_longer_than_a_turn(service):
    """And a plain writer does not wait at all."""
    contended(service)
    abandoned, waiting = service.begin(), service.begin()

    async def run() -> Any:
        await service.collect("c/d", transaction=abandoned)
        reading = asyncio.create_task(service.collect("c/d", transaction=waiting))
        await asyncio.sleep(0)
        assert not reading.done()
        reading.cancel()
        service.clock.advance(TURN_US / SECOND_US)
        return await service.collect("c/d", transaction=waiting)

    assert from_fields(asyncio.run(run())[0].found) == {"n": 0}
    service.commit(put("c/d", n=7), transaction=waiting)


def test_a_cancelled_reader_makes_way(service):
    """A call that is cancelled while it waits leaves the queue to the next."""
    contended(service)
    holder, gone, waiting = service.begin(), service.begin(), service.begin()

    async def run() -> Any:
        await service.collect("c/d", transaction=holder)
        first = asyncio.create_task(service.collect("c/d", transaction=gone))
        second = asyncio.create_task(service.collect("c/d", transaction=waiting))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        service.commit(put("c/d", n=8), transaction=holder)
        return (await second)[0].found

    assert from_fields(asyncio.run(run())) == {"n": 8}

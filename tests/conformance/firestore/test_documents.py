"""Documents: read, listed, created, updated and deleted one by one."""

import datetime

import pytest
from google.api_core.exceptions import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
)
from google.cloud import firestore
from google.cloud.firestore_v1 import types

from tests.conformance.conftest import Server
from tests.conformance.features import feature
from tests.conformance.firestore.pages import ADD, DATABASES, LIST, READ, READ_TIME, RPC
from tests.conformance.firestore.raw import OWNER, Raw, connect, to_fields


@feature("GetDocument", production=READ)
def test_document_is_read_with_its_times(db: firestore.Client) -> None:
    """A new document's create and update times are the time of its commit."""
    written = db.document("users/ann").set({"name": "Ann"})
    found = db.document("users/ann").get()
    assert found.to_dict() == {"name": "Ann"}
    assert found.create_time == found.update_time == written.update_time
    assert found.read_time >= written.update_time


@feature("GetDocument", production=READ)
def test_missing_document_is_not_found(raw: Raw, db: firestore.Client) -> None:
    """GetDocument answers NOT_FOUND; the client's get says that it does not exist."""
    with pytest.raises(NotFound):
        raw.get("users/nobody")
    assert not db.document("users/nobody").get().exists


@feature("Field masks choose what is read", production=RPC)
def test_mask_chooses_fields(db: firestore.Client) -> None:
    """Only the masked paths come back, nested ones within their maps, absent ones not at all."""
    db.document("users/ann").set({"name": "Ann", "at": {"city": "Bern", "zip": 3000}, "a.b": 1})
    found = db.document("users/ann").get(["at.city", "`a.b`", "nothing"])
    assert found.to_dict() == {"at": {"city": "Bern"}, "a.b": 1}


@feature("Field masks choose what is read", production=RPC)
def test_bad_mask_is_refused(raw: Raw) -> None:
    """A field path that does not parse is INVALID_ARGUMENT."""
    raw.commit(raw.put("users/ann", v=1))
    with pytest.raises(InvalidArgument):
        raw.get("users/ann", mask={"field_paths": ["a..b"]})


@feature("BatchGetDocuments", production=READ)
def test_many_documents_are_read_at_once(db: firestore.Client) -> None:
    """Found and missing documents are both answered, all with one read time."""
    db.document("users/ann").set({"v": 1})
    db.document("users/ben").set({"v": 2})
    wanted = [db.document(f"users/{name}") for name in ("ann", "nobody", "ben")]
    found = list(db.get_all(wanted))
    assert {s.id: s.to_dict() for s in found} == {"ann": {"v": 1}, "ben": {"v": 2}, "nobody": None}
    assert len({snapshot.read_time for snapshot in found}) == 1


@feature("CreateDocument", production=RPC)
def test_document_is_created_once(raw: Raw) -> None:
    """A second creation with the same id is ALREADY_EXISTS and changes nothing."""
    request = types.CreateDocumentRequest(
        parent=raw.root,
        collection_id="users",
        document_id="ann",
        document=types.Document(fields=to_fields({"v": 1})),
    )
    created = raw.api.create_document(request=request, metadata=OWNER)
    assert created.name == raw.name("users/ann")
    assert created.create_time == created.update_time
    request.document.fields["v"].integer_value = 2
    with pytest.raises(AlreadyExists):
        raw.api.create_document(request=request, metadata=OWNER)
    assert raw.get("users/ann").fields["v"].integer_value == 1


@feature("CreateDocument", production=RPC)
def test_id_is_made_up_when_none_is_given(raw: Raw) -> None:
    """Two creations without an id make two documents."""
    request = types.CreateDocumentRequest(parent=raw.root, collection_id="users")
    names = {raw.api.create_document(request=request, metadata=OWNER).name for _ in range(2)}
    assert len(names) == 2
    assert all(name.startswith(raw.name("users/")) for name in names)


@feature("create() refuses what exists", production=ADD)
def test_client_create_refuses_what_exists(db: firestore.Client) -> None:
    """The client's create is ALREADY_EXISTS the second time, and works again after a delete."""
    db.document("users/ann").create({"v": 1})
    with pytest.raises(AlreadyExists):
        db.document("users/ann").create({"v": 2})
    db.document("users/ann").delete()
    db.document("users/ann").create({"v": 3})
    assert db.document("users/ann").get().to_dict() == {"v": 3}


@feature("UpdateDocument", production=RPC)
def test_update_document_replaces_or_masks(raw: Raw) -> None:
    """Without a mask the document is replaced; a mask sets and deletes just its fields."""
    raw.commit(raw.put("users/ann", a=1, b=2, c=3))
    request = types.UpdateDocumentRequest(
        document=raw.document("users/ann", a=10), update_mask={"field_paths": ["a", "b"]}
    )
    updated = raw.api.update_document(request=request, metadata=OWNER)
    assert dict(updated.fields) == to_fields({"a": 10, "c": 3})
    request = types.UpdateDocumentRequest(
        document=raw.document("users/ann", d=4), mask={"field_paths": ["none"]}
    )
    assert not raw.api.update_document(request=request, metadata=OWNER).fields
    assert dict(raw.get("users/ann").fields) == to_fields({"d": 4})


@feature("DeleteDocument", production=RPC)
def test_delete_document_is_idempotent_unless_it_must_exist(raw: Raw) -> None:
    """Deleting what is not there succeeds; with exists=true it is NOT_FOUND."""
    raw.commit(raw.put("users/ann", a=1))
    request = types.DeleteDocumentRequest(name=raw.name("users/ann"))
    raw.api.delete_document(request=request, metadata=OWNER)
    raw.api.delete_document(request=request, metadata=OWNER)
    request.current_document.exists = True
    with pytest.raises((NotFound, FailedPrecondition)):
        raw.api.delete_document(request=request, metadata=OWNER)


@feature("Deleting a document keeps its subcollections", production=RPC)
def test_subcollection_outlives_its_document(db: firestore.Client) -> None:
    """A document below a deleted one is still there."""
    db.document("users/ann").set({})
    db.document("users/ann/mails/1").set({"v": 1})
    db.document("users/ann").delete()
    assert not db.document("users/ann").get().exists
    assert db.document("users/ann/mails/1").get().to_dict() == {"v": 1}


def listed(raw: Raw, collection_id: str, parent: str = "", **more: object) -> list[list[str]]:
    """The ids of every page of ListDocuments."""
    pages, token = [], ""
    while True:
        request = types.ListDocumentsRequest(
            parent=raw.name(parent) if parent else raw.root,
            collection_id=collection_id,
            page_token=token,
            **more,
        )
        reply = next(iter(raw.api.list_documents(request=request, metadata=OWNER).pages))
        pages.append([document.name.rsplit("/", 1)[1] for document in reply.documents])
        token = reply.next_page_token
        if not token:
            return pages


@feature("ListDocuments pages", production=LIST)
def test_list_documents_pages(raw: Raw) -> None:
    """Pages hold page_size documents, in order of name; none twice, none lost."""
    raw.commit(*(raw.put(f"users/u{n}", v=n) for n in range(7)))
    pages = listed(raw, "users", page_size=3)
    assert [name for page in pages for name in page] == [f"u{n}" for n in range(7)]
    assert [len(page) for page in pages if page] == [3, 3, 1]


@feature("ListDocuments orders and masks", production=LIST)
def test_list_documents_orders_and_masks(raw: Raw) -> None:
    """order_by sorts as a query's does; the mask chooses fields."""
    raw.commit(*(raw.put(f"users/u{n}", v=n % 3, w=n) for n in range(6)))
    assert listed(raw, "users", order_by="v desc, w") == [["u2", "u5", "u1", "u4", "u0", "u3"]]
    request = types.ListDocumentsRequest(
        parent=raw.root, collection_id="users", mask={"field_paths": ["w"]}
    )
    for document in raw.api.list_documents(request=request, metadata=OWNER):
        assert set(document.fields) == {"w"}


@feature(
    "ListDocuments pages in any order",
    production=LIST,
    gcloud="UNKNOWN without a text when page_size and order_by are given together",
)
def test_ordered_list_is_paged(raw: Raw) -> None:
    """A page token continues an ordered list where it stopped."""
    raw.commit(*(raw.put(f"users/u{n}", v=n % 3, w=n) for n in range(6)))
    pages = listed(raw, "users", page_size=4, order_by="v desc, w")
    assert [page for page in pages if page] == [["u2", "u5", "u1", "u4"], ["u0", "u3"]]


@feature("ListDocuments shows missing documents", production=LIST)
def test_missing_documents_are_shown_on_request(raw: Raw) -> None:
    """A document that only has subcollections is listed with show_missing, without times."""
    raw.commit(raw.put("users/ann", v=1), raw.put("users/ghost/mails/1", v=1))
    assert listed(raw, "users") == [["ann"]]
    request = types.ListDocumentsRequest(
        parent=raw.root, collection_id="users", show_missing=True, mask={"field_paths": []}
    )
    found = list(raw.api.list_documents(request=request, metadata=OWNER))
    assert [document.name for document in found] == [raw.name("users/ann"), raw.name("users/ghost")]
    assert "create_time" in found[0]
    assert "create_time" not in found[1]


@feature("ListDocuments shows missing documents", production=LIST)
def test_missing_documents_cannot_be_ordered(raw: Raw) -> None:
    """show_missing together with order_by is INVALID_ARGUMENT."""
    request = types.ListDocumentsRequest(
        parent=raw.root, collection_id="users", show_missing=True, order_by="v"
    )
    with pytest.raises(InvalidArgument):
        raw.api.list_documents(request=request, metadata=OWNER)


@feature("ListDocuments shows missing documents", production=LIST)
def test_client_lists_references_of_missing_documents(db: firestore.Client) -> None:
    """The client's list_documents names missing documents too."""
    db.document("users/ann").set({})
    db.document("users/ghost/mails/1").set({})
    assert [r.id for r in db.collection("users").list_documents(page_size=1)] == ["ann", "ghost"]


@feature("ListCollectionIds", production=RPC)
def test_collections_are_listed(db: firestore.Client, raw: Raw) -> None:
    """Collections are named in order, at the root and below a document, missing or not."""
    for path in ("b/1", "a/1", "a/1/y/1", "a/1/x/1/deep/1", "a/ghost/z/1"):
        db.document(path).set({})
    assert [c.id for c in db.collections()] == ["a", "b"]
    assert [c.id for c in db.document("a/1").collections()] == ["x", "y"]
    assert [c.id for c in db.document("a/ghost").collections()] == ["z"]
    assert list(db.document("b/1").collections()) == []


@feature("ListCollectionIds", production=RPC)
def test_collection_ids_are_paged(raw: Raw) -> None:
    """Pages of collection ids hold page_size ids and lose none; emptied collections are gone."""
    raw.commit(*(raw.put(f"c{n}/1", v=1) for n in range(5)))
    raw.commit(types.Write(delete=raw.name("c4/1")))
    request = types.ListCollectionIdsRequest(parent=raw.root, page_size=3)
    pages = raw.api.list_collection_ids(request=request, metadata=OWNER).pages
    assert [list(p.collection_ids) for p in pages if p.collection_ids] == [
        ["c0", "c1", "c2"],
        ["c3"],
    ]


@feature("read_time reads the past", production=READ_TIME)
def test_document_is_read_as_it_was(raw: Raw, db: firestore.Client) -> None:
    """GetDocument, ListDocuments and queries at an earlier read_time see the earlier state."""
    first = db.document("users/ann").set({"v": 1}).update_time
    db.document("users/ann").set({"v": 2})
    db.document("users/ben").set({"v": 3})
    assert raw.get("users/ann", read_time=first).fields["v"].integer_value == 1
    assert listed(raw, "users", read_time=first) == [["ann"]]
    found = db.collection("users").get(read_time=first)
    assert [snapshot.to_dict() for snapshot in found] == [{"v": 1}]
    with pytest.raises(NotFound):
        raw.get("users/ben", read_time=first)
    db.document("users/ann").delete()
    assert raw.get("users/ann", read_time=first).fields["v"].integer_value == 1


@feature("read_time reads the past", production=READ_TIME)
def test_read_time_in_the_future_is_refused(raw: Raw) -> None:
    """A read_time that is still to come is INVALID_ARGUMENT."""
    now = raw.commit(raw.put("users/ann", v=1)).commit_time
    with pytest.raises(InvalidArgument):
        raw.get("users/ann", read_time=now + datetime.timedelta(minutes=5))


@feature("read_time reads the past", production=READ_TIME)
def test_read_time_long_ago_is_refused(raw: Raw) -> None:
    """Versions of the day before yesterday are gone: FAILED_PRECONDITION."""
    now = raw.commit(raw.put("users/ann", v=1)).commit_time
    with pytest.raises(FailedPrecondition):
        raw.get("users/ann", read_time=now - datetime.timedelta(days=8))


@feature("Projects and databases are apart", production=DATABASES)
def test_databases_do_not_share_documents(firestore_server: Server, raw: Raw) -> None:
    """One path in two projects and in two databases of one project is three documents."""
    project = raw.database.split("/")[1]
    second = connect(firestore_server.address, project, "second")
    other = connect(firestore_server.address, f"{project}-other")
    for number, place in enumerate((raw, second, other)):
        place.commit(place.put("users/ann", v=number))
    for number, place in enumerate((raw, second, other)):
        assert place.get("users/ann").fields["v"].integer_value == number
    for place in (second, other):
        place.api.transport.close()


@feature(
    "A commit stays in its database",
    production=DATABASES,
    gcloud="accepted, and the other database is written to",
)
def test_commit_cannot_name_another_database(raw: Raw) -> None:
    """A write to a document of another database is INVALID_ARGUMENT."""
    write = types.Write(update={"name": "projects/other/databases/(default)/documents/a/b"})
    with pytest.raises(InvalidArgument):
        raw.commit(write)

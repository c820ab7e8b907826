"""Listen: what the stream says of each target, change by change."""

import pytest
from google.api_core.exceptions import GoogleAPICallError
from google.cloud.firestore_v1 import types

from tests.conformance.features import differs, feature
from tests.conformance.firestore.pages import LISTEN_RPC
from tests.conformance.firestore.raw import (
    ListenStream,
    Raw,
    applies,
    is_change,
    structured,
    to_value,
    view,
)


def where(value: object) -> dict[str, object]:
    return {"field_filter": {"field": {"field_path": "v"}, "op": "EQUAL", "value": to_value(value)}}


BY_V = [{"field": {"field_path": "v"}, "direction": "ASCENDING"}]


@feature("A target begins with ADD, ends its first answer with CURRENT", production=LISTEN_RPC)
def test_first_answer_of_a_query_target(raw: Raw) -> None:
    """ADD, the documents, CURRENT with a resume token, then a consistent moment."""
    raw.commit(raw.put("users/ann", v=1), raw.put("users/ben", v=2))
    with ListenStream(raw) as stream:
        stream.add_query(7, structured("users"))
        first = stream.until_current(7)
        assert is_change(first[0], "ADD")
        assert list(first[0].target_change.target_ids) == [7]
        assert set(view(first)) == {"ann", "ben"}
        after = stream.until_snapshot()
        assert first[-1].target_change.resume_token or after[-1].target_change.resume_token


@feature("Changes of a query are sent", production=LISTEN_RPC)
def test_query_target_follows_its_query(raw: Raw) -> None:
    """A document that starts to match appears, one that stops is removed, one deleted goes."""
    raw.commit(raw.put("users/ann", v=1), raw.put("users/ben", v=1), raw.put("users/carl", v=2))
    with ListenStream(raw) as stream:
        stream.add_query(7, structured("users", where=where(1)))
        held = view(stream.until_current(7))
        view(stream.until_snapshot(), held)
        assert set(held) == {"ann", "ben"}
        raw.commit(raw.put("users/carl", v=1, w=1))
        view(stream.until_snapshot(), held)
        assert set(held) == {"ann", "ben", "carl"}
        raw.commit(raw.put("users/ann", v=2))
        view(stream.until_snapshot(), held)
        assert set(held) == {"ben", "carl"}
        raw.commit(types.Write(delete=raw.name("users/ben")), raw.put("users/carl", v=1, w=2))
        view(stream.until_snapshot(), held)
        assert set(held) == {"carl"}
        assert held["carl"]["w"] == to_value(2)


@feature("Document targets", production=LISTEN_RPC)
def test_document_target_tells_of_presence_and_absence(raw: Raw) -> None:
    """Documents that exist are sent; missing ones are deletes; then each change."""
    raw.commit(raw.put("users/ann", v=1))
    with ListenStream(raw) as stream:
        stream.add_documents(3, "users/ann", "users/nobody")
        first = stream.until_current(3)
        assert set(view(first)) == {"ann"}
        gone = [r.document_delete.document for r in first if "document_delete" in r]
        assert gone == [raw.name("users/nobody")]
        held = view(first)
        view(stream.until_snapshot(), held)
        raw.commit(raw.put("users/nobody", v=5))
        view(stream.until_snapshot(), held)
        assert set(held) == {"ann", "nobody"}
        raw.commit(types.Write(delete=raw.name("users/ann")))
        view(stream.until_snapshot(), held)
        assert set(held) == {"nobody"}


@feature("A commit is seen whole", production=LISTEN_RPC)
def test_writes_of_one_commit_arrive_together(raw: Raw) -> None:
    """No consistent moment lies between two writes of one commit."""
    with ListenStream(raw) as stream:
        stream.add_query(7, structured("users"))
        stream.until_current(7)
        stream.until_snapshot()
        for number in range(5):
            raw.commit(raw.put("users/ann", v=number), raw.put("users/ben", v=number))
        held: dict[str, object] = {}
        while held.get("ben", {}).get("v") != to_value(4):  # type: ignore[attr-defined]
            view(stream.until_snapshot(), held)
            assert held["ann"] == held["ben"]


@feature("Many targets on one stream", production=LISTEN_RPC)
def test_two_targets_each_hear_their_own(raw: Raw) -> None:
    """A change of one query is sent for its target; the other target hears nothing of it."""
    raw.commit(raw.put("users/ann", v=1), raw.put("teams/red", v=1))
    with ListenStream(raw) as stream:
        stream.add_query(1, structured("users"))
        stream.add_query(2, structured("teams"))
        waiting = {1, 2}
        while waiting:
            change = stream.until(lambda r: is_change(r, "CURRENT"))[-1].target_change
            waiting -= set(change.target_ids)
        stream.until_snapshot()
        raw.commit(raw.put("teams/red", v=2))
        changes = [
            r.document_change
            for r in stream.until(lambda r: "document_change" in r)
            if "document_change" in r
        ]
        assert [list(change.target_ids) for change in changes] == [[2]]


@feature(
    "Only what changed is sent",
    production=LISTEN_RPC,
    gcloud="every commit sends every document of the target again",
)
def test_unchanged_documents_are_not_sent_again(raw: Raw) -> None:
    """One write to a collection of ten is one document change."""
    raw.commit(*(raw.put(f"users/u{n}", v=n) for n in range(10)))
    with ListenStream(raw) as stream:
        stream.add_query(7, structured("users"))
        stream.until_current(7)
        stream.until_snapshot()
        raw.commit(raw.put("users/u3", v=33))
        changes = [r for r in stream.until_snapshot() if "document_change" in r]
        assert [r.document_change.document.name for r in changes] == [raw.name("users/u3")]


@feature("Targets are removed", production=LISTEN_RPC)
def test_removed_target_is_silent(raw: Raw) -> None:
    """remove_target is confirmed with REMOVE; later changes are not sent for it."""
    with ListenStream(raw) as stream:
        stream.add_query(1, structured("users"))
        stream.until_current(1)
        stream.remove(1)
        stream.until(lambda r: is_change(r, "REMOVE") and applies(r, 1))
        raw.commit(raw.put("users/ann", v=1))
        stream.add_query(2, structured("teams"))
        heard = stream.until_current(2)
        assert not [r for r in heard if "document_change" in r]


@feature(
    "A target that listens once",
    production=LISTEN_RPC,
    gcloud="`once` is ignored: changes follow",
)
def test_once_target_ends_when_current(raw: Raw) -> None:
    """With `once` the target is removed after its first answer."""
    raw.commit(raw.put("users/ann", v=1))
    with ListenStream(raw) as stream:
        stream.add_query(1, structured("users"), once=True)
        stream.until_current(1)
        raw.commit(raw.put("users/ben", v=1))
        after = stream.until(lambda r: is_change(r, "REMOVE") or "document_change" in r)
        assert is_change(after[-1], "REMOVE")
        assert applies(after[-1], 1)


@feature("A listener resumes where it stopped", production=LISTEN_RPC)
@pytest.mark.parametrize("changed", [True, False], ids=["changed", "unchanged"])
def test_resumed_target_ends_with_the_present(raw: Raw, changed: bool) -> None:
    """With a resume token a client that kept its view ends with what the query finds now."""
    raw.commit(raw.put("users/ann", v=1), raw.put("users/ben", v=2))
    with ListenStream(raw) as stream:
        stream.add_query(7, structured("users"))
        first = stream.until_current(7)
        first += stream.until_snapshot()
        held = view(first)
        token = [r.target_change.resume_token for r in first if "target_change" in r][-1]
    assert token
    if changed:
        raw.commit(types.Write(delete=raw.name("users/ann")), raw.put("users/carl", v=3))
    with ListenStream(raw) as stream:
        stream.add_query(7, structured("users"), resume_token=token)
        again = stream.until_current(7)
        filters = [r.filter.count for r in again if "filter" in r]
        view(again, held)
        if filters and filters[-1] != len(held):
            # The server says that the view is wrong: the client listens again without a token.
            stream.remove(7)
            stream.until(lambda r: is_change(r, "REMOVE"))
            stream.add_query(7, structured("users"))
            held = view(stream.until_current(7))
    assert set(held) == ({"ben", "carl"} if changed else {"ann", "ben"})


@feature("A window follows its limit", production=LISTEN_RPC)
def test_limited_query_fills_up_and_pushes_out(raw: Raw) -> None:
    """A document before the window pushes one out; one that leaves lets the next one in."""
    raw.commit(*(raw.put(f"users/u{n}", v=n) for n in (1, 3, 5, 7)))
    with ListenStream(raw) as stream:
        stream.add_query(7, structured("users", order_by=BY_V, limit={"value": 2}))
        held = view(stream.until_current(7))
        view(stream.until_snapshot(), held)
        assert set(held) == {"u1", "u3"}
        raw.commit(raw.put("users/u2", v=2))
        view(stream.until_snapshot(), held)
        assert set(held) == {"u1", "u2"}
        raw.commit(types.Write(delete=raw.name("users/u1")))
        view(stream.until_snapshot(), held)
        assert set(held) == {"u2", "u3"}
        raw.commit(raw.put("users/u3", v=9))
        view(stream.until_snapshot(), held)
        assert set(held) == {"u2", "u5"}


@feature("Odd targets are refused", production=LISTEN_RPC)
@pytest.mark.parametrize(
    "odd",
    [
        pytest.param("query", marks=differs(gcloud="UNKNOWN without a text")),
        "document",
        pytest.param("nothing", marks=differs(gcloud="UNKNOWN without a text")),
    ],
)
def test_odd_target_is_refused(raw: Raw, odd: str) -> None:
    """A bad query or name ends in an error: of the stream, or as REMOVE with a cause."""
    with ListenStream(raw) as stream:
        try:
            match odd:
                case "query":
                    query = structured("users", limit={"value": -1})
                    stream.add_query(1, query)
                case "document":
                    stream.add_documents(1, "users")
                case _:
                    stream._add(types.Target(target_id=1))
            ended = stream.until(lambda r: is_change(r, "REMOVE"))[-1]
        except GoogleAPICallError as error:
            assert error.code == 400  # noqa: PT017 - an error is one of two right answers
        else:
            assert ended.target_change.cause.code == 3

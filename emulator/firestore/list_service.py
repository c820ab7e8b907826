"""google.firestore.v1: ListDocuments and ListCollectionIds.

1. Without `order_by` a page costs its own size: a page token is the last name listed, and the
   next page starts after it, whatever was written meanwhile.
2. With `order_by` the pages are cut from the state at the first page's time, which the token
   carries; documents without one of the fields are not listed, as in a query.
3. Missing documents (no document, but collections under it) are listed by name alone, on
   `show_missing`, and not in an order by fields.

Source: google/firestore/v1/firestore.proto; observed: Firestore emulator 1.19.9.
"""

import base64
import json
from bisect import bisect_right
from collections.abc import Iterator
from typing import Any, Final

from emulator.clock import Clock
from emulator.errors import InvalidArgument
from emulator.firestore.consistency import View, open_view, take_turns
from emulator.firestore.convert import DocumentPb, document_pb, optional_mask
from emulator.firestore.paths import Name, checked_name, id_key, parse_parent
from emulator.firestore.pb import types
from emulator.firestore.store import Store
from emulator.firestore.values import (
    MISSING,
    FieldPath,
    get_field,
    order_key,
    parse_field_path,
)
from emulator.firestore.writes import Change, Document
from emulator.wire import Context, Rpc

_DEFAULT_PAGE_SIZE = 30  # observed: gcloud Firestore emulator 1.19.9
_MAX_PAGE_SIZE = 300

_TOKEN_PARTS: Final[dict[str, Any]] = {"after": str, "skip": int, "read_time_us": int}

_ListReply: Final[Any] = types.ListDocumentsResponse.pb()
_ListIdsReply: Final[Any] = types.ListCollectionIdsResponse.pb()


class ListService:
    """The RPCs that list."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def rpcs(self) -> dict[str, Rpc]:
        """This part of the service's table."""
        return {
            "ListDocuments": Rpc(types.ListDocumentsRequest.pb(), _ListReply, self.list_documents),
            "ListCollectionIds": Rpc(
                types.ListCollectionIdsRequest.pb(), _ListIdsReply, self.list_collection_ids
            ),
        }

    async def list_documents(self, request: Any, _context: Context) -> Any:
        """ListDocuments; without a collection id, of every collection under the parent."""
        parent = parse_parent(request.parent)
        if request.collection_id:
            checked_name((*parent.name, request.collection_id), request.parent)
        if request.show_missing and request.order_by:
            raise InvalidArgument("cannot specify an order when show_missing is true")
        size = _page_size(request)
        mask = optional_mask(request)
        token = _decode_token(request.page_token)
        view = open_view(self._store, parent.database, request, self._clock)
        if view.transaction is not None:
            prefix = (*parent.name, request.collection_id)
            await take_turns(view, [prefix], self._clock)
            view.transaction.record_query(prefix, _under(parent.name, request.collection_id))
        if request.order_by:
            listed, token = _ordered_page(view, parent.name, request, size, token)
        else:
            listed, token = _page(view, parent.name, request, size, token)
        reply = _ListReply()
        for name, document in listed:
            if document is None:
                reply.documents.append(DocumentPb(name=parent.database.full_name(name)))
            else:
                reply.documents.append(document_pb(parent.database, document, mask))
        reply.next_page_token = _encode_token(token)
        return reply

    def list_collection_ids(self, request: Any, _context: Context) -> Any:
        """ListCollectionIds: in order of id."""
        parent = parse_parent(request.parent)
        size = _page_size(request)
        view = open_view(self._store, parent.database, request, self._clock)
        if view.read_time_us is None:
            ids = view.database.collection_ids(parent.name)
        else:
            depth = len(parent.name)
            below = view.database.documents(parent.name, None, True, view.read_time_us)
            ids = sorted({document.name[depth] for document in below})
        after = _decode_token(request.page_token).get("after", "")
        start = bisect_right(ids, after) if after else 0
        page = ids[start : start + size]
        more = start + size < len(ids)
        return _ListIdsReply(
            collection_ids=page,
            next_page_token=_encode_token({"after": page[-1]} if more else {}),
        )


def _page_size(request: Any) -> int:
    if request.page_size < 0:
        raise InvalidArgument("Page size must be nonnegative.")
    size: int = request.page_size
    return min(size or _DEFAULT_PAGE_SIZE, _MAX_PAGE_SIZE)


def _encode_token(token: dict[str, Any]) -> str:
    if not token:
        return ""
    return base64.urlsafe_b64encode(json.dumps(token).encode()).decode()


def _decode_token(text: str) -> dict[str, Any]:
    """A token of ours: {"after": "c/d"}, or {"skip": 20, "read_time_us": 1700000000000000}."""
    if not text:
        return {}
    try:
        token = json.loads(base64.urlsafe_b64decode(text))
        return {key: _TOKEN_PARTS[key](value) for key, value in token.items()}
    except (ValueError, KeyError, AttributeError) as error:
        raise InvalidArgument("invalid page token") from error


def _under(parent: Name, collection_id: str) -> Any:
    depth = len(parent)

    def affects(change: Change) -> bool:
        name = change.name
        return name[:depth] == parent and (not collection_id or name[depth] == collection_id)

    return affects


Page = tuple[list[tuple[Name, Document | None]], dict[str, Any]]


def _page(view: View, parent: Name, request: Any, size: int, token: dict[str, Any]) -> Page:
    """One page in order of name, and the token of the next ({}: this is the last)."""
    after = tuple(token["after"].split("/")) if "after" in token else ()
    listed: list[tuple[Name, Document | None]] = []
    for name, document in _names(view, parent, request.collection_id, after):
        if document is None and not request.show_missing:
            continue
        if len(listed) == size:
            return listed, {"after": "/".join(listed[-1][0][len(parent) :])}
        listed.append((name, document))
    return listed, {}


def _names(
    view: View, parent: Name, collection_id: str, after: Name
) -> Iterator[tuple[Name, Document | None]]:
    """Names after `after` (relative to `parent`) in order, with their documents if not missing."""
    snapshot_us = view.snapshot_us
    if snapshot_us is not None:
        yield from _names_at(view, parent, collection_id, after, snapshot_us)
        return
    database = view.database
    for one in [collection_id] if collection_id else database.collection_ids(parent):
        if after and one < after[0]:
            continue
        ids = database.document_ids(parent, one)
        start = 0
        if after and one == after[0]:
            start = bisect_right(ids, id_key(after[1]), key=id_key)
        for index in range(start, len(ids)):
            name = (*parent, one, ids[index])
            yield name, database.get(name)


def _names_at(
    view: View, parent: Name, collection_id: str, after: Name, read_time_us: int
) -> Iterator[tuple[Name, Document | None]]:
    depth = len(parent)
    found: dict[Name, Document | None] = {}
    for document in view.database.documents(parent, None, True, read_time_us):
        name = document.name[: depth + 2]
        if not collection_id or name[depth] == collection_id:
            found[name] = document if len(document.name) == depth + 2 else found.get(name)
    for name, there in found.items():
        if tuple(map(id_key, name[depth:])) > tuple(map(id_key, after)):
            yield name, there


def _ordered_page(view: View, parent: Name, request: Any, size: int, token: dict[str, Any]) -> Page:
    """One page in the order of `order_by`, cut from the state at the first page's time."""
    read_time_us = view.snapshot_us
    if "read_time_us" in token:
        read_time_us = token["read_time_us"]
        view.database.check_read_time(read_time_us, view.now_us)
    documents = list(
        view.database.documents(parent, request.collection_id or None, False, read_time_us)
    )
    order = _parse_order(request.order_by)
    # Python's sort is stable, also in reverse: the least significant field sorts first.
    for path, descending in reversed([*order, (("__name__",), order[-1][1])]):
        if path == ("__name__",):
            documents.sort(key=lambda one: tuple(map(id_key, one.name)), reverse=descending)
            continue
        keyed = [(get_field(one.fields, path), one) for one in documents]
        present = [(order_key(value), one) for value, one in keyed if value is not MISSING]
        present.sort(key=lambda pair: pair[0], reverse=descending)
        documents = [one for _, one in present]
    skip = token.get("skip", 0)
    page: list[tuple[Name, Document | None]] = [
        (one.name, one) for one in documents[skip : skip + size]
    ]
    if skip + size >= len(documents):
        return page, {}
    return page, {"skip": skip + size, "read_time_us": read_time_us or view.reply_time_us()}


def _parse_order(text: str) -> list[tuple[FieldPath, bool]]:
    """The paths and whether each descends, of `a desc, b`.

    Raises:
        InvalidArgument: it is not such a list.
    """
    order = []
    for part in text.split(","):
        words = part.split()
        if len(words) not in (1, 2) or (len(words) == 2 and words[1].lower() not in _DIRECTIONS):
            raise InvalidArgument(f"Invalid order by clause: {text!r}.")
        descending = len(words) == 2 and _DIRECTIONS[words[1].lower()]
        order.append((parse_field_path(words[0]), descending))
    return order


_DIRECTIONS: Final = {"asc": False, "desc": True}

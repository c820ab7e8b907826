"""The documents of one database as they are now: a tree of collections and document ids.

1. A collection exists while it holds a document, or something below one of its ids; nothing
   empty is kept. An id may be missing itself and still have collections under it.
2. Reading or writing one document costs its depth, whatever there is beside it.
3. Scans go in the order of names: a document, then what is under it, then the next id.

Not here: versions, commits (store.py).
"""

from bisect import bisect_left
from collections.abc import Iterator
from typing import TypeAlias

from emulator.firestore.paths import Name, id_key
from emulator.firestore.writes import Document

Branches: TypeAlias = "dict[str, _Collection]"


class _Collection:
    """The documents of one collection, and the collections under each id, there or missing.

    The ids are sorted when they are first asked for, and kept so from then on.
    """

    __slots__ = ("branches", "documents", "order")

    def __init__(self) -> None:
        self.documents: dict[str, Document] = {}
        self.branches: dict[str, Branches] = {}
        self.order: list[str] | None = None

    def ids(self) -> list[str]:
        """Every id with a document or something under it, in order."""
        if self.order is None:
            ids = self.documents.keys() | self.branches.keys() if self.branches else self.documents
            self.order = sorted(ids, key=id_key)
        return self.order

    def changed(self, document_id: str) -> None:
        """Keep the order right after something was added at an id, or taken away."""
        if self.order is None:
            return
        at = bisect_left(self.order, id_key(document_id), key=id_key)
        listed = at < len(self.order) and self.order[at] == document_id
        there = document_id in self.documents or document_id in self.branches
        if there and not listed:
            self.order.insert(at, document_id)
        elif listed and not there:
            del self.order[at]


class Tree:
    """All documents of a database."""

    def __init__(self) -> None:
        self._root: Branches = {}

    def get(self, name: Name) -> Document | None:
        """The document of a name."""
        collection = self._collection(name[:-1])
        return None if collection is None else collection.documents.get(name[-1])

    def put(self, name: Name, document: Document) -> None:
        """Store a document at its name, over the one there may be."""
        branches = self._root
        for index in range(0, len(name), 2):
            collection = branches.get(name[index])
            if collection is None:
                collection = branches[name[index]] = _Collection()
            document_id = name[index + 1]
            if index == len(name) - 2:
                added = document_id not in collection.documents
                collection.documents[document_id] = document
                if added:
                    collection.changed(document_id)
            elif document_id in collection.branches:
                branches = collection.branches[document_id]
            else:
                branches = collection.branches[document_id] = {}
                collection.changed(document_id)

    def remove(self, name: Name) -> None:
        """Take a document out, and every collection that is empty without it."""
        self._remove(self._root, name)

    def clear(self) -> None:
        """Take everything out."""
        self._root.clear()

    def collection_ids(self, parent: Name) -> list[str]:
        """The ids of the collections under `parent`, in order."""
        return sorted(self._branches(parent))

    def document_ids(self, parent: Name, collection_id: str) -> list[str]:
        """The ids of a collection in order, with those of missing documents. Do not change it."""
        collection = self._branches(parent).get(collection_id)
        return [] if collection is None else collection.ids()

    def scan(
        self, parent: Name, collection_id: str | None, all_descendants: bool
    ) -> Iterator[Document]:
        """Documents below `parent` in order of name; `collection_id` None is any collection."""
        return self._scan(self._branches(parent), collection_id, all_descendants)

    def _branches(self, parent: Name) -> Branches:
        """The collections directly under the root or a document."""
        if not parent:
            return self._root
        collection = self._collection(parent[:-1])
        return {} if collection is None else collection.branches.get(parent[-1], {})

    def _collection(self, path: Name) -> _Collection | None:
        branches = self._root
        for index in range(0, len(path) - 1, 2):
            collection = branches.get(path[index])
            if collection is None:
                return None
            branches = collection.branches.get(path[index + 1], {})
        return branches.get(path[-1])

    def _remove(self, branches: Branches, name: Name) -> None:
        collection = branches[name[0]]
        if len(name) == 2:
            del collection.documents[name[1]]
            collection.changed(name[1])
        else:
            below = collection.branches[name[1]]
            self._remove(below, name[2:])
            if not below:
                del collection.branches[name[1]]
                collection.changed(name[1])
        if not collection.documents and not collection.branches:
            del branches[name[0]]

    def _scan(
        self, branches: Branches, collection_id: str | None, all_descendants: bool
    ) -> Iterator[Document]:
        for branch_id in sorted(branches):
            wanted = collection_id is None or branch_id == collection_id
            if not wanted and not all_descendants:
                continue
            collection = branches[branch_id]
            for document_id in tuple(collection.ids()):
                if wanted and document_id in collection.documents:
                    yield collection.documents[document_id]
                if all_descendants and document_id in collection.branches:
                    yield from self._scan(
                        collection.branches[document_id], collection_id, all_descendants
                    )

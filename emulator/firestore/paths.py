"""Resource names: databases, documents, collections, and how their ids compare.

1. A full name is `projects/P/databases/D/documents/c1/d1/c2/d2`. Inside a database a document
   is its relative segments `("c1", "d1", "c2", "d2")`: an even number; a collection has an odd
   number; the root is `()`.
2. Names order segment by segment; the numeric ids `__id123__` (of Datastore's making) come
   before all other ids and compare as numbers, the others by UTF-8 bytes.
3. An id is 1 to 1500 bytes of UTF-8, not `.` or `..`, without `/`, not matching `__.*__`
   unless it is a numeric id.
4. Collection ids are interned: a hundred thousand names share a handful of them.

Sources: https://firebase.google.com/docs/firestore/quotas#collections_documents_and_fields
and google/firestore/v1/document.proto.
"""

import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

from emulator.errors import InvalidArgument

MAX_ID_BYTES = 1500

Name: TypeAlias = tuple[str, ...]

_NUMERIC_ID = re.compile(r"__id(-?[0-9]{1,19})__")
_DATABASE = re.compile(r"projects/([^/]+)/databases/([^/]+)")


@dataclass(frozen=True, slots=True)
class DatabaseName:
    """One database of one project."""

    project: str
    database: str

    def __str__(self) -> str:
        return f"projects/{self.project}/databases/{self.database}"

    @property
    def documents(self) -> str:
        """What every name inside begins with: projects/P/databases/D/documents."""
        return f"projects/{self.project}/databases/{self.database}/documents"

    def full_name(self, name: Name) -> str:
        """The full resource name of relative segments; of () the root's."""
        return "/".join((self.documents, *name))


@dataclass(frozen=True, slots=True)
class DocumentName:
    """A document: its database and its relative segments."""

    database: DatabaseName
    name: Name

    def __str__(self) -> str:
        return self.database.full_name(self.name)


def id_key(segment: str) -> tuple[int, Any]:
    """The sort key of one id: numeric ids first, as numbers; the others as strings."""
    if segment.startswith("__id"):
        match = _NUMERIC_ID.fullmatch(segment)
        if match is not None:
            return (0, int(match.group(1)))
    return (1, segment)


def name_key(segments: Iterable[str]) -> tuple[tuple[int, Any], ...]:
    """The sort key of a name given as segments, relative or full."""
    return tuple(map(id_key, segments))


@lru_cache(maxsize=1024)
def parse_database(text: str) -> DatabaseName:
    """The database of `projects/P/databases/D`.

    Raises:
        InvalidArgument: it is not such a name.
    """
    match = _DATABASE.fullmatch(text)
    if match is None:
        raise InvalidArgument(f'Invalid database name: "{text}".')
    return DatabaseName(match.group(1), match.group(2))


def parse_name(text: str) -> DocumentName:
    """Split any name under `.../documents`, of the root, a collection or a document.

    Raises:
        InvalidArgument: it is not such a name, or an id in it is not allowed.
    """
    prefix, _, rest = text.partition("/documents")
    if not rest and not text.endswith("/documents"):
        raise InvalidArgument(f'Document name "{text}" lacks "projects" at index 0.')
    database = parse_database(prefix)
    if not rest:
        return DocumentName(database, ())
    segments = rest.split("/")
    if segments[0]:  # .../documentsX
        raise InvalidArgument(f'Document name "{text}" lacks "/documents" at index 4.')
    return DocumentName(database, checked_name(segments[1:], text))


def parse_document_name(text: str) -> DocumentName:
    """The document of a full name.

    Raises:
        InvalidArgument: it is not the name of a document, or an id in it is not allowed.
    """
    parsed = parse_name(text)
    if not parsed.name or len(parsed.name) % 2:
        raise InvalidArgument(
            f'Document name "{text}" has invalid trailing segments: '
            "a document is named by pairs of collection and document id."
        )
    return parsed


def parse_parent(text: str) -> DocumentName:
    """The root or the document that a collection hangs under.

    Raises:
        InvalidArgument: it is neither, or an id in it is not allowed.
    """
    parsed = parse_name(text)
    if len(parsed.name) % 2:
        raise InvalidArgument(f'Parent name "{text}" is a collection, not a document or the root.')
    return parsed


def checked_name(segments: Iterable[str], text: str) -> Name:
    """Segments as a Name: ids checked, collection ids interned; `text` is for the message.

    Raises:
        InvalidArgument: an id is not allowed.
    """
    name = []
    for index, segment in enumerate(segments):
        check_id(segment, text)
        name.append(segment if index % 2 else sys.intern(segment))
    return tuple(name)


def check_id(segment: str, text: str) -> None:
    """Raise unless `segment` may be the id of a collection or a document.

    Raises:
        InvalidArgument: it is empty, too long, dots, holds a slash, or is reserved.
    """
    if not segment:
        raise InvalidArgument(f'Name "{text}" has an empty segment.')
    if len(segment) * 4 > MAX_ID_BYTES and len(segment.encode()) > MAX_ID_BYTES:
        raise InvalidArgument(f"The key path element name is longer than {MAX_ID_BYTES} bytes.")
    if segment in (".", "..") or "/" in segment:
        raise InvalidArgument(
            f'Resource id "{segment}" is invalid: it cannot be ".", "..", or hold "/".'
        )
    if segment.startswith("__") and is_reserved(segment) and not _NUMERIC_ID.fullmatch(segment):
        raise InvalidArgument(f'Resource id "{segment}" is invalid because it is reserved.')


def is_reserved(text: str) -> bool:
    """Whether an id or a field name matches `__.*__`."""
    return len(text) >= 4 and text.startswith("__") and text.endswith("__")

"""Schemas of Pub/Sub: what they are, their revisions, and whether a message conforms.

1. A schema has 1 to 20 revisions, oldest first; its last revision is the schema itself.
2. A new revision must be compatible with every revision that exists, both as reader and as
   writer; one that is not changes nothing. A rollback is a new revision with an old text.
3. A message conforms if any revision between a topic's first and last one (inclusive, open
   where unset) reads it, tried from the newest; the attributes name the one that did.
4. A revision keeps its place in the order after it is deleted: bounds stay meaningful.
5. A topic whose schema was deleted takes no message.
6. What a definition means is the compiler's business (`schema_kinds.compile_schema` is the
   real one); here is no parser, no clock and no randomness.

Sources: https://cloud.google.com/pubsub/docs/schemas and its pages on creating, committing,
deleting and associating; texts observed on production are quoted where they are raised.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Protocol

from emulator.errors import AlreadyExists, InvalidArgument, NotFound, ResourceExhausted

DELETED_SCHEMA = "_deleted-schema_"
MAX_DEFINITION_BYTES = 300_000  # "The schema definition field cannot exceed 300 KB in size."
MAX_REVISIONS = 20  # "A single schema cannot have more than 20 revisions."
MAX_PAGE_SIZE = 1000

_NAME = re.compile(r"projects/(?P<project>[^/@]+)/schemas/(?P<id>[^/@]+)(?:@(?P<revision>[^/@]+))?")
# https://cloud.google.com/pubsub/docs/pubsub-basics#resource_names
_ID = re.compile(r"[A-Za-z][A-Za-z0-9._~%+-]{2,254}")


class SchemaType(Enum):
    """The values of google.pubsub.v1.Schema.Type."""

    PROTOCOL_BUFFER = 1
    AVRO = 2


class Encoding(Enum):
    """The values of google.pubsub.v1.Encoding."""

    JSON = 1
    BINARY = 2


@dataclass(frozen=True)
class SchemaSettings:
    """How a topic checks messages: `projects/P/schemas/S`, and the revisions it admits."""

    schema: str
    encoding: Encoding
    first_revision_id: str = ""
    last_revision_id: str = ""


@dataclass(frozen=True)
class SchemaSource:
    """What a user hands in: a text, or for PROTOCOL_BUFFER a compiled FileDescriptorSet."""

    type: SchemaType
    definition: str = ""
    root_message: str = ""
    compiled_bytes: bytes = b""


class CompiledSchema(Protocol):
    """A definition that was understood."""

    def check(self, data: bytes, encoding: Encoding) -> None:
        """Raise InvalidArgument, with the reason, unless `data` conforms."""
        ...

    def incompatibility(self, earlier: "CompiledSchema") -> str | None:
        """Why messages of one cannot be read with the other; None if they can, both ways."""
        ...


Compiler = Callable[[SchemaSource], CompiledSchema]


@dataclass(frozen=True)
class SchemaRevision:
    """One revision of the schema `name` (without the revision)."""

    name: str
    source: SchemaSource
    revision_id: str
    revision_create_us: int
    compiled: CompiledSchema = field(repr=False, compare=False)
    sequence: int = 0


class _Schema:
    """The revisions that exist, oldest first, and the place of each that ever did."""

    def __init__(self) -> None:
        self.revisions: list[SchemaRevision] = []
        self.sequences: dict[str, int] = {}

    def add(self, revision: SchemaRevision) -> SchemaRevision:
        placed = replace(revision, sequence=len(self.sequences))
        self.sequences[revision.revision_id] = placed.sequence
        self.revisions.append(placed)
        return placed


def _parse_name(name: str, revision: bool = False) -> tuple[str, str]:
    """The schema's name and the revision id ("" without); InvalidArgument where not allowed."""
    match = _NAME.fullmatch(name)
    if match is None or (match["revision"] and not revision):
        wanted = "projects/{project}/schemas/{schema}" + ("@{revision}" if revision else "")
        raise InvalidArgument(f"Invalid resource name given (name={name}): must be {wanted}.")
    return name.partition("@")[0], match["revision"] or ""


def _parse_parent(parent: str) -> str:
    if not re.fullmatch(r"projects/[^/]+", parent):
        raise InvalidArgument(f"Invalid resource name given (name={parent}): must be a project.")
    return parent


def _page(
    items: Sequence[SchemaRevision], key: Callable[[SchemaRevision], str], size: int, token: str
) -> tuple[list[SchemaRevision], str]:
    """The page after the item whose key is `token`; items are in the order of their keys."""
    if size < 0:
        raise InvalidArgument("page_size must not be negative.")
    rest = [item for item in items if key(item) > token]
    limit = min(size or MAX_PAGE_SIZE, MAX_PAGE_SIZE)
    page = rest[:limit]
    return page, key(page[-1]) if len(rest) > limit else ""


class SchemaRegistry:
    """All schemas of all projects."""

    def __init__(self, compile_schema: Compiler) -> None:
        self._compile_schema = compile_schema
        self._schemas: dict[str, _Schema] = {}

    def create(
        self, parent: str, schema_id: str, source: SchemaSource, *, revision_id: str, now_us: int
    ) -> SchemaRevision:
        """A new schema with its first revision.

        Raises:
            InvalidArgument: the names or the definition.
            AlreadyExists: there is one of this name.
        """
        name = f"{_parse_parent(parent)}/schemas/{schema_id}"
        if not _ID.fullmatch(schema_id) or schema_id.startswith("goog"):
            raise InvalidArgument(
                f"Invalid resource name given (name={name}): schema_id must be 3 to 255 "
                "characters of letters, digits and -._~+%, start with a letter and not with goog."
            )
        if name in self._schemas:
            raise AlreadyExists(f"Resource already exists in the project (resource={schema_id}).")
        compiled = self.validate(source)
        schema = _Schema()
        revision = schema.add(SchemaRevision(name, source, revision_id, now_us, compiled))
        self._schemas[name] = schema
        return revision

    def validate(self, source: SchemaSource) -> CompiledSchema:
        """The definition, understood.

        Raises:
            InvalidArgument: it is too large, or not a schema.
        """
        size = max(len(source.definition.encode()), len(source.compiled_bytes))
        if size > MAX_DEFINITION_BYTES:
            raise InvalidArgument(
                f"definition: {size} bytes, and at most {MAX_DEFINITION_BYTES} are allowed."
            )
        return self._compile_schema(source)

    def get(self, name: str) -> SchemaRevision:
        """The revision `projects/P/schemas/S@R`, or without @R the last one.

        Raises:
            InvalidArgument: not such a name.
            NotFound: no such schema or revision.
        """
        base, revision_id = _parse_name(name, revision=True)
        revisions = self._find(base).revisions
        if not revision_id:
            return revisions[-1]
        return self._revision(base, revision_id)

    def list_schemas(
        self, parent: str, page_size: int = 0, page_token: str = ""
    ) -> tuple[list[SchemaRevision], str]:
        """The last revision of each schema of a project by name, and the next page's token."""
        prefix = f"{_parse_parent(parent)}/schemas/"
        names = sorted(name for name in self._schemas if name.startswith(prefix))
        last = [self._schemas[name].revisions[-1] for name in names]
        return _page(last, lambda item: item.name, page_size, page_token)

    def list_revisions(
        self, name: str, page_size: int = 0, page_token: str = ""
    ) -> tuple[list[SchemaRevision], str]:
        """The revisions of a schema, oldest first, and the next page's token."""
        base, _ = _parse_name(name)
        revisions = self._find(base).revisions
        return _page(revisions, lambda item: f"{item.sequence:08}", page_size, page_token)

    def commit(
        self, name: str, source: SchemaSource, *, revision_id: str, now_us: int
    ) -> SchemaRevision:
        """A new revision.

        Raises:
            InvalidArgument: the definition, its type, or incompatible with a revision.
            NotFound: no such schema.
            ResourceExhausted: there are 20 revisions.
        """
        base, _ = _parse_name(name)
        schema = self._find(base)
        if source.type is not schema.revisions[-1].source.type:
            raise InvalidArgument("type: a revision must have the type of its schema.")
        compiled = self.validate(source)
        for earlier in reversed(schema.revisions):
            reason = compiled.incompatibility(earlier.compiled)
            if reason is not None:  # the first sentence as production words it
                raise InvalidArgument(
                    "Revision is incompatible with previous revision: "
                    f"{earlier.revision_id}. {reason}"
                )
        return self._add(schema, SchemaRevision(base, source, revision_id, now_us, compiled))

    def rollback(
        self, name: str, to_revision_id: str, *, revision_id: str, now_us: int
    ) -> SchemaRevision:
        """A new revision with the definition of `to_revision_id`.

        Raises:
            InvalidArgument: no revision given.
            NotFound: no such schema or revision.
            ResourceExhausted: there are 20 revisions.
        """
        base, _ = _parse_name(name)
        if not to_revision_id:
            raise InvalidArgument("revision_id: the revision to roll back to must be given.")
        old = self._revision(base, to_revision_id)
        revision = SchemaRevision(base, old.source, revision_id, now_us, old.compiled)
        return self._add(self._find(base), revision)

    def delete_revision(self, name: str, revision_id: str = "") -> SchemaRevision:
        """Delete `projects/P/schemas/S@R` and return it, as Google's emulator 0.8.20 does.

        `revision_id` is the request's deprecated field for a name without @R.

        Raises:
            InvalidArgument: no revision is named, or it is the only one.
            NotFound: no such schema or revision.
        """
        base, named = _parse_name(name, revision=True)
        if not (named or revision_id):
            raise InvalidArgument(f"Invalid resource name given (name={name}): no revision in it.")
        revision = self._revision(base, named or revision_id)
        revisions = self._find(base).revisions
        if len(revisions) == 1:
            raise InvalidArgument(
                "Cannot delete the last revision of a schema; delete the schema instead."
            )
        revisions.remove(revision)
        return revision

    def delete(self, name: str) -> None:
        """Delete a schema with all its revisions; topics that use it take no more messages."""
        base, _ = _parse_name(name)
        self._find(base)
        del self._schemas[base]

    def clear(self) -> None:
        """Forget every schema."""
        self._schemas.clear()

    def check_settings(self, settings: SchemaSettings) -> None:
        """Whether a topic can be given these.

        Raises:
            InvalidArgument: not a schema's name, or a first revision after the last one.
            NotFound: no such schema or revision.
        """
        base, _ = _parse_name(settings.schema)
        schema = self._find(base)
        first, last = settings.first_revision_id, settings.last_revision_id
        for revision_id in filter(None, (first, last)):
            self._revision(base, revision_id)
        if first and last and schema.sequences[first] > schema.sequences[last]:
            raise InvalidArgument("schema_settings: first_revision_id is after last_revision_id.")

    def check_message(self, settings: SchemaSettings, data: bytes) -> dict[str, str]:
        """The attributes that a conforming message gets.

        For example {"googclient_schemaname": "projects/p/schemas/s",
        "googclient_schemaencoding": "JSON", "googclient_schemarevisionid": "285ae575"}.

        Raises:
            InvalidArgument: it conforms to no admitted revision.
            NotFound: the schema was deleted.
        """
        schema = self._schemas.get(settings.schema)
        if schema is None:  # the words of Google's emulator 0.8.20
            raise NotFound("Schema associated with topic deleted.")
        places = schema.sequences
        first = places.get(settings.first_revision_id, 0)
        last = places.get(settings.last_revision_id, len(places))
        reason = "no revision of the schema is in the topic's range"
        for revision in reversed(schema.revisions):
            if not first <= revision.sequence <= last:
                continue
            try:
                revision.compiled.check(data, settings.encoding)
            except InvalidArgument as error:
                reason = error.message
                continue
            return {
                "googclient_schemaname": settings.schema,
                "googclient_schemaencoding": settings.encoding.name,
                "googclient_schemarevisionid": revision.revision_id,
            }
        # Production says the first sentence only.
        raise InvalidArgument(
            f"Invalid data in message: Message failed schema validation. ({reason})"
        )

    def _find(self, base: str) -> _Schema:
        schema = self._schemas.get(base)
        if schema is None:
            raise NotFound(f"Resource not found (resource={base.rpartition('/')[2]}).")
        return schema

    def _revision(self, base: str, revision_id: str) -> SchemaRevision:
        for revision in self._find(base).revisions:
            if revision.revision_id == revision_id:
                return revision
        resource = f"{base.rpartition('/')[2]}@{revision_id}"
        raise NotFound(f"Resource not found (resource={resource}).")

    def _add(self, schema: _Schema, revision: SchemaRevision) -> SchemaRevision:
        if len(schema.revisions) >= MAX_REVISIONS:
            raise ResourceExhausted(
                f"A schema cannot have more than {MAX_REVISIONS} revisions; delete one first."
            )
        if revision.revision_id in schema.sequences:
            raise AlreadyExists(f"Resource already exists (revision={revision.revision_id}).")
        return schema.add(revision)

"""One write: from a document as it is and a write, the document as it becomes.

1. A stored document is never changed in place: every write makes a new one, sharing what did
   not change, so that a reader may keep what it got.
2. A precondition is checked against the document as the earlier writes of the same commit left
   it. A precondition that fails refuses the commit as a whole.
3. An update without a mask replaces all fields; with one, each path of the mask is set, or
   deleted where the update has no value for it; transforms come last, in their order.
4. A write that changes nothing, by identity of values, keeps the document and its update_time.

Source: google/firestore/v1/write.proto and common.proto; observed: Firestore emulator 1.19.9.
"""

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field

from emulator.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from emulator.firestore.limits import MAX_TRANSFORMS, check_document
from emulator.firestore.paths import DatabaseName, Name
from emulator.firestore.transforms import Transform, apply_transform, check_transforms
from emulator.firestore.values import (
    MISSING,
    FieldPath,
    Fields,
    Value,
    get_field,
    same_value,
)


@dataclass(slots=True, eq=False)
class Document:
    """A stored document, never changed once committed; `name` is relative to its database.

    `encoded` is a cache of the servicer's, opaque here: the document's wire form, once made.
    """

    name: Name
    fields: Fields
    create_time_us: int
    update_time_us: int
    encoded: bytes | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """What a commit did to one document: None means that there is none."""

    name: Name
    old: Document | None
    new: Document | None


class Operation(enum.Enum):
    """What a write does with its document."""

    UPDATE = "update"
    DELETE = "delete"
    VERIFY = "verify"


@dataclass(frozen=True, slots=True)
class Precondition:
    """What must be true of the document; None: not asked."""

    exists: bool | None = None
    update_time_us: int | None = None


NO_PRECONDITION = Precondition()


@dataclass(frozen=True, slots=True)
class Write:
    """One write of a commit. `mask` None replaces the document, a tuple merges into it."""

    operation: Operation
    name: Name
    fields: Fields = field(default_factory=dict)
    mask: tuple[FieldPath, ...] | None = None
    transforms: tuple[Transform, ...] = ()
    precondition: Precondition = NO_PRECONDITION


@dataclass(frozen=True, slots=True)
class WriteResult:
    """`update_time_us` is None after a delete; one transform result for each transform."""

    update_time_us: int | None
    transform_results: tuple[Value, ...] = ()


def check_writes(writes: Sequence[Write]) -> None:
    """Raise unless the writes make sense, whatever is stored.

    Raises:
        InvalidArgument: transforms contradict each other, or are too many.
    """
    counts: dict[Name, int] = {}
    for write in writes:
        if write.transforms:
            check_transforms(write.transforms)
            counts[write.name] = counts.get(write.name, 0) + len(write.transforms)
            if counts[write.name] > MAX_TRANSFORMS:
                raise InvalidArgument(
                    f"Too many field transforms of one document: at most {MAX_TRANSFORMS} "
                    "are allowed in one commit."
                )


def check_precondition(
    precondition: Precondition, document: Document | None, full_name: str
) -> None:
    """Raise unless the document is as the precondition asks.

    Raises:
        NotFound: it should exist.
        AlreadyExists: it should not.
        FailedPrecondition: it was updated at another time.
    """
    if precondition.exists is True and document is None:
        raise NotFound(f"No document to update: {full_name}")
    if precondition.exists is False and document is not None:
        raise AlreadyExists(f"Document already exists: {full_name}")
    required = precondition.update_time_us
    if required is not None:
        stored = 0 if document is None else document.update_time_us
        if stored != required:
            raise FailedPrecondition(
                f"the stored version ({stored}) does not match "
                f"the required base version ({required})"
            )


def apply_write(
    database: DatabaseName, document: Document | None, write: Write, commit_time_us: int
) -> tuple[Document | None, WriteResult]:
    """The document after the write (the very same object if nothing changed), and the result.

    Raises:
        NotFound, AlreadyExists, FailedPrecondition: the precondition does not hold.
        InvalidArgument: the document would pass a limit.
    """
    if write.precondition is not NO_PRECONDITION:
        check_precondition(write.precondition, document, database.full_name(write.name))
    if write.operation is Operation.DELETE:
        return None, WriteResult(None)
    if write.operation is Operation.VERIFY:
        return document, WriteResult(None if document is None else document.update_time_us)
    fields = write.fields
    if write.mask is not None:
        fields = _merged({} if document is None else document.fields, fields, write.mask)
    results: tuple[Value, ...] = ()
    if write.transforms:
        fields, results = _transformed(fields, write.transforms, commit_time_us)
    if document is not None and same_value(document.fields, fields):
        return document, WriteResult(document.update_time_us, results)
    check_document(write.name, fields, database.full_name(write.name))
    created_us = commit_time_us if document is None else document.create_time_us
    new = Document(write.name, fields, created_us, commit_time_us)
    return new, WriteResult(commit_time_us, results)


def _merged(old: Fields, update: Fields, mask: tuple[FieldPath, ...]) -> Fields:
    fields = dict(old)
    own: set[int] = {id(fields)}
    for path in mask:
        value = get_field(update, path)
        if value is MISSING:
            _remove(fields, path, own)
        else:
            _put(fields, path, value, own)
    return fields


def _transformed(
    fields: Fields, transforms: tuple[Transform, ...], commit_time_us: int
) -> tuple[Fields, tuple[Value, ...]]:
    fields = dict(fields)
    own: set[int] = {id(fields)}
    results = []
    for transform in transforms:
        current = get_field(fields, transform.path)
        value, result = apply_transform(transform, current, commit_time_us)
        _put(fields, transform.path, value, own)
        results.append(result)
    return fields, tuple(results)


def _put(fields: Fields, path: FieldPath, value: Value, own: set[int]) -> None:
    """Set `path`, copying each map on the way that is not in `own` (ours to change) yet."""
    at = fields
    for segment in path[:-1]:
        child = at.get(segment)
        if not isinstance(child, dict):
            child = {}
        elif id(child) not in own:
            child = dict(child)
        own.add(id(child))
        at[segment] = child
        at = child
    at[path[-1]] = value


def _remove(fields: Fields, path: FieldPath, own: set[int]) -> None:
    if get_field(fields, path) is MISSING:
        return
    at = fields
    for segment in path[:-1]:
        child = at[segment]
        assert isinstance(child, dict)  # noqa: S101 - get_field walked the same way
        if id(child) not in own:
            child = dict(child)
            own.add(id(child))
            at[segment] = child
        at = child
    del at[path[-1]]

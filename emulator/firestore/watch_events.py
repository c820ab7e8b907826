"""What a Listen stream tells its client: the core's form of ListenResponse.

Source: google/firestore/v1/firestore.proto (TargetChange) and write.proto (DocumentChange,
DocumentDelete, DocumentRemove, ExistenceFilter). What is told when: watch.py.
"""

import enum
from dataclasses import dataclass
from typing import TypeAlias

from emulator.errors import ServiceError
from emulator.firestore.paths import Name
from emulator.firestore.values import FieldPath
from emulator.firestore.writes import Document


class Kind(enum.Enum):
    """TargetChangeType, by its numbers."""

    NO_CHANGE = 0
    ADD = 1
    REMOVE = 2
    CURRENT = 3
    RESET = 4


@dataclass(frozen=True, slots=True)
class TargetChange:
    """Something about targets; no ids means all. With a read time it carries a token."""

    kind: Kind
    target_ids: tuple[int, ...] = ()
    read_time_us: int | None = None
    cause: ServiceError | None = None


@dataclass(frozen=True, slots=True)
class DocumentChange:
    """The document is new or changed in `target_ids`, and no longer in `removed_target_ids`."""

    document: Document
    target_ids: tuple[int, ...]
    removed_target_ids: tuple[int, ...] = ()
    select: tuple[FieldPath, ...] | None = None


@dataclass(frozen=True, slots=True)
class DocumentGone:
    """The document is in no target any more; `deleted` says that it does not exist."""

    name: Name
    removed_target_ids: tuple[int, ...]
    deleted: bool
    read_time_us: int


@dataclass(frozen=True, slots=True)
class ExistenceFilter:
    """How many documents the target has: the client checks its own number."""

    target_id: int
    count: int


Event: TypeAlias = TargetChange | DocumentChange | DocumentGone | ExistenceFilter

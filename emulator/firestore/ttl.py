"""Time-to-live policies of one database: which documents are to be deleted, and when.

1. A policy names a collection group and a field; a document there whose field is a timestamp is
   deleted once that time has come. Without the field, or with another type, it stays.
2. A collection group has one policy at most.
3. The time may move: only what the document says when it is due counts.
4. The deletion is a commit like any other; listeners see it. Production may take a day over it.

Source: https://firebase.google.com/docs/firestore/ttl
"""

import heapq
from collections.abc import Iterable, Mapping, Sequence

from emulator.errors import InvalidArgument
from emulator.firestore.paths import Name, name_key
from emulator.firestore.store import Database
from emulator.firestore.values import FieldPath, Timestamp, format_field_path, get_field
from emulator.firestore.writes import Change, Document, Operation, Precondition, Write


def by_group(policies: Iterable[tuple[str, FieldPath]]) -> dict[str, FieldPath]:
    """The policies (collection group, field) by their group; a policy may be there twice.

    Raises:
        InvalidArgument: a group has two fields.
    """
    found: dict[str, FieldPath] = {}
    for group, path in policies:
        if found.setdefault(group, path) != path:
            fields = f"{format_field_path(found[group])} and {format_field_path(path)}"
            raise InvalidArgument(
                f"TTL policies of {group} on {fields}: a collection group has one at most, "
                "take one away"
            )
    return found


class Expiry:
    """Observes one database and knows what expires next; `policies`: group -> field path."""

    def __init__(self, database: Database, policies: Mapping[str, FieldPath]) -> None:
        self._database = database
        self._policies = dict(policies)
        self._due: list[tuple[int, tuple[tuple[int, object], ...], Name]] = []
        database.observers.append(self._observe)

    def next_wakeup_us(self) -> int | None:
        """When `delete_expired` may have something to do next."""
        return self._due[0][0] if self._due else None

    def delete_expired(self, now_us: int) -> int:
        """Delete what has expired; how many documents that were."""
        deleted = 0
        while self._due and self._due[0][0] <= now_us:
            _, _, name = heapq.heappop(self._due)
            document = self._database.get(name)
            expires_us = None if document is None else self._expires_us(document)
            if document is not None and expires_us is not None and expires_us <= now_us:
                unchanged = Precondition(update_time_us=document.update_time_us)
                write = Write(Operation.DELETE, name, precondition=unchanged)
                self._database.commit([write], now_us)
                deleted += 1
        return deleted

    def _expires_us(self, document: Document) -> int | None:
        path = self._policies.get(document.name[-2])
        value = None if path is None else get_field(document.fields, path)
        return value.us if isinstance(value, Timestamp) else None

    def _observe(self, changes: Sequence[Change], _commit_time_us: int) -> None:
        for change in changes:
            if change.new is not None and change.name[-2] in self._policies:
                expires_us = self._expires_us(change.new)
                if expires_us is not None:
                    heapq.heappush(self._due, (expires_us, name_key(change.name), change.name))

"""google.firestore.v1: Listen.

1. One task reads the stream's requests, another sends what its `Listener` collects; between
   the two an event. Nothing polls.
2. Up to WOKEN_AT_ONCE streams are woken at once. More queue: the next few each SLOT_SECONDS,
   and while commits keep coming none for HELD_SLOTS; they are told all of it together. So
   hundreds of streams that hear of every commit do not hold up commits, neither here nor in a
   client, where a snapshot of the Python client costs milliseconds of its one interpreter.
3. A target that cannot be listened to is answered by REMOVE with the cause; the stream goes on.
   What breaks the stream's own rules (an id in use, a second database) ends it.
4. A resume token is this process's mark and a time: one of another process resets the target.

Source: google/firestore/v1/firestore.proto; observed: gcloud Firestore emulator 1.19.9 with
google-cloud-firestore 2.34.1, whose Watch wants CURRENT, then NO_CHANGE for the whole stream.
"""

import asyncio
import secrets
import struct
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import grpc

from emulator.clock import Clock
from emulator.errors import InvalidArgument, ServiceError
from emulator.firestore.advice import Advisor
from emulator.firestore.convert import (
    decode_time,
    document_bytes,
    document_pb,
    encode_time,
    own_name,
)
from emulator.firestore.paths import DatabaseName, parse_database
from emulator.firestore.pb import types
from emulator.firestore.query_decode import decode_query
from emulator.firestore.query_engine import Engines
from emulator.firestore.watch import Listener, Watcher
from emulator.firestore.watch_events import (
    DocumentChange,
    Event,
    ExistenceFilter,
    TargetChange,
)
from emulator.firestore.writes import Change
from emulator.wire import Context, Rpc

_Reply: Final[Any] = types.ListenResponse.pb()
_TOKEN = struct.Struct(">8sQ")
_UNKNOWN_US = -1
WOKEN_AT_ONCE = 8
SLOT_SECONDS = 0.01
HELD_SLOTS = 25
_KEPT_REPLIES = 256


class ListenService:
    """The Listen RPC."""

    def __init__(self, clock: Clock, engines: Engines, advisor: Advisor) -> None:
        self._clock = clock
        self._engines = engines
        self._advisor = advisor
        self._watchers: dict[DatabaseName, Watcher] = {}
        self._mark = secrets.token_bytes(8)
        self._asleep: deque[asyncio.Event] = deque()
        self._wakes_left = WOKEN_AT_ONCE
        self._held = 0
        self._committed = False
        # Streams that listen to the same thing under the same id are sent the same replies.
        self._replies: dict[DocumentChange, Any] = {}

    def rpcs(self) -> dict[str, Rpc]:
        """This part of the service's table."""
        return {
            "Listen": Rpc(
                types.ListenRequest.pb(), _Reply, self.listen, stream_in=True, stream_out=True
            )
        }

    async def listen(self, requests: AsyncIterator[Any], _context: Context) -> AsyncIterator[Any]:
        """Listen: ends when the client has no more requests and knows all there is to know."""
        woken = asyncio.Event()
        stream = _Stream(self, woken)
        reader = asyncio.create_task(stream.read(requests), name="firestore listen requests")
        reader.add_done_callback(lambda _task: woken.set())
        try:
            while True:
                await woken.wait()
                woken.clear()
                ended = reader.done()
                if stream.listener is not None:
                    for event in stream.listener.collect(self._clock.now_us()):
                        yield self._reply(stream.database, event)
                if ended:
                    reader.result()  # raises what ended it
                    return
        finally:
            reader.cancel()
            if stream.listener is not None:
                stream.listener.close()

    def wake(self, woken: asyncio.Event) -> None:
        """Wake a stream, now or soon: see rule 2."""
        if self._wakes_left == WOKEN_AT_ONCE:
            asyncio.get_running_loop().call_later(SLOT_SECONDS, self._next_slot)
        if self._wakes_left:
            self._wakes_left -= 1
            woken.set()
        else:
            self._asleep.append(woken)

    def _next_slot(self) -> None:
        committed, self._committed = self._committed, False
        if self._asleep and committed and self._held < HELD_SLOTS:
            self._held += 1
            asyncio.get_running_loop().call_later(SLOT_SECONDS, self._next_slot)
            return
        self._wakes_left = WOKEN_AT_ONCE
        for _ in range(min(WOKEN_AT_ONCE, len(self._asleep))):
            self.wake(self._asleep.popleft())
        if not self._asleep:
            self._held = 0

    def _note_commit(self, _changes: Sequence[Change], _commit_time_us: int) -> None:
        self._committed = True

    def watcher(self, database: DatabaseName) -> Watcher:
        """The watcher of a database."""
        watcher = self._watchers.get(database)
        if watcher is None:
            engine = self._engines.engine(database)
            engine.database.observers.append(self._note_commit)
            watcher = self._watchers[database] = Watcher(engine)
        return watcher

    def add_target(
        self, database: DatabaseName, listener: Listener, target_id: int, message: Any
    ) -> None:
        """Add the target of a Target message; a bad one is told on the stream."""
        now_us = self._clock.now_us()
        try:
            resume_us = self._resume_us(message)
            match message.WhichOneof("target_type"):
                case "query" if message.query.WhichOneof("query_type"):
                    named, query = decode_query(
                        message.query.parent, message.query.structured_query
                    )
                    if named != database:
                        raise InvalidArgument(f'The target is not in the database "{database}".')
                    self._advisor.check(database, query)
                    listener.add_query(
                        target_id,
                        message.query.SerializeToString(deterministic=True),
                        query,
                        now_us=now_us,
                        resume_us=resume_us,
                        once=message.once,
                    )
                case "documents":
                    listener.add_documents(
                        target_id,
                        [own_name(name, database) for name in message.documents.documents],
                        now_us=now_us,
                        resume_us=resume_us,
                        once=message.once,
                    )
                case _:
                    raise InvalidArgument("A target must have a query or documents.")
        except ServiceError as error:
            listener.refuse(target_id, error)

    def _resume_us(self, message: Any) -> int | None:
        """The time of what the client has; _UNKNOWN_US if it has something of another process."""
        match message.WhichOneof("resume_type"):
            case "read_time":
                return decode_time(message.read_time)
            case "resume_token" if message.resume_token:
                if len(message.resume_token) == _TOKEN.size:
                    mark, time_us = _TOKEN.unpack(message.resume_token)
                    if mark == self._mark:
                        return int(time_us)
                return _UNKNOWN_US
        return None

    def _reply(self, database: DatabaseName, event: Event) -> Any:
        if isinstance(event, TargetChange):
            return self._target_change(event)
        if isinstance(event, DocumentChange):
            return self._document_change(database, event)
        reply = _Reply()
        if isinstance(event, ExistenceFilter):
            reply.filter.target_id = event.target_id
            reply.filter.count = event.count
            return reply
        gone = reply.document_delete if event.deleted else reply.document_remove
        gone.document = database.full_name(event.name)
        gone.removed_target_ids.extend(event.removed_target_ids)
        encode_time(event.read_time_us, gone.read_time)
        return reply

    def _target_change(self, event: TargetChange) -> Any:
        reply = _Reply()
        change = reply.target_change
        change.SetInParent()
        change.target_change_type = event.kind.value
        change.target_ids.extend(event.target_ids)
        if event.read_time_us is not None:
            encode_time(event.read_time_us, change.read_time)
            change.resume_token = _TOKEN.pack(self._mark, event.read_time_us)
        if event.cause is not None:
            change.cause.code = grpc.StatusCode[event.cause.code].value[0]
            change.cause.message = event.cause.message
        return reply

    def _document_change(self, database: DatabaseName, event: DocumentChange) -> Any:
        reply = self._replies.get(event)
        if reply is not None:
            return reply
        reply = _Reply()
        change = reply.document_change
        if event.select is None:
            change.document.MergeFromString(document_bytes(database, event.document))
        else:
            change.document.CopyFrom(document_pb(database, event.document, event.select))
        change.target_ids.extend(event.target_ids)
        change.removed_target_ids.extend(event.removed_target_ids)
        if len(self._replies) >= _KEPT_REPLIES:
            self._replies.clear()
        self._replies[event] = reply
        return reply


class _Stream:
    """The requests of one Listen call."""

    def __init__(self, service: ListenService, woken: asyncio.Event) -> None:
        self._service = service
        self._woken = woken
        self._assigned = 0
        self.database = DatabaseName("", "")
        self.listener: Listener | None = None

    async def read(self, requests: AsyncIterator[Any]) -> None:
        """Take requests until the client closes its side.

        Raises:
            InvalidArgument: a request breaks the stream's rules.
        """
        async for request in requests:
            database = parse_database(request.database)
            if self.listener is None:
                self.database = database
                watcher = self._service.watcher(database)
                self.listener = Listener(watcher, lambda: self._service.wake(self._woken))
            elif database != self.database:
                raise InvalidArgument(f'This stream is of the database "{self.database}".')
            match request.WhichOneof("target_change"):
                case "add_target":
                    self._add(self.listener, request.add_target)
                case "remove_target":
                    self.listener.remove(request.remove_target)
                case _:
                    raise InvalidArgument("A ListenRequest must add or remove a target.")

    def _add(self, listener: Listener, target: Any) -> None:
        target_id = target.target_id
        if target_id < 0:
            raise InvalidArgument("target_id must not be negative.")
        if target_id in listener:
            raise InvalidArgument(f"The target id {target_id} is in use on this stream.")
        if target_id and self._assigned:
            listener.refuse(
                target_id,
                InvalidArgument("After a target without an id, no target may have an id."),
            )
            return
        if not target_id:
            self._assigned += 1
            target_id = self._assigned
            if target_id in listener:
                raise InvalidArgument("Targets with and without an id on one stream.")
        self._service.add_target(self.database, listener, target_id, target)

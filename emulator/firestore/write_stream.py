"""google.firestore.v1: the Write stream of the web and mobile clients.

1. The first request names the database and carries no writes; its reply gives the stream's id
   and first token. Each later request is one atomic commit, answered in order.
2. A request carries the token of a reply of this stream, or none.
3. Resuming a stream by its id is UNIMPLEMENTED: clients open a new one and send again.

Source: google/firestore/v1/firestore.proto.
"""

from collections.abc import AsyncIterator
from typing import Any, Final

from emulator.clock import Clock
from emulator.errors import InvalidArgument, Unimplemented
from emulator.firestore.convert_writes import decode_write, fill_commit
from emulator.firestore.document_service import auto_id, check_commit_size
from emulator.firestore.paths import DatabaseName, parse_database
from emulator.firestore.pb import types
from emulator.firestore.store import Store
from emulator.wire import Context, Rpc

_WriteReply: Final[Any] = types.WriteResponse.pb()


class WriteStream:
    """The Write RPC."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def rpcs(self) -> dict[str, Rpc]:
        """This part of the service's table."""
        request: Any = types.WriteRequest.pb()
        return {"Write": Rpc(request, _WriteReply, self.write, stream_in=True, stream_out=True)}

    async def write(self, requests: AsyncIterator[Any], _context: Context) -> AsyncIterator[Any]:
        """Write: one commit for each request after the first."""
        name: DatabaseName | None = None
        replies = 0
        async for request in requests:
            if name is None:
                name = _opened(request)
                reply = _WriteReply(stream_id=auto_id())
            else:
                check_commit_size(request)
                if request.stream_token and not 0 < _number(request.stream_token) <= replies:
                    raise InvalidArgument("The stream token is not one of this stream.")
                writes = [decode_write(write, name) for write in request.writes]
                reply = _WriteReply()
                database = self._store.database(name)
                fill_commit(database.commit(writes, self._clock.now_us()), reply)
            replies += 1
            reply.stream_token = replies.to_bytes(8, "big")
            yield reply


def _opened(request: Any) -> DatabaseName:
    if request.stream_id:
        raise Unimplemented("WriteRequest.stream_id is not supported: open a new stream.")
    if request.writes:
        raise InvalidArgument("The first request of a Write stream must not contain writes.")
    return parse_database(request.database)


def _number(token: bytes) -> int:
    return int.from_bytes(token, "big")

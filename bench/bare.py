"""The floor that no Python broker can beat: Pub/Sub's messages over grpc.aio, and no broker.

`python -m bench.bare PORT` hands what is published to topic X to the open stream of
subscription X. It stores nothing, checks nothing, and takes every ack for granted: what a
latency here costs is the client library's, gRPC's and the machine's.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

from google.pubsub_v1 import types

from emulator.wire import Rpc, Service, serve

_Topic = types.Topic.pb()
_Subscription = types.Subscription.pb()
_PublishReply = types.PublishResponse.pb()
_Pulled = types.StreamingPullResponse.pb()
_Topics = types.ListTopicsResponse.pb()


class _Bare:
    def __init__(self) -> None:
        self._streams: dict[str, asyncio.Queue[Any]] = {}
        self._count = 0

    def publish(self, request: Any, _context: Any) -> Any:
        pulled, reply = _Pulled(), _PublishReply()
        for message in request.messages:
            self._count += 1
            number = str(self._count)
            received = pulled.received_messages.add(ack_id=number, message=message)
            received.message.message_id = number
            reply.message_ids.append(number)
        stream = self._streams.get(request.topic.rpartition("/")[2])
        if stream is not None:
            stream.put_nowait(pulled)
        return reply

    async def streaming_pull(
        self, requests: AsyncIterator[Any], _context: Any
    ) -> AsyncIterator[Any]:
        async def read() -> None:
            async for _request in requests:
                pass

        first = await anext(aiter(requests))
        stream: asyncio.Queue[Any] = asyncio.Queue()
        self._streams[first.subscription.rpartition("/")[2]] = stream
        reader = asyncio.create_task(read())
        try:
            while True:
                yield await stream.get()
        finally:
            reader.cancel()


async def _main(port: int) -> None:
    bare = _Bare()

    def same(request: Any, _context: Any) -> Any:
        return request

    publisher = {
        "CreateTopic": Rpc(_Topic, _Topic, same),
        "ListTopics": Rpc(types.ListTopicsRequest.pb(), _Topics, lambda *_: _Topics()),
        "Publish": Rpc(types.PublishRequest.pb(), _PublishReply, bare.publish),
    }
    streaming_pull = Rpc(
        types.StreamingPullRequest.pb(),
        _Pulled,
        bare.streaming_pull,
        stream_in=True,
        stream_out=True,
    )
    subscriber = {
        "CreateSubscription": Rpc(_Subscription, _Subscription, same),
        "StreamingPull": streaming_pull,
    }
    services = [
        Service("google.pubsub.v1.Publisher", publisher),
        Service("google.pubsub.v1.Subscriber", subscriber),
    ]
    server, _ = await serve(services, "127.0.0.1", port)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1])))

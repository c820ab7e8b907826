"""Listen as a service, on messages and without a socket: the stream's rules and its tokens."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from google.cloud.firestore_v1 import types

from emulator.clock import ManualClock
from emulator.errors import InvalidArgument
from emulator.firestore.advice import Advisor
from emulator.firestore.listen_service import WOKEN_AT_ONCE, ListenService
from emulator.firestore.query_engine import Engines
from emulator.firestore.store import Store
from emulator.firestore.writes import Operation, Write
from tests.emulator.firestore_queries import DATABASE

Kind = types.TargetChange.TargetChangeType


class World:
    """A store and a Listen service on one event loop."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = Store()
        self.service = ListenService(self.clock, Engines(self.store), Advisor(require=True))

    def put(self, path: str, **fields: Any) -> None:
        self.clock.advance(0.001)
        write = Write(Operation.UPDATE, tuple(path.split("/")), fields)
        self.store.database(DATABASE).commit([write], self.clock.now_us())


class Stream:
    """One Listen call: requests go in one by one, replies come out one by one."""

    def __init__(self, world: World) -> None:
        self._requests: asyncio.Queue[Any] = asyncio.Queue()
        context: Any = None
        self._replies = world.service.listen(self._take(), context)

    async def _take(self) -> AsyncIterator[Any]:
        while (request := await self._requests.get()) is not None:
            yield request

    def send(self, **fields: Any) -> None:
        fields.setdefault("database", str(DATABASE))
        self._requests.put_nowait(types.ListenRequest.pb(types.ListenRequest(fields)))

    def add(self, target_id: int, collection_id: str = "c", **target: Any) -> None:
        query = {"from_": [{"collection_id": collection_id}]}
        asked = {"parent": DATABASE.documents, "structured_query": query}
        self.send(add_target={"target_id": target_id, "query": asked, **target})

    def end(self) -> None:
        self._requests.put_nowait(None)

    async def reply(self) -> types.ListenResponse:
        async with asyncio.timeout(10):
            return types.ListenResponse.wrap(await anext(self._replies))

    async def replies(self, count: int) -> list[types.ListenResponse]:
        return [await self.reply() for _ in range(count)]

    async def rest(self) -> list[Any]:
        async with asyncio.timeout(10):
            return [reply async for reply in self._replies]


def kinds(replies: list[types.ListenResponse]) -> list[str]:
    return [Kind(one.target_change.target_change_type).name for one in replies]


def run(work: Callable[[World], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        return await work(World())

    return asyncio.run(main())


def test_a_stream_ends_when_its_client_has_no_more_to_ask():
    """All that there is to tell is told first."""

    async def work(world):
        world.put("c/a", n=1)
        stream = Stream(world)
        stream.add(1)
        stream.end()
        return await stream.rest(), len(world.service.watcher(DATABASE))

    replies, followed = run(work)
    assert len(replies) == 4
    assert followed == 0


def test_a_token_tells_where_to_go_on_and_another_process_knows_nothing_of_it():
    """The same service continues; another resets."""

    async def work(world):
        world.put("c/a", n=1)
        first = Stream(world)
        first.add(1)
        token = (await first.replies(4))[-1].target_change.resume_token
        world.put("c/b", n=1)
        second = Stream(world)
        second.add(1, resume_token=token)
        other = World()
        other.put("c/a", n=1)
        third = Stream(other)
        third.add(1, resume_token=token)
        return await second.replies(5), await third.replies(2)

    resumed, reset = run(work)
    assert [one._pb.WhichOneof("response_type") for one in resumed] == [
        "target_change",
        "document_change",
        "filter",
        "target_change",
        "target_change",
    ]
    assert resumed[1].document_change.document.name == DATABASE.full_name(("c", "b"))
    assert resumed[2].filter.count == 2
    assert kinds(reset) == ["ADD", "RESET"]


@pytest.mark.parametrize(
    ("target", "code", "text"),
    [
        ({}, 3, "A target must have a query or documents."),
        ({"query": {"parent": DATABASE.documents}}, 3, "A target must have a query"),
        ({"documents": {"documents": ["nonsense"]}}, 3, "lacks"),
        (
            {"query": {"parent": "projects/other/databases/x/documents", "structured_query": {}}},
            3,
            "not in the database",
        ),
        (
            {
                "query": {
                    "parent": DATABASE.documents,
                    "structured_query": {
                        "from_": [{"collection_id": "c"}],
                        "order_by": [
                            {"field": {"field_path": "a"}},
                            {"field": {"field_path": "b"}},
                        ],
                    },
                }
            },
            9,
            "The query requires an index.",
        ),
    ],
    ids=["nothing", "no query", "no name", "elsewhere", "no index"],
)
def test_a_target_that_cannot_be_is_told_and_the_stream_goes_on(
    target: dict[str, Any], code: int, text: str
) -> None:
    """ADD, REMOVE with the cause; the next target is served."""

    async def work(world):
        stream = Stream(world)
        stream.send(add_target={"target_id": 1, **target})
        refused = await stream.replies(2)
        stream.add(2)
        return refused, await stream.replies(3)

    refused, served = run(work)
    assert kinds(refused) == ["ADD", "REMOVE"]
    assert refused[1].target_change.cause.code == code
    assert text in refused[1].target_change.cause.message
    assert kinds(served) == ["ADD", "CURRENT", "NO_CHANGE"]


def test_the_server_gives_ids_to_targets_without_one():
    """One after the other; after that no target may bring its own."""

    async def work(world):
        stream = Stream(world)
        stream.add(0)
        stream.add(0)
        stream.add(7)
        stream.end()
        return [types.ListenResponse.wrap(one) for one in await stream.rest()]

    replies = run(work)
    changes = [one.target_change for one in replies if one.target_change.target_ids]
    added = [list(one.target_ids) for one in changes if one.target_change_type == Kind.ADD]
    removed = [list(one.target_ids) for one in changes if one.target_change_type == Kind.REMOVE]
    assert added == [[1], [2], [7]]
    assert removed == [[7]]


@pytest.mark.parametrize(
    ("requests", "text"),
    [
        ([{"add_target": {"target_id": -1}}], "must not be negative"),
        ([{"database": "nonsense", "remove_target": 1}], "Invalid database name"),
        ([{}], "must add or remove a target"),
        (
            [{"remove_target": 1}, {"database": "projects/p/databases/b", "remove_target": 1}],
            "This stream is of the database",
        ),
    ],
)
def test_what_breaks_the_rules_of_a_stream_ends_it(
    requests: list[dict[str, Any]], text: str
) -> None:
    """INVALID_ARGUMENT."""

    async def work(world):
        stream = Stream(world)
        for request in requests:
            stream.send(**request)
        with pytest.raises(InvalidArgument, match=text):
            await stream.rest()

    run(work)


def test_an_id_in_use_ends_the_stream():
    """As there must not be an existing active target with the same id."""

    async def work(world):
        stream = Stream(world)
        stream.add(1)
        stream.add(1, "other")
        with pytest.raises(InvalidArgument, match="The target id 1 is in use"):
            await stream.rest()
        return len(world.service.watcher(DATABASE))

    assert run(work) == 0


def test_commits_go_first_when_many_streams_listen():
    """Each of many streams gets far fewer replies than commits, and the last state."""

    async def work(world):
        streams = [Stream(world) for _ in range(10 * WOKEN_AT_ONCE)]
        for stream in streams:
            stream.add(1)
        for stream in streams:
            await stream.replies(3)
        for number in range(100):
            world.put("c/a", n=number)
            await asyncio.sleep(0)

        async def latest(stream: Stream) -> int:
            replies = 0
            while True:
                reply = await stream.reply()
                replies += 1
                if "n" in reply.document_change.document.fields and (
                    reply._pb.document_change.document.fields["n"].integer_value == 99
                ):
                    return replies

        return await asyncio.gather(*map(latest, streams))

    replies = run(work)
    assert max(replies) <= 100
    assert sum(replies) <= 5 * len(replies)


def test_a_stream_that_is_dropped_is_forgotten():
    """However it ends, nothing is followed for it any more."""

    async def work(world):
        stream = Stream(world)
        stream.add(1)
        await stream.replies(3)
        watcher = world.service.watcher(DATABASE)
        followed = len(watcher)
        await stream._replies.aclose()
        return followed, len(watcher)

    assert run(work) == (1, 0)

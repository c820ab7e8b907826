"""The embedded Firestore as a server: google.firestore.v1 by gRPC, and Google's HTTP controls.

1. One gRPC port for any number of projects and databases, made when they are first named.
2. HTTP beside it: `GET /` answers Ok, `POST /reset` empties everything,
   `DELETE /emulator/v1/projects/P/databases/D/documents` empties one database.
3. What happens by itself (documents that expire, versions that are forgotten) happens when it
   is due: one task sleeps until then, or until something due earlier is written. No polling.

Not here: what the RPCs do (document_service.py, list_service.py, write_stream.py,
query_service.py, listen_service.py).
"""

import asyncio
import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

import grpc.aio
from aiohttp import web

from emulator.clock import SECOND_US, Clock, SystemClock
from emulator.firestore.advice import Advisor
from emulator.firestore.document_service import DocumentService
from emulator.firestore.index_definitions import Definitions
from emulator.firestore.index_file import definitions
from emulator.firestore.list_service import ListService
from emulator.firestore.listen_service import ListenService
from emulator.firestore.paths import DatabaseName, parse_database
from emulator.firestore.query_engine import Engines
from emulator.firestore.query_service import QueryService
from emulator.firestore.store import VERSION_WINDOW_US, Database, Store
from emulator.firestore.ttl import Expiry, by_group
from emulator.firestore.values import parse_field_path
from emulator.firestore.write_stream import WriteStream
from emulator.firestore.writes import Change
from emulator.wire import Service, serve

SERVICE_NAME = "google.firestore.v1.Firestore"

UNSUPPORTED = {
    "ExecutePipeline": "pipelines are a feature of Firestore Enterprise edition; "
    "use RunQuery or RunAggregationQuery",
}


@dataclass(frozen=True)
class FirestoreOptions:
    """How the emulator differs from its defaults.

    `require_indexes` refuses queries that production would refuse for want of an index;
    otherwise they are answered with a warning. `indexes` is a parsed firestore.indexes.json:
    the composite indexes, the fields without single-field indexes, TTL policies. `ttl_policies`
    are more of those, (collection group, field path). Versions for reads at a `read_time` are
    kept for `version_window_seconds` (production: an hour).

    `lenient` is Pub/Sub's switch too, and lifts nothing here: Firestore has no settings that
    could be stored without being honoured.
    """

    require_indexes: bool = False
    indexes: Mapping[str, Any] = field(default_factory=dict)
    lenient: bool = False
    ttl_policies: Sequence[tuple[str, str]] = ()
    version_window_seconds: float = VERSION_WINDOW_US / SECOND_US

    @cached_property
    def declared(self) -> Definitions:
        """What `indexes` declares.

        Raises:
            InvalidArgument: see `definitions`.
        """
        return definitions(self.indexes)


def firestore_service(store: Store, clock: Clock, options: FirestoreOptions) -> Service:
    """The table of all RPCs."""
    engines = Engines(store)
    advisor = Advisor(options.declared, options.require_indexes)
    rpcs = {
        **DocumentService(store, clock).rpcs(),
        **ListService(store, clock).rpcs(),
        **WriteStream(store, clock).rpcs(),
        **QueryService(store, clock, engines, advisor).rpcs(),
        **ListenService(clock, engines, advisor).rpcs(),
    }
    return Service(SERVICE_NAME, rpcs, UNSUPPORTED)


class FirestoreServer:
    """A running embedded Firestore. `address` is gRPC's, `http_address` the controls'."""

    def __init__(self, clock: Clock, options: FirestoreOptions) -> None:
        self.address = ""
        self.http_address = ""
        self.store = Store(round(options.version_window_seconds * SECOND_US))
        self._clock = clock
        given = [(group, parse_field_path(path)) for group, path in options.ttl_policies]
        self._policies = by_group([*given, *options.declared.ttl_policies])
        self._expiries: list[Expiry] = []
        self._sleeps_until_us: int | None = None
        self._wake = asyncio.Event()
        self._open = contextlib.AsyncExitStack()
        self.store.on_create.append(self._watch)

    @classmethod
    async def start(
        cls,
        host: str = "127.0.0.1",
        port: int = 0,
        http_port: int = 0,
        *,
        clock: Clock | None = None,
        options: FirestoreOptions | None = None,
    ) -> Self:
        """Serve on two ports (0: free ones).

        Raises:
            OSError: a port is taken.
        """
        options = options or FirestoreOptions()
        server = cls(clock or SystemClock(), options)
        service = firestore_service(server.store, server._clock, options)
        async with contextlib.AsyncExitStack() as opened:
            grpc_server, grpc_port = await serve([service], host, port)
            opened.push_async_callback(_stop, grpc_server)
            server.address = f"{host}:{grpc_port}"
            runner = web.AppRunner(server._http(), access_log=None)
            await runner.setup()
            opened.push_async_callback(runner.cleanup)
            site = web.TCPSite(runner, host, http_port)
            await site.start()
            server.http_address = f"{host}:{runner.addresses[0][1]}"
            housekeeping = asyncio.create_task(server._keep_house(), name="firestore housekeeping")
            opened.push_async_callback(_cancel, housekeeping)
            server._open = opened.pop_all()
        return server

    async def reset(self) -> None:
        """Delete every document of every database, and end every transaction."""
        for database in self.store.databases():
            database.clear(self._clock.now_us())

    async def close(self) -> None:
        """Stop serving; calls in progress are cancelled."""
        await self._open.aclose()

    def clock_moved(self) -> None:
        """Look at the clock again: to be called after moving a manual one."""
        self._wake.set()

    def _watch(self, database: Database) -> None:
        """Set the alarm of a new database: its expiring documents, its versions."""
        if self._policies:
            self._expiries.append(Expiry(database, self._policies))
        database.observers.append(self._committed)

    def _committed(self, _changes: Sequence[Change], _commit_time_us: int) -> None:
        expires_us = _earliest(expiry.next_wakeup_us() for expiry in self._expiries)
        asleep_until_us = self._sleeps_until_us
        if asleep_until_us is None or (expires_us is not None and expires_us < asleep_until_us):
            self._wake.set()

    async def _keep_house(self) -> None:
        while True:
            now_us = self._clock.now_us()
            for expiry in self._expiries:
                expiry.delete_expired(now_us)
            for database in self.store.databases():
                database.forget(now_us)
            self._sleeps_until_us = _earliest(
                [
                    *(expiry.next_wakeup_us() for expiry in self._expiries),
                    *(database.next_wakeup_us() for database in self.store.databases()),
                ]
            )
            self._wake.clear()
            timeout = None
            if self._sleeps_until_us is not None:
                timeout = max(0.0, (self._sleeps_until_us - now_us) / SECOND_US)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await self._wake.wait()

    def _http(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/", self._get_root)
        app.router.add_post("/reset", self._post_reset)
        app.router.add_delete(
            "/emulator/v1/projects/{project}/databases/{database}/documents", self._delete_documents
        )
        return app

    async def _get_root(self, _request: web.Request) -> web.Response:
        return web.Response(text="Ok\n")

    async def _post_reset(self, _request: web.Request) -> web.Response:
        await self.reset()
        return web.Response(text="Resetting...\n")

    async def _delete_documents(self, request: web.Request) -> web.Response:
        name = DatabaseName(request.match_info["project"], request.match_info["database"])
        self.store.database(parse_database(str(name))).clear(self._clock.now_us())
        return web.json_response({})


def _earliest(times: Iterable[int | None]) -> int | None:
    return min((time for time in times if time is not None), default=None)


async def _stop(server: grpc.aio.Server) -> None:
    await server.stop(None)


async def _cancel(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task

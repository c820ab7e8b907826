"""The embedded Pub/Sub as a server: gRPC for the clients, HTTP for everything beside it.

    server = await PubSubServer.start()
    os.environ["PUBSUB_EMULATOR_HOST"] = server.address
    ...
    await server.close()

HTTP: `GET /` says Ok, `POST /reset` forgets everything, and the OpenID configuration and key
set let a push endpoint check its tokens. Start is quick: what is heavy is imported when first
needed (aiohttp, fastavro, grpcio-tools, cryptography).
"""

import grpc.aio

from emulator import wire
from emulator.clock import Clock, SystemClock
from emulator.pubsub.http_side import HttpSide
from emulator.pubsub.iam_service import iam_service
from emulator.pubsub.oidc import JWKS_PATH, Identity
from emulator.pubsub.publisher_service import publisher_service
from emulator.pubsub.push import Pushers
from emulator.pubsub.runtime import PubSubOptions, Runtime
from emulator.pubsub.schema_service import schema_service
from emulator.pubsub.subscriber_service import subscriber_service

__all__ = ["PubSubOptions", "PubSubServer"]


def services(runtime: Runtime) -> list[wire.Service]:
    """Every service, on one runtime."""
    broker = runtime.broker
    return [
        publisher_service(runtime),
        subscriber_service(runtime),
        schema_service(runtime.schemas, runtime.clock, on_deleted=broker.schema_deleted),
        iam_service(runtime),
    ]


class PubSubServer:
    """A running server; `runtime.broker` is its state."""

    def __init__(
        self,
        runtime: Runtime,
        pushers: Pushers,
        server: grpc.aio.Server,
        address: str,
        http: HttpSide,
    ) -> None:
        self.runtime = runtime
        self.address = address
        self.http_address = http.address
        self._pushers = pushers
        self._server = server
        self._http = http
        self._closed = False

    @classmethod
    async def start(
        cls,
        host: str = "127.0.0.1",
        port: int = 0,
        http_port: int = 0,
        *,
        clock: Clock | None = None,
        options: PubSubOptions | None = None,
    ) -> "PubSubServer":
        """Serve on two ports, 0 being free ones.

        Raises:
            OSError: a port is taken.
        """
        clock = clock or SystemClock()
        runtime = Runtime(clock, options or PubSubOptions())
        identity = Identity(clock)
        pushers = Pushers(runtime, identity)
        runtime.changed = pushers.changed
        http = _http_side(runtime, identity)
        await http.start(host, http_port)
        identity.url = f"http://{http.address}"
        try:
            server, bound = await wire.serve(services(runtime), host, port)
        except OSError:
            await http.close()
            raise
        return cls(runtime, pushers, server, f"{host}:{bound}", http)

    def tick(self) -> None:
        """Apply a clock that was moved by hand."""
        self.runtime.tick()

    async def reset(self) -> None:
        """Forget everything; open streams end with NOT_FOUND."""
        self.runtime.reset()

    async def close(self) -> None:
        """End every call and stop; returns when nothing is left. A second time does nothing."""
        if self._closed:
            return
        self._closed = True
        await self._pushers.close()
        await self._server.stop(None)
        self.runtime.close()
        await self._http.close()


def _http_side(runtime: Runtime, identity: Identity) -> HttpSide:
    async def ok() -> str:
        return "Ok\n"

    async def reset() -> str:
        runtime.reset()
        return "Resetting...\n"

    async def configuration() -> dict[str, object]:
        return identity.configuration()

    return HttpSide(
        {
            ("GET", "/"): ok,
            ("POST", "/reset"): reset,
            ("GET", "/.well-known/openid-configuration"): configuration,
            ("GET", JWKS_PATH): identity.jwks,
        }
    )

"""Two ways to have a Pub/Sub and a Firestore: ours, embedded, or Google's emulators.

Both are a server with an address; everything above this file is the same for both.
`auto` takes Google's emulators where both and Java are installed, ours everywhere else.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from emulator import gcloud
from emulator.gcloud import NotInstalledError, ServiceName
from emulator.processes import Leash, Sink

BackendName = Literal["embedded", "gcloud"]
BACKENDS: tuple[BackendName, ...] = ("embedded", "gcloud")
SERVICES: tuple[ServiceName, ...] = ("pubsub", "firestore")


class Server(Protocol):
    """A Pub/Sub or a Firestore that runs."""

    address: str
    """host:port of gRPC, for PUBSUB_EMULATOR_HOST or FIRESTORE_EMULATOR_HOST."""
    http_address: str
    """host:port of HTTP: reset, clear and, embedded, the keys of push tokens."""

    async def close(self) -> None:
        """Stop serving and free the ports."""
        ...


@dataclass(frozen=True)
class Choice:
    """A backend and, in one line for the user, why it is this one."""

    backend: BackendName
    reason: str


@dataclass(frozen=True)
class ServerSettings:
    """What `start` needs beside the service: where, and options of the embedded servers.

    `options` are keyword arguments of `PubSubOptions` or `FirestoreOptions`; Google's
    emulators have none of them.
    """

    host: str = "127.0.0.1"
    port: int = 0
    http_port: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)


def choose(wanted: str) -> Choice:
    """The backend for `embedded`, `gcloud` or `auto`.

    Raises:
        NotInstalledError: `gcloud` is wanted and a part of it is missing.
    """
    if wanted == "embedded":
        return Choice("embedded", "as asked")
    missing = gcloud.find().missing()
    if wanted == "gcloud":
        if missing:
            ways = "\n".join(f"  {part}: {way}" for part, way in missing.items())
            raise NotInstalledError(
                f"--backend gcloud needs what is not installed:\n{ways}\n"
                "or use --backend embedded, which needs Python alone"
            )
        return Choice("gcloud", "as asked")
    if missing:
        return Choice("embedded", f"Google's emulators are not installed ({', '.join(missing)})")
    return Choice("gcloud", "Google's emulators are installed")


async def start(
    service: ServiceName,
    backend: BackendName,
    settings: ServerSettings,
    *,
    leash: Leash,
    sink: Sink,
) -> Server:
    """Start one server and return once it answers. `settings.port` is a real port for gcloud.

    Raises:
        NotInstalledError: a part of Google's emulators is missing.
        OSError: the port is taken.
        NotReadyError: Google's emulator did not come up.
    """
    host, port = settings.host, settings.port
    if backend == "gcloud":
        return await gcloud.GcloudServer.start(service, host, port, leash=leash, sink=sink)
    # Imported here: each takes its time, and `gcloud` needs neither.
    if service == "pubsub":
        from emulator.pubsub.server import PubSubOptions, PubSubServer

        return await PubSubServer.start(
            host, port, settings.http_port, options=PubSubOptions(**settings.options)
        )
    from emulator.firestore.server import FirestoreOptions, FirestoreServer

    return await FirestoreServer.start(
        host, port, settings.http_port, options=FirestoreOptions(**settings.options)
    )

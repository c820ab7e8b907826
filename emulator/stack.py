"""The whole local cloud as one async context manager.

    Pub/Sub  -+
    Firestore +- servers of one backend        (backends.py: embedded | gcloud)
    mail catcher                                (smtp.py)
    one process per function                    (functions.py)
    schedules, and restarts on changed source   (here)

1. Everything starts at once; `async with` is entered when all of it really answers and the
   topology is provisioned, or raises the one thing that is wrong with all of it stopped.
2. Leaving it, or dying in it, leaves no process (processes.py).
3. A server, a function and the mail catcher can each be stopped and started again at the
   same address: that is how a fault is made.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import aiohttp
import watchfiles
from cronsim import CronSim

from emulator import backends
from emulator.backends import Server, ServerSettings
from emulator.errors import ServiceError, SetupError
from emulator.functions import FunctionProcess
from emulator.gcloud import ServiceName
from emulator.loglines import MergedLog
from emulator.processes import Leash, Ports, Sink
from emulator.provision import for_backend, provision
from emulator.smtp import MailCatcher
from emulator.state import StateDir
from emulator.topology import Topology


@dataclass(frozen=True)
class StackSettings:
    """What a stack is made of.

    `ports` fixes a port by name (pubsub, firestore, smtp, or a function's); the rest are free
    ones. `functions` is the folder that holds the functions' folders. `options` are those of
    the embedded servers, by service.
    """

    topology: Topology
    functions: Path
    state_dir: Path
    backend: str = "auto"
    project: str = "local-sign-up"
    host: str = "127.0.0.1"
    ports: Mapping[str, int] = field(default_factory=dict)
    options: Mapping[ServiceName, Mapping[str, object]] = field(default_factory=dict)
    reload: bool = False
    show: Callable[[str], None] = lambda _line: None
    colour: bool = False


class Stack:
    """A running local cloud: `async with Stack(settings) as stack`."""

    def __init__(self, settings: StackSettings) -> None:
        settings.topology.check_files(settings.functions)
        self.settings = settings
        self.topology = settings.topology
        self.project = settings.project
        self.choice = backends.choose(settings.backend)
        self._provisioned, self._not_taken = for_backend(self.topology, self.choice.backend)
        self.state = StateDir(settings.state_dir)
        self.servers: dict[ServiceName, Server] = {}
        self.functions: dict[str, FunctionProcess] = {}
        self._ports: dict[str, int] = {}
        self._server_sinks: dict[ServiceName, Sink] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as exits:
            self.state.take()
            exits.callback(self.state.release)
            self._log = exits.enter_context(
                MergedLog(self.state.logs, self.settings.show, colour=self.settings.colour)
            )
            self._note = self._log.sink("stack")
            # Our own questions whether a function answers yet are the first lines of its log.
            self._log.muted = True
            self._leash = await exits.enter_async_context(Leash())
            self._take_ports()
            self.mail = MailCatcher(self.state.mail, self.settings.host, self._ports["smtp"])
            exits.push_async_callback(self._close)
            await self._start()
            self._log.muted = False
            for sentence in self._not_taken:
                self._note(sentence)
            self.state.write_stack(self.facts())
            self._exits = exits.pop_all()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self._exits.aclose()

    def _take_ports(self) -> None:
        ports, wanted = Ports(self.settings.host), self.settings.ports
        names = [*backends.SERVICES, "smtp", *self.topology.functions]
        for unknown in wanted.keys() - set(names):
            raise SetupError(f"--port {unknown}: there is no {unknown}; known: {', '.join(names)}")
        # Those asked for first, so that no free one takes them.
        for name in sorted(names, key=lambda name: wanted.get(name, 0) == 0):
            self._ports[name] = ports.take(wanted.get(name, 0), name)

    async def _start(self) -> None:
        for name in self.topology.functions:
            self.functions[name] = self._function(name)
        try:
            async with asyncio.TaskGroup() as group:
                for service in backends.SERVICES:
                    group.create_task(self.start_server(service))
                group.create_task(self.mail.start())
                for function in self.functions.values():
                    group.create_task(function.start())
        except* (SetupError, ServiceError, OSError) as failed:
            first: BaseException = failed
            while isinstance(first, BaseExceptionGroup):
                first = first.exceptions[0]
            raise SetupError(str(first)) from first
        for process in self.functions.values():
            if schedule := process.function.trigger.schedule:
                self._run(f"schedule of {process.name}", self._keep_schedule(process, schedule))
        if self.settings.reload:
            self._run("reload", self._reload())

    def _run(self, what: str, work: Coroutine[None, None, None]) -> None:
        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and (error := task.exception()) is not None:
                self._note(f"{what} stopped: {error!r}")

        task = asyncio.create_task(work)
        task.add_done_callback(ended)
        self._tasks.append(task)

    def _function(self, name: str) -> FunctionProcess:
        function = self.topology.functions[name]
        secrets = self.state.secrets(self.topology.secrets)
        return FunctionProcess(
            name,
            function,
            folder=self.settings.functions,
            host=self.settings.host,
            port=self._ports[name],
            environment={
                "GOOGLE_CLOUD_PROJECT": self.project,
                "PUBSUB_EMULATOR_HOST": f"{self.settings.host}:{self._ports['pubsub']}",
                "FIRESTORE_EMULATOR_HOST": f"{self.settings.host}:{self._ports['firestore']}",
                **function.environment,
                **self.topology.derived_environment(name),
                **{
                    variable: secrets[secret]
                    for variable, secret in function.secrets.items()
                    if secret in secrets
                },
                **function.local_at(self.settings.host, self._ports["smtp"]),
            },
            leash=self._leash,
            sink=self._log.sink(name),
        )

    async def start_server(self, service: ServiceName) -> None:
        """Start Pub/Sub or Firestore, empty; Pub/Sub with the topology in it."""
        options = dict(self.settings.options.get(service, {}))
        if service == "firestore" and self.choice.backend == "embedded":
            described = self.topology.firestore
            options = {
                "ttl_policies": [(policy.collection, policy.field) for policy in described.ttl],
                "indexes": described.indexes_json(),
                "require_indexes": True,  # as production, where these are all there are
                **options,
            }
        self.servers[service] = await backends.start(
            service,
            self.choice.backend,
            ServerSettings(self.settings.host, self._ports[service], 0, options),
            leash=self._leash,
            sink=self._server_sink(service),
        )
        if service == "pubsub":
            await provision(
                self._provisioned,
                project=self.project,
                address=self.servers[service].address,
                definitions=self.settings.functions,
                push_urls={name: function.url for name, function in self.functions.items()},
            )

    def _server_sink(self, service: ServiceName) -> Sink:
        # Google's emulators report every connection: for their file, not for the screen.
        if service not in self._server_sinks:
            self._server_sinks[service] = self._log.sink(service, shown=False)
        return self._server_sinks[service]

    async def stop_server(self, service: ServiceName) -> None:
        """Stop Pub/Sub or Firestore; what it held is gone."""
        await self.servers.pop(service).close()

    async def _keep_schedule(self, function: FunctionProcess, schedule: str) -> None:
        """POST to the function at each time of `schedule`, as Cloud Scheduler does."""
        timeout = aiohttp.ClientTimeout(total=function.function.timeout_seconds)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            for moment in CronSim(schedule, datetime.now(UTC)):
                await asyncio.sleep((moment - datetime.now(UTC)).total_seconds())
                try:
                    async with session.post(function.url) as reply:
                        body = (await reply.text()).strip()
                        self._note(f"schedule of {function.name}: {reply.status} {body}")
                except (aiohttp.ClientError, TimeoutError) as error:  # the next may do better
                    self._note(f"schedule of {function.name}: no answer: {error!r}")

    async def _reload(self) -> None:
        """Restart the functions whose source, or the shared source, changed."""
        folder = self.settings.functions.resolve()
        async for changes in watchfiles.awatch(folder, step=100):
            paths = (Path(path).relative_to(folder) for _, path in changes)
            changed = {part for path in paths for part in path.parts[:1]}
            affected = [
                function
                for function in self.functions.values()
                if {function.function.source, "shared"} & changed
            ]
            for function in affected:
                self._note(f"{function.name}: source changed; starting it again")
            await asyncio.gather(*(function.restart() for function in affected))

    async def _close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        # Against the flow, so that nothing calls what is gone: the events, the functions, the rest.
        if pubsub := self.servers.pop("pubsub", None):
            await pubsub.close()
        await asyncio.gather(*(function.stop() for function in self.functions.values()))
        await self.mail.stop()
        if firestore := self.servers.pop("firestore", None):
            await firestore.close()

    def guard(self, pid: int) -> None:
        """Kill a process that is not the stack's if the stack dies; see `Leash.guard`."""
        self._leash.guard(pid)

    def environment(self) -> dict[str, str]:
        """What a program needs to meet this stack: emulator hosts, project, each function's URL."""
        host = self.settings.host
        return {
            "GOOGLE_CLOUD_PROJECT": self.project,
            "PUBSUB_EMULATOR_HOST": f"{host}:{self._ports['pubsub']}",
            "FIRESTORE_EMULATOR_HOST": f"{host}:{self._ports['firestore']}",
            "SMTP_HOST": host,
            "SMTP_PORT": str(self._ports["smtp"]),
            "MAIL_DIR": str(self.state.mail),
            **{
                f"{name.upper().replace('-', '_')}_URL": function.url
                for name, function in self.functions.items()
            },
        }

    def facts(self) -> dict[str, object]:
        """What `status` shows: backend, project, addresses, process ids."""
        pids = {name: f.child.pid for name, f in self.functions.items() if f.child}
        return {
            "pid": os.getpid(),
            "backend": self.choice.backend,
            "project": self.project,
            "state_dir": str(self.state.path),
            "environment": self.environment(),
            "http": {name: server.http_address for name, server in self.servers.items()},
            "function_pids": pids,
        }

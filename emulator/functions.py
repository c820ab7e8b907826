"""One functions-framework process per function: the runtime production uses, on one port.

1. A function sees what the topology gives it and nothing else of the user's environment, as
   in production: a variable that nobody declared is missing here too.
2. Secrets travel in the environment, never in arguments, which every user of the machine
   can read.
3. One process per function: two functions in one process would share the module name `main`
   (observed: functions-framework 3.10.2).
4. A process that ends by itself is started again, as Cloud Run does.
"""

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from emulator.processes import Child, Leash, NotReadyError, Sink, wait_for_http
from emulator.topology import Function

# What a process needs of the machine to run at all.
_INHERITED = ("HOME", "LANG", "LC_ALL", "PATH", "SYSTEMROOT", "TEMP", "TMPDIR", "TZ")
_START_SECONDS = 60.0


class FunctionProcess:
    """A function of the topology, served on host:port; it may be stopped and started again."""

    def __init__(
        self,
        name: str,
        function: Function,
        *,
        folder: Path,
        host: str,
        port: int,
        environment: Mapping[str, str],
        leash: Leash,
        sink: Sink,
    ) -> None:
        """`folder` holds the functions' folders and `shared`; `environment` is all it sees."""
        self.name = name
        self.function = function
        self._folder = folder.resolve()  # the process runs elsewhere
        self.source = self._folder / function.source
        self.url = f"http://{host}:{port}/"
        self._host, self._port = host, port
        self._environment = environment
        self._leash = leash
        self._sink = sink
        self.child: Child | None = None
        """The process; None while it is meant to be stopped."""

    async def start(self) -> None:
        """Start it and return once it answers HTTP.

        Raises:
            NotReadyError: it ended first (a setting is wrong, the source does not load); with
                what it printed.
        """
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        argv = [sys.executable, "-m", "functions_framework"]
        argv += ["--target", self.function.entry_point, "--source", str(self.source / "main.py")]
        argv += ["--host", self._host, "--port", str(self._port)]
        child = self.child = await self._leash.spawn(
            self.name,
            argv,
            sink=self._sink,
            env={
                **inherited,
                "PYTHONPATH": str(self._folder),
                "PYTHONUNBUFFERED": "1",
                "K_SERVICE": self.name,
                "FUNCTION_TARGET": self.function.entry_point,
                # As in production, where none of ours has an event trigger: the decorator tells.
                "FUNCTION_SIGNATURE_TYPE": "http",
                **self._environment,
            },
            cwd=self.source,
        )
        # The framework answers 404 to this path by itself, without calling the function.
        await wait_for_http(child, self.url + "robots.txt", _START_SECONDS)
        self._watch = asyncio.create_task(self._start_again_after(child))

    async def _start_again_after(self, child: Child) -> None:
        code = await child.wait()
        if self.child is not child:
            return  # stopped on purpose
        self._sink(f"ended with code {code}; starting it again")
        await self._try_start()

    async def _try_start(self) -> None:
        try:
            await self.start()
        except NotReadyError as error:
            self._sink(f"{error}\nit starts again when its source changes")
        else:
            self._sink("started again")

    async def stop(self) -> None:
        """End it, letting it finish the requests it is at."""
        child, self.child = self.child, None
        if child is not None:
            await child.stop()

    async def kill(self) -> None:
        """SIGKILL it and its workers: the fault, after which it is started again."""
        if self.child is not None:
            await self.child.kill()

    async def restart(self) -> None:
        """Stop and start it, for a changed source; what is wrong with it is said in its log."""
        await self.stop()
        await self._try_start()

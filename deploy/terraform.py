"""The calls of terraform for one deployment: init, plan, apply, output.

1. Each deployment has a data folder of its own, .terraform/NAME: what one is initialised with
   can never be used for another, not even by two commands at once.
2. A plan goes to a file that its owner alone can read, since it holds every variable, and which
   is gone afterwards; what a kill -9 leaves, a later start removes. Only such a file is applied.
3. terraform gets one SIGINT when we are stopped: it ends the step it is at, writes the state and
   releases its lock.

Both the provider and the state's backend act as GOOGLE_IMPERSONATE_SERVICE_ACCOUNT.
"""

import json
import os
import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from deploy.children import Ended, run
from deploy.errors import UnmetError
from deploy.target import Target

_BUILD = ".build"  # git ignores it
_ABANDONED_SECONDS = 86_400  # no plan waits longer for its answer
_CHANGES = 2  # of plan -detailed-exitcode: it worked and there is something to change


@contextmanager
def plan_file(folder: Path) -> Iterator[Path]:
    """A new file in `folder`/.build for a plan, of mode 0600; removed at the end.

    terraform keeps the mode of a file that is there (observed: terraform 1.11.4).
    """
    build = folder / _BUILD
    build.mkdir(exist_ok=True)
    handle, path = tempfile.mkstemp(prefix="plan-", dir=build)
    os.close(handle)
    try:
        yield Path(path)
    finally:
        Path(path).unlink(missing_ok=True)


def remove_abandoned_plans(folder: Path) -> None:
    """Remove the plan files in `folder`/.build that are older than a day: their makers were killed.

    A younger one may be another command's, at its question.
    """
    for path in (folder / _BUILD).glob("plan-*"):
        with suppress(FileNotFoundError):  # another command removes it too
            if time.time() - path.stat().st_mtime > _ABANDONED_SECONDS:
                path.unlink()


class Terraform:
    """terraform in its folder, for one deployment."""

    def __init__(self, folder: Path, target: Target) -> None:
        self.target = target
        self._folder = folder

    async def init(self) -> None:
        """Fetch the providers and connect to the deployment's state.

        Raises:
            UnmetError: terraform could not; what it said is on the screen. So for each call here.
        """
        bucket = f"-backend-config=bucket={self.target.state_bucket}"
        # The data folder outlives a change of the project in the tfvars: never migrate to it.
        await self._run("init", "-input=false", "-reconfigure", bucket)

    async def plan(
        self, out: Path | None = None, *, destroy: bool = False, targets: Sequence[str] = ()
    ) -> bool:
        """Show what would change, keep it in `out`; whether there is anything."""
        arguments = ["-input=false", "-detailed-exitcode"]
        arguments.append(f"-var-file={self.target.file.relative_to(self._folder)}")
        if destroy:
            arguments.append("-destroy")
        arguments += [f"-target={target}" for target in targets]
        if out is not None:
            arguments.append(f"-out={_BUILD}/{out.name}")
        return (await self._run("plan", *arguments, good=(0, _CHANGES))).code == _CHANGES

    async def apply(self, plan: Path) -> None:
        """Do what the plan in this file says, and nothing else."""
        await self._run("apply", "-input=false", f"{_BUILD}/{plan.name}")

    async def outputs(self) -> dict[str, Any]:
        """The root's outputs: {"urls": {"create-user": "https://..."}, "invokers": [], ...}."""
        ended = await self._run("output", "-json", shown=False)
        return {name: output["value"] for name, output in json.loads(ended.out).items()}

    async def _run(
        self, command: str, *arguments: str, good: Sequence[int] = (0,), shown: bool = True
    ) -> Ended:
        if shown:
            print(f"\n== terraform {command}", flush=True)  # noqa: T201
        env = {
            "CHECKPOINT_DISABLE": "1",
            "TF_DATA_DIR": f".terraform/{self.target.name}",
            "TF_IN_AUTOMATION": "1",  # no advice on what to type next: that is ours
            "TF_INPUT": "0",
            "TF_WORKSPACE": "default",  # another one has another state, and so makes all anew
        }
        if self.target.deployer is not None:
            env["GOOGLE_IMPERSONATE_SERVICE_ACCOUNT"] = self.target.deployer
        ended = await run(
            ["terraform", command, *arguments],
            stop=signal.SIGINT,
            env=env,
            cwd=self._folder,
            shown=shown,
        )
        if ended.code not in good:
            raise UnmetError(
                f"terraform {command} failed{'' if shown else ': ' + ended.err.strip()}",
                "its own message says why; put that right and run this again",
            )
        return ended

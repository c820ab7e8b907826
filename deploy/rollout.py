"""What each command does: preflight, plan, apply, destroy, secrets.

Each begins with the preflight and changes nothing before somebody, who saw the plan, has typed
the project's id, or has given --yes.
"""

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from deploy import terminal
from deploy.gcloud import gcloud
from deploy.preflight import Preflight, Row
from deploy.target import Target
from deploy.terraform import Terraform, plan_file, remove_abandoned_plans
from emulator.errors import SetupError
from emulator.secret_values import made_up
from emulator.topology import Secret, Topology

Show = Callable[[str], None]
# What `secrets` applies of the root; terraform adds what it needs.
_SECRETS = "google_secret_manager_secret.secret"
_MARKS = {True: "ok", False: "NO", None: "--"}


@dataclass(frozen=True, slots=True)
class Options:
    """Which deployment, of which Terraform folder, as whom, and whether a yes is given already."""

    folder: Path
    name: str
    as_me: bool = False
    yes: bool = False

    def topology(self) -> Topology:
        """What is deployed.

        Raises:
            TopologyError: it cannot be read.
        """
        return Topology.load(self.folder / "topology.yaml")

    def checks(self, *, secrets: bool, destroying: bool = False) -> Preflight:
        """The checks of this deployment, of the versions of its secrets too if `secrets`."""
        wanted = [*self.topology().secrets] if secrets else []
        return Preflight(
            self.folder, self.name, as_me=self.as_me, secrets=wanted, destroying=destroying
        )


async def preflight(options: Options, show: Show, *, as_json: bool) -> int:
    """Show every check; 1 if one has failed.

    As JSON: {"ok": false, "checks": [{"name": "billing", "ok": false, "found": "no billing
    account pays for p", "mend": "gcloud billing ..."}]}; the `ok` of a skipped check is null.
    """
    rows = await _made(options.checks(secrets=True), (lambda _line: None) if as_json else show)
    ok = all(row.ok for row in rows)
    if as_json:
        show(json.dumps({"ok": ok, "checks": [asdict(row) for row in rows]}))
    elif ok:
        show(f"\nEverything is there. Next: make deploy ENV={options.name}")
    else:
        show(f"\n{_failures(rows)}. Once that is mended: make preflight ENV={options.name}")
    return 0 if ok else 1


async def plan(options: Options, show: Show) -> int:
    """Show what `apply` would change."""
    terraform = await _begun(options, options.checks(secrets=True), show)
    await terraform.plan()
    return 0


async def apply(options: Options, show: Show) -> int:
    """Show the plan, ask, apply it, show where the functions answer."""
    _must_be_answerable(options)
    topology = options.topology()
    terraform = await _begun(options, options.checks(secrets=True), show)
    await _planned_and_applied(terraform, options, show)
    outputs = await terraform.outputs()
    for line in _how_to_call(topology, outputs["urls"], outputs["invokers"]):
        show(line)
    return 0


async def destroy(options: Options, show: Show) -> int:
    """Show what would go, ask, remove it."""
    _must_be_answerable(options)
    checks = options.checks(secrets=False, destroying=True)
    terraform = await _begun(options, checks, show)
    await _planned_and_applied(terraform, options, show, destroy=True)
    return 0


async def secrets(options: Options, show: Show) -> int:
    """Make the secrets, and the first version of each that has none."""
    _must_be_answerable(options)
    wanted = options.topology().secrets
    terraform = await _begun(options, options.checks(secrets=False), show)
    await _planned_and_applied(terraform, options, show, targets=[_SECRETS])
    show("")
    target, missing = terraform.target, []
    for name, secret in wanted.items():
        if await _has_version(name, target):
            show(f"{name}: has a version already and stays as it is")
        elif value := await _first_value(name, secret):
            await _add_version(name, value, target)
            show(f"{name}: has its first version now")
        else:
            show(f"{name}: has no version yet")
            missing.append(name)
    if missing:
        by_hand = [
            f"\n  gcloud secrets versions add {name} --project={target.project} --data-file=FILE"
            for name in missing
        ]
        raise SetupError(
            f"no value was given for {', '.join(missing)}, which is made elsewhere: run this "
            f"again on a terminal and type it, or:{''.join(by_hand)}"
        )
    show(f"\nNext: make deploy ENV={options.name}")
    return 0


# --- the preflight that each begins with -----------------------------------------------------


async def _made(checks: Preflight, show: Show) -> list[Row]:
    async with terminal.Progress() as progress:

        def show_row(row: Row) -> None:
            progress.clear()
            show(f"  {_MARKS[row.ok]}  {row.name:<24} {row.found}")
            if row.mend:
                show(f"      {'':<24} -> {row.mend}")

        return await checks.run(show_row, progress)


def _failures(rows: Sequence[Row]) -> str:
    count = sum(row.ok is False for row in rows)
    return "1 check failed" if count == 1 else f"{count} checks failed"


async def _begun(options: Options, checks: Preflight, show: Show) -> Terraform:
    """Terraform, connected to the deployment's state, once every check has passed."""
    remove_abandoned_plans(options.folder)
    rows = await _made(checks, show)
    if not all(row.ok for row in rows):
        raise SetupError(f"{_failures(rows)}: nothing was changed")
    terraform = Terraform(options.folder, checks.target)
    await terraform.init()
    return terraform


# --- the plan that is shown is the one that is applied -----------------------------------------


def _must_be_answerable(options: Options) -> None:
    if not options.yes and not terminal.has_person():
        raise SetupError(
            "there is no terminal to show the plan on and to ask: run it on one, look at "
            f"`make plan ENV={options.name}`, or say yes beforehand with --yes; nothing was changed"
        )


async def _planned_and_applied(
    terraform: Terraform,
    options: Options,
    show: Show,
    *,
    destroy: bool = False,
    targets: Sequence[str] = (),
) -> None:
    with plan_file(options.folder) as file:
        if not await terraform.plan(file, destroy=destroy, targets=targets):
            return  # terraform has said so
        if not options.yes:
            project, doing = terraform.target.project, "remove" if destroy else "apply"
            question = f"\nType {project} to {doing} this, anything else to leave it:"
            if (await terminal.ask(question)).strip() != project:
                raise SetupError("that was a no: nothing was changed")
        await terraform.apply(file)


# --- the first version of each secret ----------------------------------------------------------


async def _has_version(name: str, target: Target) -> bool:
    """Whether the secret has a version; a destroyed one counts: no number is given twice."""
    listed = await gcloud(
        *("secrets", "versions", "list", name, f"--project={target.project}"),
        *("--limit=1", "--format=json"),
        acting_as=target.deployer,
    )
    return bool(json.loads(listed))


async def _first_value(name: str, secret: Secret) -> str:
    """Made up where it can be, else asked for; empty where nobody gives one."""
    if secret.kind != "external":
        return made_up(secret.kind, datetime.now(UTC).date().isoformat())
    if not terminal.has_person():
        return ""
    value = await terminal.ask(
        f"{name}, made elsewhere (what you type does not show):", hidden=True
    )
    if not value.isprintable():
        # A function would refuse to start with it.
        raise SetupError(f"{name}: an arrow or control key was typed too; run this again")
    return value


async def _add_version(name: str, value: str, target: Target) -> None:
    await gcloud(
        *("secrets", "versions", "add", name, f"--project={target.project}", "--data-file=-"),
        acting_as=target.deployer,
        stdin=value,
    )


# --- what is there now -------------------------------------------------------------------------


def _how_to_call(topology: Topology, urls: Mapping[str, str], invokers: Sequence[str]) -> list[str]:
    """The address of each HTTP function, and a line to paste where it has an example."""
    public = "allUsers" in invokers
    who = "" if public else ' -H "Authorization: Bearer $(gcloud auth print-identity-token)"'
    lines = []
    for name, function in topology.functions.items():
        if function.trigger.http:
            lines += ["", f"{name}: {urls[name]}"]
            if function.example:
                body = shlex.quote(json.dumps(dict(function.example)))
                headers = f"-H 'Content-Type: application/json'{who}"
                lines.append(f"  curl -sS {urls[name]} {headers} \\\n    -d {body}")
    if not public:
        lines += ["", "Not public: whoever calls must be in `invokers` of the tfvars."]
    return lines

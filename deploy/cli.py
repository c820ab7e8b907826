"""The command line: arguments in, one call out. No behaviour lives here.

Exit codes: 0 done; 1 it did not work, with the reason on standard error, or the answer was no;
2 wrong arguments; 128 + N stopped by signal N: 130 for Ctrl-C.
"""

import argparse
import asyncio
import os
import re
import signal
import sys
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

from emulator.errors import SetupError

Parser = argparse.ArgumentParser

_FOLDER = Path(__file__).parent.parent / "terraform"


def _show(line: str) -> None:
    try:
        print(line, flush=True)  # noqa: T201 - what every command prints with
    except BrokenPipeError:
        # Whoever read it has gone (`... | head`): stop, in order, and print nothing more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        os.kill(os.getpid(), signal.SIGTERM)


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201


def _name(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not lower-case letters, digits and hyphens")
    return text


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return int(text)


def _parser() -> Parser:
    parser = Parser(prog="python -m deploy", description="Deploys to Google Cloud, by Terraform.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command, text in (
        ("preflight", "what must be there first, and how to mend what is not"),
        ("plan", "what a deployment would change"),
        ("apply", "deploy: show the plan, ask, apply exactly that"),
        ("destroy", "remove a deployment: show the plan, ask, apply exactly that"),
        ("secrets", "make the secrets and the first version of each"),
        ("redrive", "publish what was dead-lettered again; acts as yourself, who may read it"),
    ):
        one = commands.add_parser(command, help=text, description=text)
        add = one.add_argument
        add(
            "--environment",
            type=_name,
            default="dev",
            metavar="NAME",
            help="terraform/environments/NAME.tfvars (default: dev)",
        )
        where = "folder of the Terraform root (default: this project's)"
        add("--folder", type=Path, default=Path(os.path.relpath(_FOLDER)), help=where)
        if command == "redrive":
            add("--limit", type=_count, default=1000, help="of each subscription (default: 1000)")
            continue
        add("--as-me", action="store_true", help="act as yourself, not as the deployer")
        if command == "preflight":
            add("--json", action="store_true", help="print the checks as one JSON line")
        elif command != "plan":
            add("--yes", action="store_true", help="do not ask: for a machine")
    text = "change a key set: read on standard input, written on standard output"
    rotation = commands.add_parser("key-set", help=text, description=text)
    rotation.add_argument("change", choices=["add", "use", "drop"])
    rotation.add_argument("key_id", metavar="KEY_ID", help="such as 2027-01")
    return parser


def _key_set(args: argparse.Namespace) -> int:
    from deploy.key_set import CHANGES, KeySet

    if sys.stdin.isatty() or sys.stdout.isatty():
        raise SetupError(
            "a key set is not for a terminal; from one version of a secret to its next:\n"
            "  gcloud secrets versions access VERSION --secret=NAME --project=PROJECT \\\n"
            f"    | python -m deploy key-set {args.change} {args.key_id} \\\n"
            "    | gcloud secrets versions add NAME --project=PROJECT --data-file=-"
        )
    before = KeySet.parse(sys.stdin.buffer.read())
    sys.stdout.write(CHANGES[args.change](before, args.key_id).dump())
    return 0


def _redrive(args: argparse.Namespace) -> int:
    from deploy import rollout
    from deploy.redrive import Calls, redrive
    from deploy.target import read_target

    target = asyncio.run(read_target(args.folder, args.environment, as_me=True))
    topology = rollout.Options(args.folder, args.environment).topology()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return redrive(Calls.of(target.project), target.project, topology, _show, limit=args.limit)
    except KeyboardInterrupt:  # what was pulled and not published has been given back
        _tell("stopped")
        return 128 + signal.SIGINT


async def _deployment(args: argparse.Namespace) -> int:
    from deploy import rollout

    yes = getattr(args, "yes", False)
    options = rollout.Options(args.folder, args.environment, as_me=args.as_me, yes=yes)
    if args.command == "preflight":
        return await rollout.preflight(options, _show, as_json=args.json)
    commands = {
        "plan": rollout.plan,
        "apply": rollout.apply,
        "destroy": rollout.destroy,
        "secrets": rollout.secrets,
    }
    return await commands[args.command](options, _show)


async def _until_signalled(work: Coroutine[Any, Any, int]) -> int:
    """Run `work`; the first signal cancels it, and it ends in its own time.

    A second cancellation would interrupt the wait for a terraform that writes its state.
    """
    task = asyncio.ensure_future(work)
    received: list[int] = []

    def stop(number: int) -> None:
        received.append(number)
        if len(received) == 1:
            _tell("\nstopping ...")
            task.cancel()
        else:
            _tell("still stopping: terraform ends what it is at and releases its state's lock")

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop, number)
    try:
        return await task
    except asyncio.CancelledError:
        if not received:
            raise
        _tell("stopped")
        return 128 + received[0]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    args = _parser().parse_args(argv)
    try:
        if args.command == "key-set":
            return _key_set(args)
        if args.command == "redrive":
            return _redrive(args)
        return asyncio.run(_until_signalled(_deployment(args)))
    except SetupError as error:
        _tell(f"error: {error}")
        return 1

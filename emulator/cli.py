"""The command line: arguments in, one call out. No behaviour lives here.

Exit codes: 0 done, or a server stopped as asked; 1 it did not work, with the reason on
standard error; 2 wrong arguments; 128 + N ended by signal N before it was done. `run` has
the exit code of its command.
"""

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from emulator import backends
from emulator.errors import SetupError

Parser = argparse.ArgumentParser

_ROOT = Path(__file__).parent.parent


def _show(line: str) -> None:
    try:
        print(line, flush=True)  # noqa: T201 - what every command prints with
    except BrokenPipeError:
        # Whoever read it has gone (`... | head`): stop, in order, and print nothing more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        os.kill(os.getpid(), signal.SIGTERM)


def _pair(separator: str) -> Callable[[str], tuple[str, str]]:
    def parse(text: str) -> tuple[str, str]:
        left, found, right = text.partition(separator)
        if not (found and left):
            raise argparse.ArgumentTypeError(f"{text!r} has no {separator!r}")
        return left, right

    return parse


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port")
    return int(text)


def _named_port(text: str) -> tuple[str, int]:
    name, number = _pair("=")(text)
    return name, _port(number)


def _stack_options(parser: Parser, state_dir: str | None) -> None:
    group = parser.add_argument_group("the stack")
    add = group.add_argument
    add("--backend", choices=["auto", *backends.BACKENDS], default="auto")
    where = state_dir or "a new one, removed at the end"
    add("--state-dir", type=Path, default=state_dir, help=f"its folder (default: {where})")
    add("--project", default="local-sign-up", help="Google Cloud project id (default: %(default)s)")
    add("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    add(
        "--port",
        type=_named_port,
        action="append",
        default=[],
        metavar="NAME=PORT",
        help="fix a port: pubsub, firestore, smtp or a function's name; repeatable",
    )
    add(
        "--set",
        type=_pair("="),
        action="append",
        default=[],
        metavar="FUNCTION.NAME=VALUE",
        help="set a variable of a function (no secrets: arguments are public); repeatable",
    )
    add("--topology", type=Path, default=_ROOT / "terraform/topology.yaml")
    add("--functions", type=Path, default=_ROOT / "functions", help="folder of the functions")


def _add_stack_commands(commands: Any) -> None:
    up = commands.add_parser("up", help="run everything until Ctrl-C")
    _stack_options(up, ".emulator")
    up.add_argument("--no-reload", action="store_true", help="do not restart changed functions")

    demo = commands.add_parser("demo", help="sign one person up, show every step to the mail")
    _stack_options(demo, None)
    demo.add_argument("--name", default="Ada Lovelace")
    demo.add_argument("--email", default="ada@example.com")
    demo.add_argument("--json", action="store_true", help="print the whole story as one JSON line")

    run = commands.add_parser("run", help="run a command with the stack around it: run -- CMD ...")
    _stack_options(run, None)
    run.add_argument("argv", nargs="+", metavar="CMD")

    status = commands.add_parser("status", help="what runs, where, and what it uses")
    mail = commands.add_parser("mail", help="the caught mails")
    for one in (status, mail):
        one.add_argument("--state-dir", type=Path, default=".emulator", help="the stack's folder")
    verbs = mail.add_subparsers(dest="verb", required=True, metavar="list|show|wait")
    listing = verbs.add_parser("list", help="one line a mail")
    showing = verbs.add_parser("show", help="one mail whole")
    showing.add_argument("which", nargs="?", type=int, help="its number (default: the newest)")
    waiting = verbs.add_parser("wait", help="show the mail to an address once it is there")
    waiting.add_argument("address")
    waiting.add_argument("--timeout", type=float, default=30.0, help="seconds (default: 30)")
    doctor = commands.add_parser("doctor", help="what is installed, missing, and how to get it")
    for one in (status, listing, showing, waiting, doctor):
        one.add_argument("--json", action="store_true")


def _add_servers(commands: Any) -> None:
    for service, variable in (
        ("pubsub", "PUBSUB_EMULATOR_HOST"),
        ("firestore", "FIRESTORE_EMULATOR_HOST"),
    ):
        one = commands.add_parser(service, help=f"{service} alone, for {variable}")
        add = one.add_argument
        add("--backend", choices=["auto", *backends.BACKENDS], default="embedded")
        add("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
        add("--port", type=_port, default=0, help="gRPC port (default: a free one)")
        add("--json", action="store_true", help="print the addresses as one JSON line")
        add(
            "--until-stdin-closes",
            action="store_true",
            help="also stop when standard input closes, for a parent that may be killed",
        )
        only = one.add_argument_group("with --backend embedded")
        add = only.add_argument
        add("--http-port", type=_port, default=0, help="HTTP port (default: a free one)")
        add(
            "--lenient",
            action="store_true",
            help="store, echo and warn about settings that are not supported",
        )
        if service == "pubsub":
            help_text = "shortest ack deadline taken (default: 10; less is for tests)"
            add("--min-ack-deadline-seconds", type=int, default=10, help=help_text)
        else:
            help_text = "refuse a query that production would refuse without an index"
            add("--require-indexes", action="store_true", help=help_text)
            help_text = "firestore.indexes.json: indexes, fields without any, TTL policies"
            add("--indexes", type=Path, metavar="FILE", help=help_text)


def _parser() -> Parser:
    parser = Parser(
        prog="python -m emulator",
        description="A local Google Cloud: Pub/Sub, Firestore, functions and mail.",
    )
    parser.add_argument(
        "--log-level",
        type=str.upper,
        choices=["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"],
        default="WARNING",
        help="of the emulator's own log, on standard error",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_stack_commands(commands)
    _add_servers(commands)
    return parser


def _serve(args: argparse.Namespace) -> Coroutine[Any, Any, int]:
    from emulator.backends import ServerSettings
    from emulator.serve import indexes, serve

    options: dict[str, object] = {"lenient": args.lenient}
    if args.command == "pubsub":
        options["min_ack_deadline_seconds"] = args.min_ack_deadline_seconds
    else:
        options["require_indexes"] = args.require_indexes
        if args.indexes:
            options["indexes"] = indexes(args.indexes)
    return serve(
        args.command,
        backends.choose(args.backend).backend,
        ServerSettings(args.host, args.port, args.http_port, options),
        as_json=args.json,
        until_stdin_closes=args.until_stdin_closes,
        show=_show,
    )


async def _with_stack(args: argparse.Namespace) -> int:
    from emulator import commands
    from emulator.stack import StackSettings
    from emulator.topology import Topology

    topology = Topology.load(args.topology)
    for place, value in args.set:
        function, _, variable = place.partition(".")
        if function not in topology.functions or not variable:
            known = ", ".join(topology.functions)
            raise SetupError(f"--set {place}: FUNCTION.NAME, FUNCTION one of {known}")
        topology = topology.with_environment(function, **{variable: value})
    settings = StackSettings(
        topology=topology,
        functions=args.functions,
        state_dir=(args.state_dir or Path()).absolute(),
        backend=args.backend,
        project=args.project,
        host=args.host,
        ports=dict(args.port),
    )
    if args.command == "up":
        from dataclasses import replace

        live = replace(settings, show=_show, colour=sys.stdout.isatty(), reload=not args.no_reload)
        return await commands.up(live, _show)
    with commands.own_folder(settings, keep=args.state_dir is not None) as own:
        if args.command == "run":
            return await commands.run(own, args.argv)
        return await commands.demo(own, _show, name=args.name, email=args.email, as_json=args.json)


async def _mail(args: argparse.Namespace) -> int:
    from emulator import mailbox

    folder = args.state_dir / "mail"
    if not folder.is_dir():
        raise SetupError(f"no stack has run in {args.state_dir}: start one with `make up`")
    if args.verb == "list":
        return mailbox.list_mails(folder, _show, as_json=args.json)
    if args.verb == "show":
        return mailbox.show_mail(folder, args.which, _show, as_json=args.json)
    return await mailbox.wait_for_mail(
        folder, args.address, _show, timeout_seconds=args.timeout, as_json=args.json
    )


async def _look(args: argparse.Namespace) -> int:
    from emulator import commands
    from emulator.state import StateDir

    if args.command == "doctor":
        return commands.doctor(_show, as_json=args.json)
    return commands.status(StateDir(args.state_dir), _show, as_json=args.json)


async def _until_signalled(work: Coroutine[Any, Any, int]) -> int:
    """Run `work`; a signal cancels it, so that everything it holds is closed in order."""
    task = asyncio.ensure_future(work)
    received: list[int] = []

    def cancel(number: int) -> None:
        received.append(number)
        task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, cancel, number)
    try:
        return await task
    except asyncio.CancelledError:
        if not received:
            raise
        return 128 + received[0]


_WORK: dict[str, Callable[[argparse.Namespace], Coroutine[Any, Any, int]]] = {
    "up": _with_stack,
    "demo": _with_stack,
    "run": _with_stack,
    "mail": _mail,
    "status": _look,
    "doctor": _look,
    "pubsub": _serve,
    "firestore": _serve,
}
_STOPPED_BY_SIGNAL_IS_DONE = {"up", "pubsub", "firestore"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    args = _parser().parse_args(argv)
    logging.basicConfig(level=args.log_level, format="%(levelname)s %(name)s: %(message)s")
    try:
        code = asyncio.run(_until_signalled(_WORK[args.command](args)))
    except SetupError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0 if code > 128 and args.command in _STOPPED_BY_SIGNAL_IS_DONE else code

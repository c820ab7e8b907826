"""The command line: arguments in, one call out. No behaviour lives here.

Exit codes: 0 done; 1 it did not work, with the reason on standard error; 2 wrong arguments;
130 stopped by Ctrl-C before it was done.
"""

import argparse
import asyncio
import logging
import sys
from collections.abc import Sequence

from emulator import backends
from emulator.backends import ServerSettings
from emulator.errors import SetupError


def _show(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - the one place that prints


def _add_server(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    for service, switch in (("pubsub", "PUBSUB"), ("firestore", "FIRESTORE")):
        one = commands.add_parser(
            service,
            help=f"serve {service} alone, for {switch}_EMULATOR_HOST of any program",
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )
        one.add_argument("--backend", choices=["auto", *backends.BACKENDS], default="embedded")
        one.add_argument("--host", default="127.0.0.1", help="address to listen on")
        one.add_argument("--port", type=int, default=0, help="gRPC port; 0 takes a free one")
        one.add_argument("--http-port", type=int, default=0, help="HTTP port (embedded)")
        one.add_argument("--json", action="store_true", help="print the addresses as one JSON line")
        one.add_argument(
            "--until-stdin-closes",
            action="store_true",
            help="also stop when standard input closes, for a parent that may be killed",
        )
        one.add_argument(
            "--lenient",
            action="store_true",
            help="store, echo and warn about settings that are not supported (embedded)",
        )
        if service == "pubsub":
            one.add_argument(
                "--min-ack-deadline-seconds",
                type=int,
                default=10,
                help="shortest ack deadline taken; below 10 is for tests (embedded)",
            )
        else:
            one.add_argument(
                "--require-indexes",
                action="store_true",
                help="refuse a query that production would refuse without an index (embedded)",
            )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m emulator", description="A local Google Cloud for the sign-up functions."
    )
    parser.add_argument("--log-level", default="WARNING", help="of the emulator's own log")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_server(commands)
    return parser


async def _serve(args: argparse.Namespace) -> int:
    from emulator.serve import serve

    choice = backends.choose(args.backend)
    options: dict[str, object] = {"lenient": args.lenient}
    if args.command == "pubsub":
        options["min_ack_deadline_seconds"] = args.min_ack_deadline_seconds
    else:
        options["require_indexes"] = args.require_indexes
    await serve(
        args.command,
        choice.backend,
        ServerSettings(args.host, args.port, args.http_port, options),
        as_json=args.json,
        until_stdin_closes=args.until_stdin_closes,
        show=_show,
    )
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    args = _parser().parse_args(argv)
    logging.basicConfig(level=args.log_level, format="%(levelname)s %(name)s: %(message)s")
    try:
        return asyncio.run(_serve(args))
    except SetupError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 1
    except KeyboardInterrupt:
        return 130

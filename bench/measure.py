"""What every benchmark shares: servers to measure, rounds, and the table at the end.

1. Each side is a process of its own, started anew for every round; sides take turns within a
   round and the order turns over with every round, so that what disturbs the machine
   disturbs both. Where single calls are compared, all sides run and are called in turn.
2. A metric has one value a round and side. The table shows the median over the rounds and
   the lowest and highest; a difference within the spread is not a difference.
3. Each side is started once before, uncounted: files are in the system's cache then, and
   Python's are compiled, as on any second start.
4. Time to the first answer counts from the start of the process to a first RPC answered, over
   a channel made once the port accepts. Memory is the resident set of the whole process tree.
5. The clients run in the benchmark's own process, on the same machine: both sides pay for it.

Results go to bench/results/NAME.json and NAME.md.
"""

import json
import math
import os
import platform
import random
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from types import FrameType

import psutil

from emulator import gcloud

RESULTS = Path(__file__).parent / "results"
START_SECONDS = 60.0
EMBEDDED = "embedded"
GCLOUD = "gcloud"


@dataclass(frozen=True)
class Side:
    """One of the two that are compared: `command(port)` serves gRPC on 127.0.0.1:port."""

    name: str
    command: Callable[[int], Sequence[str]]


def sides(service: gcloud.ServiceName, wanted: str) -> list[Side]:
    """The embedded server, and Google's where it is wanted ("both", or by name) and installed."""
    found = []
    if wanted in ("both", EMBEDDED):
        command = [sys.executable, "-m", "emulator", service, "--until-stdin-closes"]
        found.append(Side(EMBEDDED, lambda port: [*command, "--port", str(port)]))
    if wanted in ("both", GCLOUD):
        installed = gcloud.find()
        try:
            installed.command(service, "127.0.0.1", 1)
        except gcloud.NotInstalledError as error:
            print(f"NOT MEASURED: {error}", file=sys.stderr)
        else:
            found.append(Side(GCLOUD, lambda port: installed.command(service, "127.0.0.1", port)))
    return found


@dataclass(frozen=True)
class Target:
    """What the embedded side should reach: `met(ours, theirs)`; None where it cannot be said.

    `theirs` is None if the other side was not measured.
    """

    text: str
    met: Callable[[float, float | None], bool | None]


@dataclass(frozen=True)
class Metric:
    """A line of the table."""

    key: str
    label: str
    unit: str
    target: Target | None = None


def at_most(limit: float, unit: str) -> Target:
    """An absolute limit."""
    return Target(f"at most {limit:g} {unit}", lambda ours, _theirs: ours <= limit)


def at_most_times(factor: float, words: str) -> Target:
    """At most `factor` times the other side's value."""
    return Target(words, lambda ours, theirs: None if theirs is None else ours <= factor * theirs)


def at_least_times(factor: float, words: str) -> Target:
    """At least `factor` times the other side's value."""
    return Target(words, lambda ours, theirs: None if theirs is None else ours >= factor * theirs)


class Server:
    """A running side."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int) -> None:
        self.address = f"127.0.0.1:{port}"
        self.first_answer_seconds = 0.0
        self._process = process

    def tree(self) -> list[psutil.Process]:
        """The process and all below it."""
        top = psutil.Process(self._process.pid)
        return [top, *top.children(recursive=True)]

    def rss_bytes(self) -> int:
        """Resident memory of the whole tree."""
        return sum(process.memory_info().rss for process in self.tree())

    def check(self) -> None:
        """Raise RuntimeError if the process has ended."""
        if self._process.poll() is not None:
            raise RuntimeError(f"the server ended with exit code {self._process.returncode}")

    def stop(self) -> None:
        """End the process and all below it."""
        if self._process.poll() is None:
            tree = self.tree()
            self._process.terminate()
            _, alive = psutil.wait_procs(tree, timeout=5)
            for process in alive:
                process.kill()
        self._process.wait()


def _free_port() -> int:
    # Below the ports lent to outgoing connections, where none can take it before the server.
    while True:
        port = random.randrange(20_000, 32_000)  # noqa: S311 - not a secret
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def running(side: Side, first_rpc: Callable[[str], None]) -> Iterator[Server]:
    """The side as a new process, after `first_rpc(address)` has returned."""
    port = _free_port()
    command = [*side.command(port)]
    begun = time.perf_counter()
    process = subprocess.Popen(
        command,
        env={key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"},
        stdin=subprocess.PIPE,  # closes when we end, which an embedded server is told to heed
        stdout=subprocess.DEVNULL,
        stderr=None if os.environ.get("BENCH_SERVER_LOG") else subprocess.DEVNULL,
    )
    server = Server(process, port)
    try:
        while not _accepts(port):
            server.check()
            if time.perf_counter() - begun > START_SECONDS:
                raise RuntimeError(f"{side.name} does not listen after {START_SECONDS:.0f} s")
            time.sleep(0.002)
        first_rpc(server.address)
        server.first_answer_seconds = time.perf_counter() - begun
        yield server
    finally:
        server.stop()


def percentile(samples: Sequence[float], percent: float) -> float:
    """The smallest sample that `percent` of them do not exceed."""
    return sorted(samples)[math.ceil(len(samples) * percent / 100) - 1]


class Results:
    """Values by metric and side, one a round."""

    def __init__(self, name: str, metrics: Sequence[Metric], sides: Sequence[str]) -> None:
        self.name = name
        self.metrics = metrics
        self.sides = sides
        self.values: dict[str, dict[str, list[float]]] = {}
        self.began = datetime.now(UTC)

    def add(self, key: str, side: str, value: float) -> None:
        """One more value."""
        self.values.setdefault(key, {}).setdefault(side, []).append(value)

    def median(self, key: str, side: str) -> float | None:
        """The median, or None where nothing was measured."""
        values = self.values.get(key, {}).get(side)
        return statistics.median(values) if values else None

    def _cell(self, metric: Metric, side: str) -> str:
        values = self.values.get(metric.key, {}).get(side)
        if not values:
            return "-"
        median = _figure(statistics.median(values))
        if len(values) == 1:
            return f"{median} {metric.unit}"
        return f"{median} {metric.unit} ({_figure(min(values))} to {_figure(max(values))})"

    def verdict(self, metric: Metric) -> str:
        """How the target was met: "met", "missed", or "" without one."""
        ours = self.median(metric.key, EMBEDDED)
        if metric.target is None or ours is None:
            return ""
        met = metric.target.met(ours, self.median(metric.key, GCLOUD))
        verdict = {True: ": met", False: ": MISSED", None: ""}[met]
        return metric.target.text + verdict

    def rows(self) -> list[list[str]]:
        """The table, its head first."""
        rows = [["", *self.sides, "ratio", "target"]]
        for metric in self.metrics:
            if metric.key not in self.values:
                continue
            ours, theirs = (self.median(metric.key, side) for side in (EMBEDDED, GCLOUD))
            ratio = f"{ours / theirs:.2f}" if ours and theirs else ""
            cells = [self._cell(metric, side) for side in self.sides]
            rows.append([metric.label, *cells, ratio, self.verdict(metric)])
        return rows

    def environment(self) -> dict[str, str]:
        """What was measured on what."""
        versions = ("grpcio", "protobuf", "google-cloud-pubsub", "google-cloud-firestore")
        return {
            "time": self.began.isoformat(timespec="seconds"),
            "processors": str(os.cpu_count()),
            "machine": f"{platform.system()} {platform.machine()}",
            "python": platform.python_version(),
            "load average at the end": " ".join(f"{load:.2f}" for load in os.getloadavg()),
            **{name: metadata.version(name) for name in versions},
        }

    def as_dict(self) -> dict[str, object]:
        """For JSON: environment, and for each metric label, unit, values by side, verdict."""
        return {
            "name": self.name,
            "environment": self.environment(),
            "metrics": {
                metric.key: {
                    "label": metric.label,
                    "unit": metric.unit,
                    "values": self.values[metric.key],
                    "target": self.verdict(metric),
                }
                for metric in self.metrics
                if metric.key in self.values
            },
        }

    def store(self, note: str) -> list[Path]:
        """Write NAME.json and NAME.md; their paths."""
        RESULTS.mkdir(exist_ok=True)
        data = RESULTS / f"{self.name}.json"
        data.write_text(json.dumps(self.as_dict(), indent=1) + "\n")
        head, *body = self.rows()
        lines = [" | ".join(["", *row, ""]).strip() for row in (head, ["---"] * len(head), *body)]
        facts = ", ".join(f"{name} {value}" for name, value in self.environment().items())
        page = RESULTS / f"{self.name}.md"
        page.write_text(f"# Benchmark: {self.name}\n\n{note}\n\n" + "\n".join(lines))
        with page.open("a") as file:
            file.write(f"\n\nMedian (lowest to highest) over the rounds. {facts}\n")
        return [data, page]


def _figure(value: float) -> str:
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def show(results: Results) -> None:
    """Print the table."""
    rows = results.rows()
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)))


def run(
    results: Results,
    sides: Sequence[Side],
    rounds: int,
    first_rpc: Callable[[str], None],
    scenario: Callable[[Side, Server], Iterator[tuple[str, float]]],
) -> None:
    """Fill `results`: `scenario` yields (metric's key, value) for each side in each round."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        sys.exit(143)

    signal.signal(signal.SIGTERM, stop)  # so that the server in use is stopped, too
    for side in sides:
        with running(side, first_rpc):
            pass
    for number in range(rounds):
        for side in sides if number % 2 == 0 else tuple(reversed(sides)):
            with running(side, first_rpc) as server:
                for key, value in scenario(side, server):
                    results.add(key, side.name, value)
                    told = f"round {number + 1}/{rounds} {side.name:9} {key}: {_figure(value)}"
                    print(told, file=sys.stderr, flush=True)


def run_together(
    results: Results,
    sides: Sequence[Side],
    rounds: int,
    first_rpc: Callable[[str], None],
    scenario: Callable[[Mapping[str, Server]], Iterator[tuple[str, str, float]]],
) -> None:
    """Add to `results` what `scenario`, given all sides at once, yields: (key, side, value)."""
    for number in range(rounds):
        with ExitStack() as stack:
            servers = {side.name: stack.enter_context(running(side, first_rpc)) for side in sides}
            for key, side_name, value in scenario(servers):
                results.add(key, side_name, value)
                told = f"round {number + 1}/{rounds} {side_name:9} {key}: {_figure(value)}"
                print(told, file=sys.stderr, flush=True)

"""Many processes' output as one log: labelled, in order of arrival, readable.

A line of a function that is one JSON object (Cloud Logging's structured log) is shown as
severity, message and the rest as key=value; every other line as it is. The files in `logs/`
keep what was printed, unchanged.
"""

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from emulator.processes import Sink

_COLOURS = ("36", "33", "35", "32", "34", "31")
_HIDDEN = {"severity", "message", "time", "logging.googleapis.com/labels"}
_LABEL_WIDTH = 14


def readable(line: str) -> str:
    """A structured log line for a person: "INFO user created event_id=..."."""
    try:
        entry = json.loads(line)
    except ValueError:
        return line
    if not isinstance(entry, dict) or "message" not in entry:
        return line
    rest = (
        f"{name.rpartition('/')[2]}={value}" for name, value in entry.items() if name not in _HIDDEN
    )
    return " ".join([str(entry.get("severity", "DEFAULT")), str(entry["message"]), *rest])


class MergedLog:
    """Writes each process's lines to its file in `folder`, and to `show`, labelled."""

    def __init__(self, folder: Path, show: Callable[[str], None], *, colour: bool = False) -> None:
        self._folder = folder
        self._show = show
        self._colour = colour
        self._files: dict[str, IO[str]] = {}
        self.muted = False
        """While true, lines go to the files only."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        for file in self._files.values():
            file.close()
        self._files.clear()

    def sink(self, label: str, *, shown: bool = True) -> Sink:
        """Where the lines of one process go; with `shown` false to its file only."""
        path = self._folder / f"{label}.log"
        file = self._files[label] = path.open("a", encoding="utf-8", buffering=1)
        code = _COLOURS[(len(self._files) - 1) % len(_COLOURS)]
        head = f"{label:<{_LABEL_WIDTH}}|"
        if self._colour:
            head = f"\033[{code}m{head}\033[0m"

        def take(line: str) -> None:
            if not file.closed:
                file.write(line + "\n")
            if shown and not self.muted:  # local time: a person reads it
                self._show(f"{datetime.now():%H:%M:%S} {head} {readable(line)}")

        return take

"""Plays terraform and gcloud: answers as answers.json says, writes down every call.

A copy of this file, under the name of the tool, stands on PATH; it finds its files one folder
up. The first answer is given whose words begin the call and whose flags are all in it:

    {"words": ["gcloud", "projects"], "flags": [], "code": 0, "out": "...", "err": "",
     "pause": false}

With `pause` it opens the FIFO `started` for writing, and waits for a SIGINT; then it opens the
FIFO `finish` for reading, as a tool that has something to put in order, and fails.
"""

import json
import os
import signal
import sys
from pathlib import Path

HERE = Path(__file__).parent.parent


def main() -> int:
    """Give one answer."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    argv = [Path(sys.argv[0]).name, *sys.argv[1:]]
    call: dict[str, object] = {"argv": argv, "stdin": sys.stdin.read()}
    call["env"] = {k: v for k, v in os.environ.items() if k.startswith(("TF_", "GOOGLE_"))}
    answers = json.loads((HERE / "answers.json").read_text())
    fitting = (
        a for a in answers if argv[: len(a["words"])] == a["words"] and {*a["flags"]} <= {*argv}
    )
    answer = next(fitting, None)
    if answer is None:
        sys.stderr.write(f"ERROR: no answer for {argv}\n")
        return 99
    plans = [word.removeprefix("-out=") for word in argv if word.startswith("-out=")]
    if argv[:2] == ["terraform", "apply"]:
        call["plan"] = Path(argv[-1]).read_text()
    for plan in map(Path, plans):
        call["mode"] = oct(plan.stat().st_mode)
        plan.write_text("the plan that was shown")
    code = answer["code"]
    if answer["pause"]:
        (HERE / "started").write_text("started")
        signal.sigwait({signal.SIGINT})
        (HERE / "finish").read_text()
        call["more_signals"] = bool(signal.sigpending())
        code = 1
    line = json.dumps(call).encode() + b"\n"
    handle = os.open(HERE / "calls", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(handle, line)
    sys.stdout.write(answer["out"])
    sys.stderr.write(answer["err"])
    return int(code)


if __name__ == "__main__":
    sys.exit(main())

"""The whole chain on each backend: how long a sign-up takes, and what it costs.

    python -m bench.sign_up [--backend embedded|gcloud] [--sign-ups N] [--json]

For each backend one stack with the production bcrypt cost: POST -> reply and POST -> mail one
at a time, then eight clients at once; hashes alone on the same cores in the same run are the
measure of what is possible. A mail's time is that of its file. Memory is of each process at rest.
"""

import argparse
import json
import os
import secrets
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import bcrypt
import psutil
import requests

from bench.measure import RESULTS

ROOT = Path(__file__).parent.parent
CLIENTS = 8
COST = 12


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """p50 and p95, in the unit of the values."""
    cuts = statistics.quantiles(values, n=20, method="inclusive")
    return {"p50": round(cuts[9], 1), "p95": round(cuts[18], 1)}


def sign_up(session: requests.Session, email: str) -> float:
    """Sign one up; when the POST began, in seconds of the wall clock."""
    form = {"name": "Bench", "email": email, "password": secrets.token_urlsafe(18)}
    began = time.time()
    answer = session.post(os.environ["CREATE_USER_URL"], json=form, timeout=60)
    answer.raise_for_status()
    return began


def hashes_per_second(seconds: float) -> float:
    """What bcrypt alone reaches with eight threads on these cores."""
    deadline = time.perf_counter() + seconds

    def work(_: int) -> int:
        done = 0
        while time.perf_counter() < deadline:
            bcrypt.hashpw(b"x" * 44, bcrypt.gensalt(COST))
            done += 1
        return done

    began = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        done = sum(pool.map(work, range(CLIENTS)))
    return done / (time.perf_counter() - began)


def mail_times(folder: Path, emails: set[str]) -> dict[str, float]:
    """When each mail's file was complete, once all are there."""
    times: dict[str, float] = {}
    deadline = time.monotonic() + 120
    while not emails <= times.keys():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{len(emails - times.keys())} mails did not come")
        for path in folder.glob("*.eml"):
            to = path.read_text().split("Delivered-To: ", 1)[1].split("\n", 1)[0].strip()
            times[to] = path.stat().st_mtime
        threading.Event().wait(0.05)
    return times


def measure(count: int) -> dict[str, Any]:
    """Inside `python -m emulator run`: the figures of the stack in the environment."""
    mail = Path(os.environ["MAIL_DIR"])
    with requests.Session() as session:
        for n in range(3):  # the first requests build the clients
            sign_up(session, f"warm-{n}@example.com")
        mail_times(mail, {f"warm-{n}@example.com" for n in range(3)})
        replies, began = [], {}
        for n in range(count):
            email = f"one-{n}@example.com"
            began[email] = sign_up(session, email)
            replies.append((time.time() - began[email]) * 1000)
    arrived = mail_times(mail, set(began))
    mails = [(arrived[email] - began[email]) * 1000 for email in began]
    log = (mail.parent / "logs/create-user.log").read_text().splitlines()
    entries = [json.loads(line) for line in log if line.startswith("{")]
    hashes = [entry["hash_ms"] for entry in entries if "hash_ms" in entry][3:]

    def client(number: int) -> int:
        with requests.Session() as session:
            for n in range(count // 2):
                sign_up(session, f"many-{number}-{n}@example.com")
        return count // 2

    start = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        done = sum(pool.map(client, range(CLIENTS)))
    rate = done / (time.perf_counter() - start)
    everyone = {f"many-{c}-{n}@example.com" for c in range(CLIENTS) for n in range(count // 2)}
    mail_times(mail, everyone)  # else the chain's tail would share the cores with the hashes
    alone = hashes_per_second(5)
    return {
        "post_to_reply_ms": percentiles(replies),
        "of_which_hash_ms": percentiles(hashes),
        "post_to_mail_ms": percentiles(mails),
        "sign_ups_per_s_8_clients": round(rate, 2),
        "bcrypt_alone_per_s": round(alone, 2),
        "share_of_bcrypt": round(rate / alone, 3),
        "memory_mb": memory(),
    }


def memory() -> dict[str, int]:
    """Resident megabytes of each process of the stack we run in."""
    stack = psutil.Process().parent()
    if stack is None:
        raise RuntimeError("not inside `python -m emulator run`")
    found = {"emulator": round(stack.memory_info().rss / 1e6)}
    for process in stack.children(recursive=True):
        words = process.cmdline()
        if process.pid == os.getpid() or "-S" in words:
            continue
        kind = next((w for w in words if w.endswith(".jar")), None)
        name = Path(kind).stem if kind else words[words.index("--target") + 1]
        found[name] = found.get(name, 0) + round(process.memory_info().rss / 1e6)
    return found


def main() -> int:
    """Run each backend in turn and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--backend", choices=["embedded", "gcloud"])
    parser.add_argument("--sign-ups", type=int, default=40, help="one at a time (default: 40)")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.inside:
        print(json.dumps(measure(args.sign_ups)))
        return 0
    results = {}
    for backend in [args.backend] if args.backend else ["gcloud", "embedded"]:
        inside = [sys.executable, "-m", "bench.sign_up", "--inside"]
        argv = [sys.executable, "-m", "emulator", "run", "--backend", backend, "--", *inside]
        argv += ["--sign-ups", str(args.sign_ups)]
        ran = subprocess.run(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
        results[backend] = json.loads(ran.stdout)
    if args.json:
        print(json.dumps(results))
        return 0
    page = table(results)
    print(page)
    if not args.backend:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "sign_up.md").write_text(page)
        (RESULTS / "sign_up.json").write_text(json.dumps(results, indent=1) + "\n")
    return 0


def table(results: dict[str, dict[str, Any]]) -> str:
    """The figures of each backend side by side, in Markdown."""
    cores = os.cpu_count()
    lines = [
        "# Benchmark: sign_up",
        "",
        f"`python -m bench.sign_up`, {cores} cores, bcrypt cost {COST}.",
    ]
    lines += ["", "| | " + " | ".join(results) + " |", "| --- |" + " --- |" * len(results)]
    for name in next(iter(results.values())):
        cells = (_cell(figures[name]) for figures in results.values())
        lines.append(f"| {name.replace('_', ' ')} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])


def _cell(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {figure}" for name, figure in value.items())
    return str(value)


if __name__ == "__main__":
    sys.exit(main())

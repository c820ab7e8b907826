"""The deploy tool as a user runs it, with a terraform and a gcloud that are played.

1. The command line runs in a process of its own, on a folder of its own; PATH has the two
   played tools and nothing else.
2. A terminal is a real one (a pty): Ctrl-C is the character, and the kernel makes it a signal.
3. After each test nothing of it runs, and no plan file is left.
"""

import base64
import fcntl
import json
import os
import pty
import subprocess
import sys
import termios
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

ROOT = Path(__file__).parents[2]
PROJECT = "sign-up-dev"
DEPLOYER = f"deployer@{PROJECT}.iam.gserviceaccount.com"
TOKEN = "ya29.a-token-that-nobody-sees"
URL = "https://say-hello-1234567890.europe-west1.run.app"

TOPOLOGY = """
topics: {}
subscriptions: {}
secrets:
  link-keys: {kind: key_set}
  claim-key: {kind: key}
  smtp-password: {kind: external}
functions:
  say-hello:
    source: hello
    entry_point: hello
    trigger: {http: true}
    example: {name: "Ada's friend"}
  tidy-up:
    source: hello
    entry_point: tidy
    trigger: {schedule: "* * * * *"}
"""
# What terraform prints first for what the tfvars has and the question does not ask for.
CONSOLE_WARNING = "\nWarning: Value for undeclared variable\n\nThe root module ...\n\n"


class Terminal:
    """A command on a terminal; what it shows is read up to a text that is waited for."""

    def __init__(self, argv: Sequence[str], env: dict[str, str], **files: Any) -> None:
        self._master, slave = pty.openpty()
        self.shown = ""
        self._seen = 0
        self.process = subprocess.Popen(
            argv,
            env=env,
            cwd=ROOT,
            **{"stdin": slave, "stdout": slave, **files},
            stderr=slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(2, termios.TIOCSCTTY, 0),
        )
        self._slave = slave

    def until(self, text: str) -> None:
        """Return once `text` is shown, after what was waited for before."""
        while (found := self.shown.find(text, self._seen)) < 0:
            self._read()
        self._seen = found + len(text)

    def type(self, text: str) -> None:
        """Press these keys."""
        os.write(self._master, text.encode())

    def end(self) -> int:
        """Read to the end; the exit code."""
        os.close(self._slave)
        self._slave = -1
        while self._read(or_end=True):
            pass
        return self.process.wait()

    def echoes(self) -> bool:
        """Whether the terminal shows what is typed."""
        return bool(termios.tcgetattr(self._slave)[3] & termios.ECHO)

    def _read(self, *, or_end: bool = False) -> bool:
        try:
            data = os.read(self._master, 65_536)
        except OSError:  # EIO: nobody has the other end any more
            data = b""
        if not data and not or_end:
            pytest.fail(f"it ended without what was waited for:\n{self.shown}")
        self.shown += data.decode()
        return bool(data)

    def close(self) -> None:
        """Kill what is left of a test that failed."""
        self.process.kill()
        self.process.wait()
        for handle in (self._master, self._slave):
            if handle >= 0:
                os.close(handle)


class Cloud:
    """A Terraform folder, and a Google Cloud that answers as it is told to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder = path / "terraform"
        self.bin = path / "bin"
        self.bin.mkdir()
        (self.folder / "environments").mkdir(parents=True)
        (self.folder / "topology.yaml").write_text(TOPOLOGY)
        (self.folder / "environments/dev.tfvars").write_text("# read by the played terraform\n")
        tool = (Path(__file__).parent / "fake_tool.py").read_text()
        for name in ("terraform", "gcloud"):
            (self.bin / name).write_text(f"#!{sys.executable} -IS\n{tool}")
            (self.bin / name).chmod(0o755)
        for name in ("started", "finish"):
            os.mkfifo(path / name)
        self.env = {"PATH": str(self.bin), "HOME": str(path), "PYTHONPATH": str(ROOT)}
        self._answers: list[dict[str, object]] = []
        self._terminals: list[Terminal] = []
        self._all_is_well()

    def answer(
        self, call: str, *, code: int = 0, out: str = "", err: str = "", pause: bool = False
    ) -> None:
        """Answer so, from now on, to a call that begins with these words and has these flags."""
        words = [word for word in call.split() if not word.startswith("--")]
        flags = [word for word in call.split() if word.startswith("--")]
        answer = {"words": words, "flags": flags, "code": code, "out": out, "err": err}
        self._answers.insert(0, {**answer, "pause": pause})
        (self.path / "answers.json").write_text(json.dumps(self._answers))

    def settings(
        self,
        project: str | None = PROJECT,
        *,
        protect_data: bool | None = False,
        secret_versions: dict[str, str | None] | None = None,
    ) -> None:
        """Have this in the tfvars."""
        values = json.dumps([project, protect_data, secret_versions])
        encoded = base64.b64encode(values.encode()).decode()
        self.answer("terraform console", out=f'{CONSOLE_WARNING}"{encoded}"\n')

    def outputs(self, *, invokers: Sequence[str]) -> None:
        """Have these outputs after an apply."""
        outputs = {"urls": {"say-hello": URL}, "invokers": list(invokers), "accounts": {}}
        document = {name: {"sensitive": False, "value": value} for name, value in outputs.items()}
        self.answer("terraform output", out=json.dumps(document))

    def _all_is_well(self) -> None:
        self.answer("terraform version", out='{"terraform_version": "1.11.4"}')
        self.settings()
        self.answer("terraform init", out="Terraform has been initialised\n")
        self.answer("terraform plan", code=2, out="Plan: 3 to add\n")
        self.answer("terraform apply", out="Apply complete!\n")
        self.outputs(invokers=[])
        self.answer("gcloud version", out='{"Google Cloud SDK": "528.0.0"}')
        self.answer("gcloud auth", out=f"{TOKEN}\n")
        self.answer("gcloud projects", out='{"lifecycleState": "ACTIVE"}')
        self.answer("gcloud billing", out='{"billingEnabled": true}')
        self.answer("gcloud storage", out=f"gs://{PROJECT}-terraform-state/sign-up/\n")
        self.answer("gcloud secrets versions describe", out='{"state": "ENABLED"}')
        self.answer("gcloud secrets versions list", out="[]")
        self.answer("gcloud secrets versions add", err="Created version [1] of the secret.\n")

    def run(
        self, *arguments: str, stdin: bytes = b"", stdout: Any = subprocess.PIPE
    ) -> "subprocess.CompletedProcess[str]":
        """Run it to its end, without a terminal."""
        ended = subprocess.run(
            self.argv(arguments),
            env=self.env,
            cwd=ROOT,
            input=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
        )
        shown = (ended.stdout or b"").decode(), ended.stderr.decode()
        return subprocess.CompletedProcess(ended.args, ended.returncode, *shown)

    def start(self, *arguments: str, **files: Any) -> Terminal:
        """Start it on a terminal, but for standard files that are given."""
        terminal = Terminal(self.argv(arguments), {**self.env, "TERM": "xterm"}, **files)
        self._terminals.append(terminal)
        return terminal

    def argv(self, arguments: Sequence[str]) -> list[str]:
        where = [] if arguments[0] == "key-set" else ["--folder", str(self.folder)]
        return [sys.executable, "-m", "deploy", *arguments, *where]

    def wait_for_pause(self) -> None:
        """Return once the tool that is to pause does."""
        assert (self.path / "started").read_text() == "started"

    def let_finish(self) -> None:
        """Let the tool that got its signal end."""
        (self.path / "finish").write_text("")

    def calls(self, *words: str) -> list[dict[str, Any]]:
        """The calls that had all these words, in the order in which they ended."""
        file = self.path / "calls"
        lines = file.read_text().splitlines() if file.exists() else []
        calls: list[dict[str, Any]] = [json.loads(line) for line in lines]
        return [call for call in calls if set(words) <= set(call["argv"])]

    def plans_left(self) -> list[str]:
        return [path.name for path in self.folder.glob(".build/*")]

    def running(self) -> list[psutil.Process]:
        """The processes that have anything of this cloud in their command line."""
        every = psutil.process_iter(["cmdline"])
        return [one for one in every if str(self.path) in " ".join(one.info["cmdline"] or [])]

    def close(self) -> list[psutil.Process]:
        """End everything, for a test that failed; what was still running."""
        left = self.running()
        for process in left:
            process.kill()
        for terminal in self._terminals:
            terminal.close()
        return left


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    """Everything is there, unless the test says otherwise."""
    cloud = Cloud(tmp_path)
    yield cloud
    assert cloud.close() == []
    assert cloud.plans_left() == []

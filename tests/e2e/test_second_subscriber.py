"""The README's recipe for a second subscriber, as written there; reload; two stacks at once."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from emulator.stack import StackSettings
from emulator.topology import Topology
from tests.e2e.conftest import ROOT, RunningStack, fast
from tests.readme import second_subscriber


@pytest.fixture
def second(stack_backend: str, tmp_path: Path) -> Iterator[RunningStack]:
    """A stack of its own, with notify_admin in it, that restarts what changes."""
    functions = tmp_path / "functions"
    shutil.copytree(ROOT / "functions", functions, ignore=shutil.ignore_patterns("__pycache__"))
    topology = yaml.safe_load((ROOT / "terraform/topology.yaml").read_text())
    for section, entries in second_subscriber(functions).items():
        topology[section].update(entries)
    running = RunningStack(
        StackSettings(
            topology=fast(Topology.parse(topology)),
            functions=functions,
            state_dir=tmp_path / "state",
            backend=stack_backend,
            project="e2e-test",
            reload=True,
        )
    )
    yield running
    running.close()


def test_a_second_subscriber_is_added_without_touching_create_user(
    second: RunningStack, stack: RunningStack, address: str
) -> None:
    """It gets every event, restarts when its source changes; a stack beside it hears nothing."""
    user_id = second.sign_up(address).json()["user"]["id"]
    second.wait_for_line("notify-admin", user_id)
    second.wait_for_mail(address)

    source = second.stack.functions["notify-admin"].source / "main.py"
    source.write_text(source.read_text().replace("print(", "print('changed:', "))
    second.wait_for_line("notify-admin: source changed")
    second.wait_for_line("notify-admin", "started again")
    again = second.sign_up(f"again-{address}").json()["user"]["id"]
    second.wait_for_line("notify-admin", "changed:", again)

    assert stack.mail.mails(address) == []
    assert stack.users_with(address) == []

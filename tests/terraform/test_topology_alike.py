"""Terraform and the local cloud read one file: what one takes, fills in or refuses, both do."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from emulator.topology import Topology
from tests.terraform.conftest import Plan
from tests.topologies import FILE, RELAY, SPOILT, refused_at, spoilt


@pytest.mark.parametrize(("path", "value", "named"), SPOILT)
def test_what_the_local_cloud_refuses_terraform_plan_refuses(
    plan_topology: Plan, path: str, value: object, named: str
) -> None:
    """With the file and the same place in it (tests/emulator/test_topology.py has the other)."""
    done = plan_topology(spoilt(path, value))
    assert done.returncode == 1
    told = re.sub(r"\s+", " ", done.stderr)  # terraform folds lines
    assert f"some.yaml: {refused_at(path, named)}" in told


def _expected(topology: Topology) -> dict[str, Any]:
    """What terraform/topology/outputs.tf hands out, made from the local cloud's own reading."""
    plain = msgspec.json.decode(msgspec.json.encode(topology))
    for name, function in plain["functions"].items():
        function["derived_environment"] = topology.derived_environment(name)
    subscriptions = {name: s | {"pushes_to": None} for name, s in plain["subscriptions"].items()}
    for name, push in topology.pushes.items():
        subscriptions[name] = msgspec.to_builtins(push) | {"pushes_to": name}
    return {**plain, "subscriptions": subscriptions}


def test_both_read_the_same_topology_with_the_same_defaults(
    planned: Callable[..., Any],
) -> None:
    """Every value that Terraform deploys is the one that the local cloud runs."""
    document = yaml.safe_load(FILE.read_text())
    assert planned(document)["topology"] == _expected(Topology.load(FILE))


@pytest.mark.parametrize(
    "schedule",
    ["*/5 8-17/2 1,15,20-31 JAN-MAR,12 MON-FRI", "05 00 01 01 7", "0  23 * * SUN", "59 * * * 0-7"],
)
def test_whatever_schedule_cloud_scheduler_takes_both_take(
    planned: Callable[..., Any], tmp_path: Path, schedule: str
) -> None:
    """And a number with a fraction of nothing is a whole one to both."""
    document = spoilt(f"{RELAY}.trigger.schedule", schedule)
    document["functions"]["relay-outbox"]["timeout_seconds"] = 60.0
    document["functions"]["relay-outbox"]["environment"] = {"LINES": "one\ntwo\n"}
    there = planned(document)["topology"]
    here = Topology.load(tmp_path / "some.yaml")
    assert there == _expected(here)
    assert here.functions["relay-outbox"].timeout_seconds == 60


def test_a_topology_with_nothing_but_topics_is_one(planned: Callable[..., Any]) -> None:
    """Every other section may be left out."""
    least = {"topics": {"a.topic": {}}}
    assert planned(least)["topology"] == _expected(Topology.parse(least))

"""The README's recipe for a second subscriber, as written there."""

import re
from pathlib import Path
from typing import Any

import yaml

README = (Path(__file__).parents[1] / "README.md").read_text()


def _block(language: str) -> str:
    """The README's first code block of a language, without its indentation."""
    found = re.search(rf"^   ```{language}\n(.*?)^   ```", README, re.DOTALL | re.MULTILINE)
    assert found is not None
    return "\n".join(line[3:] for line in found[1].splitlines()) + "\n"


def second_subscriber(functions: Path) -> dict[str, Any]:
    """Write its folder into `functions`; what it adds to the topology."""
    (functions / "notify_admin").mkdir()
    (functions / "notify_admin/main.py").write_text(_block("python"))
    (functions / "notify_admin/requirements.txt").write_text(_block("text"))
    added: dict[str, Any] = yaml.safe_load(_block("yaml"))
    return added

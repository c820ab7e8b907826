"""Loading a `main.py` as functions-framework does, more than once in a process."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType

import functions_framework
import hypothesis
import pytest
from werkzeug.test import Client

# The same examples every time, and no verdict on how busy the machine is.
hypothesis.settings.register_profile("unit", deadline=None, derandomize=True)
hypothesis.settings.load_profile("unit")

ROOT = Path(__file__).parents[2]

Load = Callable[..., tuple[Client, ModuleType]]


def _forget_main() -> None:
    for name in [name for name in sys.modules if name == "main" or name.startswith("main.")]:
        del sys.modules[name]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """`load(source, target, environment)`: a test client and the loaded module."""

    def load_function(
        source: str, target: str, environment: Mapping[str, str] = os.environ
    ) -> tuple[Client, ModuleType]:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        # The framework writes these three, for the process that it expects to be alone in.
        monkeypatch.setenv("FUNCTION_TARGET", target)
        monkeypatch.setenv("FUNCTION_SIGNATURE_TYPE", "http")
        monkeypatch.setattr(sys, "path", list(sys.path))
        _forget_main()
        app = functions_framework.create_app(target, ROOT / source)
        return app.test_client(), sys.modules["main"]

    yield load_function
    _forget_main()

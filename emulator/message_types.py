"""The official packages' message classes, without the clients of the packages they come in.

A package such as `google.pubsub_v1` imports all its clients first: 370 modules and 0.2 s that no
server needs, two thirds of an emulator's start. Its `types` need none of them, so the package's
own `__init__` is skipped here, and runs as usual for whoever imports it later; the messages'
classes are the same ones for both.
"""

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any


@contextmanager
def _without_init(package: str) -> Iterator[None]:
    """Inside, importing a module of `package` does not run the package's `__init__`."""
    if package in sys.modules:
        yield
        return
    spec = importlib.util.find_spec(package)
    if spec is None or spec.submodule_search_locations is None:
        raise ImportError(f"{package} is not installed")
    bare = ModuleType(package)
    bare.__path__ = list(spec.submodule_search_locations)
    sys.modules[package] = bare
    try:
        yield
    finally:
        # Not left half made: whoever imports these next gets them whole. The modules of the
        # messages themselves stay, for protobuf knows each message once.
        del sys.modules[package]
        sys.modules.pop(f"{package}.types", None)


def import_types(package: str, *modules: str) -> list[Any]:
    """The modules `package`.NAME for each of `modules`, such as "types.pubsub".

    Raises:
        ImportError: the package is not installed.
    """
    with _without_init(package):
        return [importlib.import_module(f"{package}.{module}") for module in modules]

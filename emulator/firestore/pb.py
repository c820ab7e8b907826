"""The message types of google.firestore.v1, without the clients of the package they come in.

`google.cloud.firestore_v1` imports all its clients first: two thirds of the emulator's start.
Its `types` do not need them, so the package's own `__init__` is skipped here, and runs as usual
for whoever imports it later; the messages' classes are the same ones for both.
"""

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any, Final

_PACKAGE: Final = "google.cloud.firestore_v1"


def _import_types() -> tuple[Any, Any]:
    """`types` and `types.query_profile`, whose ExplainMetrics `types` does not export."""
    names = (f"{_PACKAGE}.types", f"{_PACKAGE}.types.query_profile")
    if _PACKAGE in sys.modules:
        types, query_profile = map(importlib.import_module, names)
        return types, query_profile
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.submodule_search_locations is None:
        raise ImportError(f"{_PACKAGE} is not installed")
    bare = ModuleType(_PACKAGE)
    bare.__path__ = list(spec.submodule_search_locations)
    sys.modules[_PACKAGE] = bare
    try:
        types, query_profile = map(importlib.import_module, names)
    finally:
        # Not left half made: whoever imports these next gets them whole. The modules of the
        # messages stay, for protobuf knows each message once.
        del sys.modules[_PACKAGE]
        sys.modules.pop(f"{_PACKAGE}.types", None)
    return types, query_profile


types, query_profile = _import_types()

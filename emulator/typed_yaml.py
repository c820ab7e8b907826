"""YAML files read into msgspec types, with errors that name the place.

1. What is wrong is said with its place, such as `topics.user.created.schema.encoding`, and with
   what belongs there. Nothing else is raised, whatever the file holds.
2. A name that stands twice is an error; other readers take the last one without a word.
"""

import copy
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

T = TypeVar("T")


class MisfitError(Exception):
    """A file is not YAML, or what it says does not fit; the message names the place."""


class _Loader(yaml.SafeLoader):
    """YAML's plain data, each name once, and 60.0 as the whole number that it is."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: list[object] = []
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key!r} stands twice", key_node.start_mark
                )
            seen.append(key)
        return super().construct_mapping(node, deep)

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:
        scalar = super().construct_scalar(node)
        scalar.encode()  # half a character, "\ud800", cannot be written
        return scalar

    def construct_yaml_float(self, node: yaml.ScalarNode) -> float:
        number: float = super().construct_yaml_float(node)
        if not math.isfinite(number):
            raise yaml.constructor.ConstructorError(
                None, None, f"{node.value} is no number", node.start_mark
            )
        return int(number) if number.is_integer() else number


_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_yaml_float)


def read(path: Path) -> object:
    """What a file holds, as dicts, lists and scalars.

    Raises:
        MisfitError: it is not there, not UTF-8 or not YAML.
    """
    try:
        loader = _Loader(path.read_text(encoding="utf-8"))
        loader.name = path.name
        return loader.get_single_data()
    # PyYAML lets through what a scalar's own parser raises (ValueError for the 99th of May,
    # KeyError, AttributeError), and a RecursionError for too many brackets: the file is wrong.
    except Exception as error:
        raise MisfitError(f"cannot be read as YAML: {error or type(error).__name__}") from error


def fit(document: object, kind: type[T]) -> T:
    """The document as a value of a msgspec Struct.

    Raises:
        MisfitError: it is not one; the first place that does not fit.
    """
    try:
        return msgspec.convert(document, kind)
    except msgspec.ValidationError as error:
        raise MisfitError(_told(error, document, kind)) from error


def _told(error: msgspec.ValidationError, document: object, kind: type) -> str:
    """The place, and what is wrong there: "topics.user.created.encodin: there is no such key"."""
    what, _, at = str(error).partition(" - at ")
    # Of "`$.topics[...].schema`", or "`key` in `$.topics`", or nothing.
    *of_key, path = re.findall(r"`(.*?)`", at) or ["$"]
    steps = [*re.findall(r"\w+|\[[\d.]+\]", path), *("[...]" for _ in of_key)]
    value: Any = copy.deepcopy(document)
    whole, names = value, ""
    for step in steps:
        if step == "[...]":  # msgspec leaves out which
            name = _leave_the_wrong_one(value, whole, kind, str(error))
            value, names = value[name], f"{names}.{name}"
        elif step.startswith("["):
            value, names = value[int(step[1:-1])], names + step
        else:
            value, names = value[step], f"{names}.{step}"
    if key := re.fullmatch(r"Object (contains unknown|missing required) field `(\w+)`", what):
        names += f".{key[2]}"
        what = "is missing" if "missing" in key[1] else "there is no such key"
    elif what.startswith(("Invalid enum value", "Expected `str` matching")):
        wanted = _wanted(kind, steps, "propertyNames" if of_key else "additionalProperties")
        one_of = "one of " + ", ".join(map(str, wanted.get("enum", ())))
        what = f"Expected {wanted.get('description', one_of)}"
    return f"{names.removeprefix('.') or kind.__name__.lower()}: {what}"


def _leave_the_wrong_one(entries: dict[Any, Any], whole: object, kind: type, error: str) -> Any:
    """Take all entries out but the one that makes the error, in `whole` too; its name."""
    for name, entry in dict(entries).items():
        entries.clear()
        entries[name] = entry
        try:
            msgspec.convert(whole, kind)
        except msgspec.ValidationError as found:
            if str(found) == error:
                return name
    raise AssertionError(f"no entry alone makes: {error}")


def _wanted(kind: type, steps: Sequence[str], last: str) -> dict[str, Any]:
    """The JSON Schema of a place; `last` says which part of a mapping's, if the place is in one."""
    definitions = msgspec.json.schema(kind)["$defs"]
    schema: dict[str, Any] = definitions[kind.__name__]
    for number, step in enumerate(steps, 1):
        if step == "[...]":
            schema = schema[last if number == len(steps) else "additionalProperties"]
        elif step.startswith("["):
            schema = schema["items"]
        else:
            schema = schema["properties"][step]
        schema = schema.get("anyOf", [schema])[0]  # the other is null
        if "$ref" in schema:
            schema = definitions[schema["$ref"].rpartition("/")[2]]
    return schema

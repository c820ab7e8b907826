"""Filters: the documented examples one by one, then random expressions against an evaluator."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.errors import InvalidArgument
from emulator.pubsub.filters import parse_filter

LANGUAGE = "iana.org/language_tag"


@pytest.mark.parametrize(
    ("text", "attributes", "passes"),
    [
        ("", {}, True),
        ("  ", {"a": "b"}, True),
        ("attributes:name", {"name": ""}, True),
        ("attributes:name", {}, False),
        ("attributes:name", {"Name": "x"}, False),
        ("NOT attributes:name", {}, True),
        ("NOT attributes:name", {"name": "x"}, False),
        ('attributes.name = "com"', {"name": "com"}, True),
        ('attributes.name = "com"', {"name": "Com"}, False),
        ('attributes.name = "com"', {}, False),
        ('attributes.name = ""', {}, False),
        ('attributes.name != "com"', {"name": "net"}, True),
        ('attributes.name != "com"', {"name": "com"}, False),
        ('attributes.name != "com"', {}, True),
        ('hasPrefix(attributes.name, "co")', {"name": "com"}, True),
        ('hasPrefix(attributes.name, "co")', {"name": "org"}, False),
        ('hasPrefix(attributes.name, "co")', {}, False),
        ('hasPrefix(attributes.name, "")', {}, False),
        ('NOT hasPrefix(attributes.name, "co")', {}, True),
        (f'attributes."{LANGUAGE}" = "en"', {LANGUAGE: "en"}, True),
        (f'attributes:"{LANGUAGE}" AND NOT attributes.name = "com"', {LANGUAGE: "en"}, True),
        (
            f'attributes:"{LANGUAGE}" AND (attributes.name = "net" OR attributes.name = "org")',
            {LANGUAGE: "", "name": "org"},
            True,
        ),
        (
            f'attributes:"{LANGUAGE}" AND (attributes.name = "net" OR attributes.name = "org")',
            {"name": "org"},
            False,
        ),
        (f'attributes.name = "com" AND -attributes:"{LANGUAGE}"', {"name": "com"}, True),
        (f'attributes.name = "com" AND -attributes:"{LANGUAGE}"', {LANGUAGE: ""}, False),
        ("- (attributes:a OR attributes:b)", {"b": ""}, False),
        ('-hasPrefix(attributes.a,"x")', {"a": "y"}, True),
        ("NOT NOT attributes:a", {"a": ""}, True),
        ("NOT attributes:a AND attributes:b", {"b": ""}, True),
        ("NOT attributes:a OR attributes:b", {"a": "", "b": ""}, True),
        ("attributes:a AND attributes:b AND attributes:c", {"a": "", "b": ""}, False),
        ("attributes:a OR attributes:b OR attributes:c", {"c": ""}, True),
        ("((attributes:a))", {"a": ""}, True),
        ("attributes:my-key_2", {"my-key_2": ""}, True),
        ("attributes:-x", {"-x": ""}, True),
        ("attributes:attributes", {"attributes": ""}, True),
        (' attributes . a="1" ', {"a": "1"}, True),
        ('attributes.a\n=\t"1"', {"a": "1"}, True),
        (r'attributes:"\u307F\u3093\u306A"', {"\u307f\u3093\u306a": ""}, True),
        ('attributes:"\u307f\u3093\u306a"', {"\u307f\u3093\u306a": ""}, True),
        (r'attributes.a = "\"\\\x41\101\n\U0001F600"', {"a": '"\\AA\n\U0001f600'}, True),
        ("attributes.a = 'it'", {"a": "it"}, True),
    ],
)
def test_documented_filter(text: str, attributes: dict[str, str], passes: bool) -> None:
    """A filter passes exactly the messages that its documentation says."""
    assert parse_filter(text).matches(attributes) is passes
    assert parse_filter(text).text == text


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ('"com" = attributes.name', 0),
        ("attributes.name = attributes.website", 18),
        (r"attributes:\u307F\u3093\u306A", 11),
        ('attributes:a AND attributes.b = "x" OR attributes.b = "y"', 36),
        ("attributes:a OR attributes:b AND attributes:c", 29),
        ('attributes.name = "com" AND ("net" OR "org")', 29),
        ("this is (not a filter", 0),
        ("attributes", 10),
        ("attributes.a", 12),
        ("attributes:", 11),
        ('attributes.a == "x"', 14),
        ('attributes.a < "x"', 13),
        ("attributes.a = 1", 15),
        ('attributes.a = "x', 15),
        ('attributes:a "x"', 13),
        ("attributes:a and attributes:b", 13),
        ("not attributes:a", 0),
        ("attributes:a attributes:b", 13),
        ("attributes:a AND", 16),
        ("(attributes:a", 13),
        ("attributes:a)", 12),
        ("NOT", 3),
        ("attributes:NOT", 11),
        ('hasSuffix(attributes.a, "x")', 0),
        ('hasPrefix(attributes:a, "x")', 20),
        ("hasPrefix(attributes.a)", 22),
        ('hasPrefix("a", "x")', 10),
        ("attributes:a.b", 12),
        ("attributes:\u307f", 11),
        (r'attributes:"\q"', 12),
        (r'attributes:"\uD800"', 12),
        (r'attributes:"\UFFFFFFFF"', 12),
    ],
)
def test_fault_is_refused_with_its_position(text: str, position: int) -> None:
    """What is not the language is refused, naming the field and the place."""
    with pytest.raises(InvalidArgument, match=rf"^filter: .* at position {position}$"):
        parse_filter(text)


def test_filter_is_at_most_256_bytes() -> None:
    """Bytes count, not characters."""
    frame = 'attributes:""'
    longest = "x" * (256 - len(frame))
    assert parse_filter(f'attributes:"{longest}"').matches({longest: ""})
    with pytest.raises(InvalidArgument, match="257 bytes"):
        parse_filter(f'attributes:"{longest}x"')
    with pytest.raises(InvalidArgument, match="bytes"):
        parse_filter('attributes:"' + "\u307f" * 82 + '"')


# An expression as data: ("has", key), ("eq" | "ne" | "prefix", key, value), ("not", e),
# ("and" | "or", e, e, ...). Keys and values are few, so that they often meet.
KEYS = st.sampled_from(["a", "b-1", "c d", '"', "\u307f"])
VALUES = st.sampled_from(["", "x", "xy", "\\", "\n"])
LEAVES = st.one_of(
    st.tuples(st.just("has"), KEYS),
    st.tuples(st.sampled_from(["eq", "ne", "prefix"]), KEYS, VALUES),
)
EXPRESSIONS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.tuples(st.just("not"), inner),
        st.builds(
            lambda operator, operands: (operator, *operands),
            st.sampled_from(["and", "or"]),
            st.lists(inner, min_size=2, max_size=3),
        ),
    ),
    max_leaves=6,
)


def evaluate(expression: tuple, attributes: dict[str, str]) -> bool:
    kind, *rest = expression
    if kind == "has":
        return rest[0] in attributes
    if kind == "eq":
        return rest[0] in attributes and attributes[rest[0]] == rest[1]
    if kind == "ne":
        return not (rest[0] in attributes and attributes[rest[0]] == rest[1])
    if kind == "prefix":
        return rest[0] in attributes and attributes[rest[0]].startswith(rest[1])
    if kind == "not":
        return not evaluate(rest[0], attributes)
    results = [evaluate(each, attributes) for each in rest]
    return all(results) if kind == "and" else any(results)


def written(expression: tuple) -> str:
    kind, *rest = expression
    if kind in ("has", "eq", "ne", "prefix"):
        key = rest[0] if rest[0] in ("a", "b-1") else json.dumps(rest[0])
        if kind == "has":
            return f"attributes:{key}"
        value = json.dumps(rest[1])
        if kind == "prefix":
            return f"hasPrefix(attributes.{key},{value})"
        return f"attributes.{key}{'=' if kind == 'eq' else '!='}{value}"
    if kind == "not":
        return f"NOT {bracketed(rest[0])}"
    return f" {kind.upper()} ".join(bracketed(each) for each in rest)


def bracketed(expression: tuple) -> str:
    return f"({written(expression)})" if expression[0] in ("and", "or") else written(expression)


@given(EXPRESSIONS, st.dictionaries(KEYS, VALUES))
def test_random_filter_agrees_with_a_direct_evaluation(
    expression: tuple, attributes: dict[str, str]
) -> None:
    """Reading what was written gives the meaning it was written from."""
    text = written(expression)
    if len(text.encode()) > 256:
        with pytest.raises(InvalidArgument, match="bytes"):
            parse_filter(text)
    else:
        assert parse_filter(text).matches(attributes) is evaluate(expression, attributes)


@given(st.text(alphabet='attributes:."=!()-\\ AND', max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    """No text makes the parser fail in another way."""
    try:
        read = parse_filter(text)
    except InvalidArgument as error:
        refusal = error.message
    else:
        refusal = "filter: " if read.text == text else ""
    assert refusal.startswith("filter: ")

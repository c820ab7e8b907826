r"""The filter of a subscription: which messages, by their attributes, it wants at all.

    attributes:KEY                      the key is there
    attributes.KEY = "v"                the key is there with this value
    attributes.KEY != "v"               not (attributes.KEY = "v"), so also true without the key
    hasPrefix(attributes.KEY, "v")      the key is there and its value starts with this
    NOT x, -x, x AND y, x OR y, (x)     operators in capitals; NOT binds tightest

1. AND and OR meet only through parentheses: `a AND b OR c` is refused, as the service does.
2. A key of letters, digits, `-` and `_` stands bare; any other is a string literal.
3. Keys and values are compared exactly; a value is always a string literal, in double
   (or single) quotes. Inside: `\\ \" \' \n ...`, `\x41`, `\101`, `\u307F`, `\U0001F600`.
4. At most 256 bytes. An empty filter lets everything through.
5. A filter that cannot be read is refused whole, with the position of the first fault.

Source: https://cloud.google.com/pubsub/docs/subscription-message-filter ("Syntax to create a
filter"). `!=` without the key and escapes as in AIP-160 and pstest of google-cloud-go.
"""

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from emulator.errors import InvalidArgument

MAX_FILTER_BYTES = 256

Predicate = Callable[[Mapping[str, str]], bool]

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
      | (?P<symbol>!=|[=:.,()])
      | (?P<word>[A-Za-z0-9_-]+)
      | (?P<end>\Z)
    )""",
    re.VERBOSE,
)
_ESCAPE = re.compile(
    r"""\\(?:
        (?P<simple>["'\\?`abfnrtv])
      | [xX](?P<hex>[0-9A-Fa-f]{2})
      | (?P<octal>[0-3][0-7]{2})
      | u(?P<u4>[0-9A-Fa-f]{4})
      | U(?P<u8>[0-9A-Fa-f]{8})
      | (?P<bad>.)
    )""",
    re.VERBOSE,
)
_SIMPLE = dict(zip("abfnrtv", "\a\b\f\n\r\t\v", strict=True))
_KEYWORDS = frozenset({"AND", "OR", "NOT"})


class Filter:
    """A filter that was read: `text` as given, `matches` says whether a message passes."""

    __slots__ = ("_predicate", "text")

    def __init__(self, text: str, predicate: Predicate | None) -> None:
        self.text = text
        self._predicate = predicate

    def __repr__(self) -> str:
        return f"Filter({self.text!r})"

    def matches(self, attributes: Mapping[str, str]) -> bool:
        """Whether a message with these attributes is delivered."""
        return self._predicate is None or self._predicate(attributes)


class _Token(NamedTuple):
    kind: str  # string, symbol, word, end
    text: str  # of a string literal: its value
    position: int


def parse_filter(text: str) -> Filter:
    """The filter that `text` describes; an empty or blank one lets everything through.

    Raises:
        InvalidArgument: longer than 256 bytes, or not the language; with the position.
    """
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_FILTER_BYTES:
        raise InvalidArgument(f"filter: {size} bytes, and at most {MAX_FILTER_BYTES} are allowed")
    if not text.strip():
        return Filter(text, None)
    parser = _Parser(text)
    return Filter(text, parser.whole())


def _refused(position: int, why: str) -> InvalidArgument:
    return InvalidArgument(f"filter: {why} at position {position}")


def _literal(body: str, position: int) -> str:
    """The value of a string literal, given what stands between its quotes."""

    def value(match: re.Match[str]) -> str:
        kind = match.lastgroup or ""
        digits = match[kind]
        if kind == "simple":
            return _SIMPLE.get(digits, digits)
        if kind == "bad":
            raise _refused(position + match.start(), f"unknown escape {match[0]!r}")
        code = int(digits, 8 if kind == "octal" else 16)
        if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
            raise _refused(position + match.start(), f"{match[0]} is not a character")
        return chr(code)

    return _ESCAPE.sub(value, body)


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    at = 0
    while not found or found[-1].kind != "end":
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            at += len(text[at:]) - len(text[at:].lstrip())
            raise _refused(at, f"unexpected {text[at]!r}")
        kind = match.lastgroup
        start = match.start(kind)
        value = match[kind]
        if kind == "string":
            value = _literal(value[1:-1], start + 1)
        at = match.end()
        found.append(_Token(kind, value, start))
    return found


class _Parser:
    """Recursive descent: whole = terms; terms = factor {AND factor} | factor {OR factor}."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._next = 0

    @property
    def _token(self) -> _Token:
        return self._tokens[self._next]

    def _unexpected(self, wanted: str) -> InvalidArgument:
        token = self._token
        seen = "the end" if token.kind == "end" else repr(token.text)
        return _refused(token.position, f"expected {wanted}, found {seen}")

    def _accept(self, kind: str, text: str) -> bool:
        if self._token.kind == kind and self._token.text == text:
            self._next += 1
            return True
        return False

    def _expect(self, text: str) -> None:
        if not self._accept("symbol", text):
            raise self._unexpected(repr(text))

    def whole(self) -> Predicate:
        predicate = self._terms()
        if self._token.kind != "end":
            raise self._unexpected("AND, OR or the end")
        return predicate

    def _terms(self) -> Predicate:
        predicates = [self._factor()]
        operator = ""
        while self._token.kind == "word" and self._token.text in ("AND", "OR"):
            if operator and self._token.text != operator:
                raise _refused(self._token.position, "AND and OR need parentheses between them")
            operator = self._token.text
            self._next += 1
            predicates.append(self._factor())
        if len(predicates) == 1:
            return predicates[0]
        if operator == "AND":
            return lambda attributes: all(each(attributes) for each in predicates)
        return lambda attributes: any(each(attributes) for each in predicates)

    def _minus(self) -> bool:
        """Take a unary minus: written against its operand, it is the head of that word."""
        token = self._token
        if token.kind != "word" or token.text[0] != "-":
            return False
        if token.text == "-":
            self._next += 1
        else:
            rest = _Token("word", token.text[1:], token.position + 1)
            self._tokens[self._next] = rest
        return True

    def _factor(self) -> Predicate:
        if self._accept("word", "NOT") or self._minus():
            inner = self._factor()
            return lambda attributes: not inner(attributes)
        if self._accept("symbol", "("):
            inner = self._terms()
            self._expect(")")
            return inner
        if self._accept("word", "hasPrefix"):
            return self._has_prefix()
        if self._accept("word", "attributes"):
            return self._comparison()
        raise self._unexpected("attributes, hasPrefix, NOT or '('")

    def _has_prefix(self) -> Predicate:
        self._expect("(")
        if not self._accept("word", "attributes"):
            raise self._unexpected("attributes.KEY")
        self._expect(".")
        key = self._key()
        self._expect(",")
        prefix = self._value()
        self._expect(")")
        return lambda attributes: key in attributes and attributes[key].startswith(prefix)

    def _comparison(self) -> Predicate:
        if self._accept("symbol", ":"):
            key = self._key()
            return lambda attributes: key in attributes
        if not self._accept("symbol", "."):
            raise self._unexpected("':' or '.'")
        key = self._key()
        if self._accept("symbol", "="):
            value = self._value()
            return lambda attributes: attributes.get(key) == value
        if self._accept("symbol", "!="):
            value = self._value()
            return lambda attributes: attributes.get(key) != value
        raise self._unexpected("'=' or '!='")

    def _key(self) -> str:
        token = self._token
        if token.kind == "string" or (token.kind == "word" and token.text not in _KEYWORDS):
            self._next += 1
            return token.text
        raise self._unexpected("a key")

    def _value(self) -> str:
        token = self._token
        if token.kind != "string":
            raise self._unexpected("a string in double quotes")
        self._next += 1
        return token.text

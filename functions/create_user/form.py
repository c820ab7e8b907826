"""The sign-up form: an untrusted JSON object in, a `NewUser` or all its mistakes out. Pure.

    {"name": "Ada Lovelace", "email": "ada@example.com", "password": "...",
     "company": "Analytical Engines", "locale": "en-GB"}         the last two may be left out

Rules:
1. Every mistake is reported at once, each with its field, a stable code and a sentence. No
   sentence repeats a value.
2. One address, one form: IDNA domain in ASCII, lower case. The part before the @ is ASCII, or it
   would need SMTPUTF8 on the whole way; so KELVIN SIGN, whose lower case is `k`, cannot reach
   another's claim. Invisible characters are refused, not removed.
3. A name is what people call themselves: any letters, in any script; no line ends, no control
   or direction-changing characters.
"""

import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from email_validator import EmailNotValidError, validate_email

from shared.events import is_address, is_locale

from .passwords import find_problem, normalise

NAME_LENGTH = 100
DEFAULT_LOCALE = "en"
_FIELDS = ("name", "email", "password", "company", "locale")
# Control, surrogate, private use, unassigned, line separator, paragraph separator, format.
_NOT_IN_NAMES = {"Cc", "Cs", "Co", "Cn", "Zl", "Zp", "Cf"}
# The format characters that names need: Persian and Indic spelling, and emoji.
_JOINERS = "\u200c\u200d"


@dataclass(frozen=True, slots=True)
class FieldError:
    """One mistake."""

    field: str
    code: str
    message: str


class InvalidForm(Exception):
    """The form has mistakes."""

    def __init__(self, errors: list[FieldError]) -> None:
        super().__init__("invalid form")
        self.errors = errors


@dataclass(frozen=True, slots=True)
class NewUser:
    """A form without mistakes, every field as it is stored, the password normalised but plain."""

    name: str
    email: str
    company: str | None
    locale: str
    password: str = field(repr=False)


def parse(body: Mapping[str, Any], password_min_length: int) -> NewUser:
    """The new user that `body` describes.

    Raises:
        InvalidForm: with every mistake found.
    """
    errors = [_unknown(key) for key in body if key not in _FIELDS]

    def take(name: str, clean: Callable[[str], str], *, optional: bool = False) -> str:
        value = body.get(name)
        if value is None and optional:
            return ""
        try:
            if value is None:
                raise _Mistake("missing", "is required")
            if not isinstance(value, str):
                raise _Mistake("wrong_type", "must be text")
            return clean(value)
        except _Mistake as mistake:
            errors.append(FieldError(name, mistake.code, mistake.message))
            return ""

    name = take("name", _name)
    email = take("email", _address)
    company = take("company", _name, optional=True)
    locale = take("locale", _locale, optional=True)

    def strong(value: str) -> str:
        password = normalise(value)
        problem = find_problem(password, password_min_length, (name, email, company))
        if problem is not None:
            raise _Mistake(problem.code, problem.message)
        return password

    password = take("password", strong)
    if errors:
        raise InvalidForm(errors)
    return NewUser(name, email, company or None, locale or DEFAULT_LOCALE, password)


class _Mistake(Exception):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(code)
        self.code = code
        self.message = message


def _unknown(key: str) -> FieldError:
    # An unknown key is text from outside: it is repeated only when it looks like a key.
    shown = key if key.isidentifier() and key.isascii() and len(key) <= 32 else "?"
    return FieldError(shown, "unknown_field", "is not a field of a sign-up")


def _name(value: str) -> str:
    tidy = unicodedata.normalize("NFC", value).strip(" ")
    if any(unicodedata.category(c) in _NOT_IN_NAMES and c not in _JOINERS for c in tidy):
        raise _Mistake("invalid_characters", "has control or invisible characters")
    if not tidy.strip(_JOINERS):
        raise _Mistake("too_short", "is empty")
    if len(tidy) > NAME_LENGTH:
        raise _Mistake("too_long", f"has more than {NAME_LENGTH} characters")
    return tidy


def _address(value: str) -> str:
    try:
        valid = validate_email(value, strict=True, allow_smtputf8=False, check_deliverability=False)
        address = f"{valid.local_part}@{valid.ascii_domain}".lower()
    except EmailNotValidError:
        address = ""
    # The library's text may quote the address, and changes: ours does neither. What it accepts,
    # an event must be able to carry.
    if not is_address(address):
        raise _Mistake("invalid_email", "is not an address that mail can be sent to")
    return address


def _locale(value: str) -> str:
    if not is_locale(value):
        raise _Mistake("invalid_locale", "is not a language tag such as en or pt-BR")
    return value

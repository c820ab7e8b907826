"""The sign-up form: every mistake named, none repeated, one address in one form."""

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from create_user.form import InvalidForm, NewUser, parse
from shared.events import decode, encode, is_address
from tests.unit.fakes import ENCODINGS, user_created

GOOD = {"name": "Ada Lovelace", "email": "ada@example.com", "password": "a long pass phrase"}


def codes(**changes: Any) -> list[tuple[str, str]]:
    with pytest.raises(InvalidForm) as caught:
        parse(GOOD | changes, 8)
    return [(error.field, error.code) for error in caught.value.errors]


def test_the_optional_fields_have_defaults() -> None:
    """No company, and English; null is the same as absent."""
    expected = NewUser("Ada Lovelace", "ada@example.com", None, "en", "a long pass phrase")
    assert parse(GOOD, 8) == expected
    assert parse(GOOD | {"company": None, "locale": None}, 8) == expected


def test_every_mistake_is_reported_at_once() -> None:
    """One round trip shows all of them."""
    assert codes(name="", email="x", password="short", company=7, locale="!", extra=1) == [
        ("extra", "unknown_field"),
        ("name", "too_short"),
        ("email", "invalid_email"),
        ("company", "wrong_type"),
        ("locale", "invalid_locale"),
        ("password", "too_short"),
    ]


@pytest.mark.parametrize("field", ["name", "email", "password"])
def test_a_required_field_is_missed(field: str) -> None:
    """Absent and null alike."""
    assert codes(**{field: None}) == [(field, "missing")]


@pytest.mark.parametrize("value", [1, True, [], {}, 1.5, ["a"]])
def test_a_field_that_is_not_text_is_refused(value: Any) -> None:
    """No value is turned into text on the way."""
    assert codes(name=value, email=value, password=value) == [
        ("name", "wrong_type"),
        ("email", "wrong_type"),
        ("password", "wrong_type"),
    ]


@pytest.mark.parametrize(
    ("given_form", "stored"),
    [
        ("Ada@Example.COM", "ada@example.com"),
        ("ada@bücher.de", "ada@xn--bcher-kva.de"),
        ("ada@ex\u212a.com", "ada@exk.com"),
        ("a/b@example.com", "a/b@example.com"),
        ("o'brien+x@example.com", "o'brien+x@example.com"),
    ],
)
def test_an_address_has_one_stored_form(given_form: str, stored: str) -> None:
    """ASCII, lower case: what looks the same to DNS is the same claim."""
    assert parse(GOOD | {"email": given_form}, 8).email == stored


@pytest.mark.parametrize(
    "address",
    [
        "\u212aate@example.com",
        "jos\u00e9@example.com",
        "ada@exa\u00admple.com",
        "ada\u200b@example.com",
        "ada@example.com\r\nBcc: x@example.com",
        "ada@example.com, eve@example.com",
        "Ada <ada@example.com>",
        '"a b"@example.com',
        "ada@[127.0.0.1]",
        "ada@localhost",
        "ada@example.com ",
        "..@example.com",
        "ada",
        "@",
        "",
        "a" * 65 + "@example.com",
        "ada@" + "a." * 130 + "com",
        "ada@example.com\x00",
    ],
)
def test_an_address_that_mail_cannot_safely_go_to_is_refused(address: str) -> None:
    """KELVIN SIGN before the @ included: its lower case is another's k."""
    assert codes(email=address) == [("email", "invalid_email")]


@pytest.mark.parametrize("name", ["Ada\r\nBcc: eve@example.com", "Ada\u2028", "A\x00", "A\u202eb"])
def test_a_name_with_line_ends_or_controls_is_refused(name: str) -> None:
    """A name is one line and reads in its own direction."""
    assert codes(name=name) == [("name", "invalid_characters")]


@pytest.mark.parametrize(
    "name", ["Zoë", "مریم‌السادات", "O'Brien, Jr.", "李小龙", "<script>", "{{7*7}}", "👩‍💻"]
)
def test_a_name_in_any_script_is_kept(name: str) -> None:
    """What a name may look like is not ours to say."""
    assert parse(GOOD | {"name": f" {name} "}, 8).name == name


def test_a_name_is_neither_endless_nor_empty() -> None:
    """100 characters at most; joiners alone are nothing."""
    assert codes(name="x" * 101) == [("name", "too_long")]
    assert codes(name=" \u200d ") == [("name", "too_short")]


def test_a_key_that_is_not_a_word_is_not_repeated() -> None:
    """An unknown key is text from outside."""
    assert codes(**{"<b>": 1}) == [("?", "unknown_field")]


@given(
    st.dictionaries(
        st.one_of(st.sampled_from(["name", "email", "password", "company", "locale"]), st.text()),
        st.one_of(st.text(), st.none(), st.integers(), st.lists(st.text())),
    )
)
def test_any_object_is_accepted_or_refused_by_name(body: dict[str, Any]) -> None:
    """Nothing else comes out than a NewUser or an InvalidForm."""
    with contextlib.suppress(InvalidForm):
        assert is_address(parse(body, 8).email)


@given(st.emails())
def test_what_the_form_accepts_an_event_can_carry(address: str) -> None:
    """No user is created whose event a subscriber would have to refuse."""
    with contextlib.suppress(InvalidForm):
        user = parse(GOOD | {"email": address}, 8)
        event = user_created(email=user.email, name=user.name, locale=user.locale)
        for encoding in ENCODINGS:
            assert decode(encode(event, "/source", encoding)) == event

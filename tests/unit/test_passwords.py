"""Passwords: accepted or refused cleanly, and hashed whole."""

import bcrypt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from create_user.passwords import Hasher, find_problem, normalise, prehash
from tests.unit.fakes import KEY, KEYS

PERSON = ("Ada Lovelace", "ada.byron@example.com")


def code(password: str, min_length: int = 8) -> str | None:
    problem = find_problem(normalise(password), min_length, PERSON)
    return problem.code if problem else None


@pytest.mark.parametrize(
    "password",
    [
        "x7yq" * 17 + "abc",
        "x7yq" * 18,
        "x7yq" * 18 + "!",
        "x7y!" * 25,
        "x7y!" * 256,
        "🐎🔋📎🧷🐎🔋📎🧷",
        "with\x00a NUL inside",
        "cafe\u0301 society 9",
        "caf\u00e9 society 9",
        "correct horse battery",
    ],
    ids=["71", "72", "73", "100", "1024", "emoji", "NUL", "NFD", "NFC", "phrase"],
)
def test_a_password_of_any_length_and_script_is_accepted_and_hashed(password: str) -> None:
    """Above bcrypt's 72 bytes, with NUL, and outside the BMP."""
    assert code(password) is None
    stored = Hasher(KEYS, cost=4).hash(normalise(password))
    assert bcrypt.checkpw(prehash(normalise(password), KEY), stored.hash.encode())


@pytest.mark.parametrize(
    ("password", "expected"),
    [
        ("", "too_short"),
        ("x7y!z9q", "too_short"),
        ("x7y!" * 256 + "z", "too_long"),
        ("password", "too_common"),
        ("Password1!", "too_common"),
        ("P@ssw0rd123", "too_common"),
        ("qwertyuiop", "too_common"),
        ("12345678", "too_common"),
        ("Monkey2024", "too_common"),
        ("aaaaaaaaaaaa", "too_common"),
        ("😀😀😀😀😀😀😀😀", "too_common"),
        ("adalovelace", "too_personal"),
        ("Ada-Lovelace-1815", "too_personal"),
        ("ada.byron@example.com", "too_personal"),
        ("lovelace!!!!", "too_personal"),
    ],
)
def test_a_password_that_is_guessed_early_is_refused(password: str, expected: str) -> None:
    """Short, long, common, or the person's own."""
    assert code(password) == expected


@pytest.mark.parametrize("password", ["my monkey eats 12 plums", "Lovelace wrote notes A to G"])
def test_a_common_word_inside_a_phrase_is_no_fault(password: str) -> None:
    """What counts is what is left to guess."""
    assert code(password) is None


def test_the_minimum_is_configurable_and_counts_code_points() -> None:
    """15 for a password that is the only factor; an emoji counts once, a composed letter too."""
    assert code("x7y!z9qx7y!z9", 15) == "too_short"
    assert code("e\u0301x7y!z9q", 8) is None
    assert code("e\u0301x7y!z9", 8) == "too_short"


def test_the_same_password_typed_on_two_keyboards_is_the_same() -> None:
    """NFD and NFC hash alike."""
    assert prehash(normalise("cafe\u0301"), KEY) == prehash(normalise("caf\u00e9"), KEY)


def test_passwords_that_differ_after_byte_72_differ() -> None:
    """Truncation would make them one."""
    stored = Hasher(KEYS, cost=4).hash("x7y" * 24 + "A")
    assert not bcrypt.checkpw(prehash("x7y" * 24 + "B", KEY), stored.hash.encode())


def test_the_record_describes_itself() -> None:
    """Algorithm, version, cost and pepper, so that each can change."""
    document = Hasher(KEYS, cost=4).hash("anything").document()
    assert document.pop("hash") != "anything"
    assert document == {"alg": "bcrypt-hmac-sha256", "v": 1, "cost": 4, "pepper_kid": "k1"}


@given(st.text())
def test_bcrypt_is_given_44_bytes_without_nul(password: str) -> None:
    """Whatever the password."""
    secret = prehash(normalise(password), KEY)
    assert len(secret) == 44
    assert 0 not in secret


@given(st.text(), st.text(), st.text())
def test_the_rules_answer_for_any_text(password: str, name: str, email: str) -> None:
    """A code or None, never an exception."""
    problem = find_problem(normalise(password), 8, (name, email))
    assert problem is None or problem.code.startswith("too_")

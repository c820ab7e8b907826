"""The mail: one recipient, no header of anyone else's making, no live markup, always the same."""

from email import message_from_bytes, policy
from email.headerregistry import Address
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from send_email.message import build, clean_name, link, load_templates
from tests.unit.fakes import user_created

SENDER = Address("Sign-up", "no-reply", "example.com")
TEMPLATES = load_templates()
LINK = "https://accounts.example.com/verify?token=abc.def.ghi"
HEADERS = [
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "Auto-Submitted",
    "MIME-Version",
    "Content-Type",
]


def mail_for(name: str) -> EmailMessage:
    mail = build(TEMPLATES, user_created(name=name), SENDER, LINK, 48)
    parsed = message_from_bytes(mail.content, policy=policy.default)
    assert isinstance(parsed, EmailMessage)
    return parsed


def part(mail: EmailMessage, kind: str) -> str:
    body = mail.get_body((kind,))
    assert body is not None
    return str(body.get_content()).replace("\r\n", "\n")


def assert_sound(mail: EmailMessage) -> None:
    assert mail.keys() == HEADERS
    (recipient,) = mail["To"].addresses
    assert str(recipient) == "ada@example.com", "a name in To is a way into the headers"
    assert mail["From"].addresses[0].addr_spec == "no-reply@example.com"
    assert LINK in part(mail, "plain")
    assert LINK in part(mail, "html")


HOSTILE = {
    "CR LF": "Ada\r\nBcc: eve@example.com",
    "LF": "Ada\nX-Evil: 1",
    "comma": "Ada, eve@example.com",
    "address": 'Ada" <eve@example.com>, "',
    "U+2028": "Ada\u2028Bcc: eve@example.com",
    "NEL": "Ada\u0085Bcc: eve@example.com",
    "NUL": "Ada\x00",
    "surrogate": "Ada\ud800",
    "script": "<script>alert(1)</script>",
    "template": "{{7*7}}{% for x in y %}",
    "encoded word": "=?utf-8?q?Ada=0D=0ABcc:_eve=40example.com?=",
    "encoded word in one": "Ada =?utf-8?b?DQpCY2M6IGV2ZUBleGFtcGxlLmNvbQ==?= Eve",
    "encoded word, doubled": "==??utf-8?q?=0D=0ABcc:_eve=40example.com?=",
    "folded": "Ada, " + "x" * 80 + ";",
    "direction": "\u202eadA",
    "empty": "",
    "spaces": " \t\r\n",
    "long": "x" * 1000,
    "long words": "ö" * 300 + " " + "é" * 300,
    "backslash": "Ada\\",
    "quote": 'Ada "the\\" countess"',
    "emoji": "👩‍💻" * 40,
}


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_name_changes_nothing_but_the_greeting(name: str) -> None:
    """The same headers, the same one recipient, the link in both parts."""
    assert_sound(mail_for(name))


PIECES = [
    "=?utf-8?q?",
    "=?utf-8?b?",
    "?=",
    "=0D=0A",
    "\r\n",
    '"',
    "\\",
    "<",
    ">",
    "@",
    ",",
    " ",
    "(",
]


@given(
    st.lists(
        st.sampled_from(PIECES) | st.text(st.characters(exclude_categories=[]), max_size=20),
        max_size=12,
    ).map("".join)
)
def test_any_name_makes_a_sound_mail(name: str) -> None:
    """No name is a poison message."""
    assert_sound(mail_for(name))


def test_markup_in_a_name_is_dead_and_template_syntax_is_text() -> None:
    """Escaped in HTML, as typed in text, evaluated in neither."""
    mail = mail_for("<script>{{7*7}}</script>")
    assert "<script>" not in part(mail, "html")
    assert "&lt;script&gt;{{7*7}}" in part(mail, "html")
    assert "<script>{{7*7}}</script>" in part(mail, "plain")
    assert "49" not in part(mail, "html")


def test_a_name_in_any_script_is_greeted() -> None:
    """Zoë is Zoë in text and HTML."""
    mail = mail_for("Zoë 李")
    assert "Hello Zoë 李," in part(mail, "plain")
    assert "Hello Zoë 李," in part(mail, "html")


def test_a_name_that_is_none_is_not_greeted() -> None:
    """Hello, and a comma."""
    assert "Hello,\n" in part(mail_for("\r\n"), "plain")
    assert clean_name("\u2028 \x00") == ""


def test_the_mail_is_the_same_every_time_it_is_built() -> None:
    """Bytes, boundary, Date and Message-ID come from the event."""
    first = build(TEMPLATES, user_created(), SENDER, LINK, 48)
    assert first == build(TEMPLATES, user_created(), SENDER, LINK, 48)
    mail = message_from_bytes(first.content, policy=policy.default)
    assert mail["Message-ID"] == first.message_id == "<e-1.verify_email@example.com>"
    assert mail["Date"].datetime == user_created().created_time
    assert mail["Auto-Submitted"] == "auto-generated"


def test_the_mail_is_ascii_with_crlf_and_short_lines() -> None:
    """Any server can take it as it is."""
    content = build(TEMPLATES, user_created(name="é" * 100), SENDER, LINK + "x" * 900, 48).content
    assert content.isascii()
    assert b"\n" not in content.replace(b"\r\n", b"")
    assert max(map(len, content.splitlines())) <= 998


def test_a_token_is_quoted_into_its_link() -> None:
    """Nothing in it can end the parameter."""
    assert link("https://x.example/verify", "a&b=#") == "https://x.example/verify?token=a%26b%3D%23"

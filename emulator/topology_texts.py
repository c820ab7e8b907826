"""What the texts of a topology look like: names, variables, schedules, fields.

Each pattern is here alone: `make generate` takes it to Terraform in terraform/topology/schema.json.
So it has to mean the same to Python's `re` and to RE2, which knows no lookahead. `description` is
what an error says in place of the pattern.
"""

from typing import Annotated

from msgspec import Meta


def _like(pattern: str, description: str) -> Meta:
    # Not `$`, which lets a line break follow in Python alone: see `json_schema`.
    return Meta(pattern=rf"^(?:{pattern})\Z", description=description)


def _unix_cron() -> str:
    months = "JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC"
    days = "SUN|MON|TUE|WED|THU|FRI|SAT"
    ones = (
        "[0-5]?[0-9]",
        "[01]?[0-9]|2[0-3]",
        "0?[1-9]|[12][0-9]|3[01]",
        f"0?[1-9]|1[0-2]|{months}",
        f"[0-7]|{days}",
    )
    terms = (rf"(?:(?:\*|(?:{one})-(?:{one}))(?:/0*[1-9][0-9]*)?|{one})" for one in ones)
    return " +".join(f"{term}(?:,{term})*" for term in terms)


# https://cloud.google.com/pubsub/docs/pubsub-basics#resource_names
PubsubName = Annotated[
    str,
    _like(
        "[A-Za-z][A-Za-z0-9._~+%-]{2,254}",
        "3 to 255 letters, digits and -._~+%, a letter first",
    ),
]
# https://cloud.google.com/iam/docs/service-accounts-create: 30 characters, `call-` among them.
FunctionName = Annotated[
    str,
    _like(
        "[a-z][a-z0-9-]{4,23}[a-z0-9]",
        "6 to 25 lower-case letters, digits and hyphens: it names accounts",
    ),
]
# https://cloud.google.com/secret-manager/docs/reference/rest/v1/projects.secrets/create
SecretName = Annotated[
    str, _like("[A-Za-z0-9_-]{1,255}", "1 to 255 letters, digits, hyphens and underscores")
]
Variable = Annotated[
    str,
    _like("[A-Z][A-Z0-9_]*", "capital letters, digits and underscores, a letter first"),
]
# Line breaks reach a function as they are, here and there; no environment can hold a NUL.
Value = Annotated[str, _like(r"[^\x00]*", "text without NUL")]
# https://cloud.google.com/scheduler/docs/configuring/cron-job-schedules
Schedule = Annotated[str, _like(_unix_cron(), "unix-cron, such as */5 8-17 * * MON-FRI")]
Folder = Annotated[
    str,
    _like("[A-Za-z0-9][A-Za-z0-9_-]*", "one folder's name: letters, digits, hyphens, underscores"),
]
Definition = Annotated[
    str,
    _like(r"[A-Za-z0-9_-]+(?:/[A-Za-z0-9_-]+)*\.proto", "a path such as shared/user_created.proto"),
]
Identifier = Annotated[str, _like("[A-Za-z_][A-Za-z0-9_]*", "the name of a function in Python")]
# https://cloud.google.com/firestore/quotas#collections_documents_and_fields, without the names
# that are Firestore's own (`__name__`) and those that would have to be quoted.
Collection = Annotated[
    str,
    _like("[A-Za-z][A-Za-z0-9_-]*", "letters, digits, hyphens and underscores, a letter first"),
]
_SEGMENT = "_?[A-Za-z][A-Za-z0-9_]*"
_PATH = rf"{_SEGMENT}(?:\.{_SEGMENT})*"
FieldPath = Annotated[str, _like(_PATH, "a field, or a path such as address.city")]
FieldPathOrAll = Annotated[
    str, _like(rf"\*|{_PATH}", 'a field, a path such as address.city, or "*"')
]

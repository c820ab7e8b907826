"""The checks of terraform/ turn red: each of these mistakes would deploy, and fail in silence."""

import re
from dataclasses import dataclass

import pytest

from tests.terraform.conftest import PRODUCTION, Checked

GRANTS = ("test", "-filter=tests/grants.tftest.hcl")
DEPLOYMENT = ("test", "-filter=tests/deployment.tftest.hcl")
PLAN = ("plan", *PRODUCTION)


@dataclass(frozen=True)
class Mutant:
    """One change of one file, as a regular expression, and the check that has to notice."""

    file: str
    pattern: str
    becomes: str
    check: tuple[str, ...]
    says: str


def _without(kind: str, name: str) -> str:
    return rf'resource "{kind}" "{name}" {{\n.*?\n}}\n'


MUTANTS = {
    "Pub/Sub may not sign a push": Mutant(
        "iam.tf", _without("google_service_account_iam_member", "push_token"), "", GRANTS,
        "push_token",
    ),
    "Pub/Sub may not publish dead letters": Mutant(
        "iam.tf", _without("google_pubsub_topic_iam_member", "dead_letter"), "", GRANTS,
        "dead_letter",
    ),
    "Pub/Sub may not take a dead letter from its subscription": Mutant(
        "iam.tf", _without("google_pubsub_subscription_iam_member", "dead_letter"), "", GRANTS,
        "dead_letter",
    ),
    "a push may not call its function": Mutant(
        "iam.tf", _without("google_cloud_run_v2_service_iam_member", "caller"), "", GRANTS,
        "caller",
    ),
    "send-email is open to allUsers": Mutant(
        "iam.tf", r"length\(var.invokers\) == 0 \? {} : local.http", "local.functions", GRANTS,
        "invokers may call something else",
    ),
    "allUsers may call instead of the push": Mutant(
        "iam.tf", r"each\.value\.member\n\n  lifecycle", '"allUsers"\n\n  lifecycle', GRANTS,
        "Someone else may call",
    ),
    "send-email is open to allUsers by a resource of its own": Mutant(
        "iam.tf", r"\Z", """
            resource "google_cloud_run_v2_service_iam_member" "open" {
              name   = google_cloudfunctions2_function.function["send-email"].name
              role   = "roles/run.invoker"
              member = "allUsers"
            }
        """, GRANTS, "Something is open to everyone",
    ),
    "a secret's value in the state": Mutant(
        "secrets.tf", r"\Z", """
            resource "google_secret_manager_secret_version" "first" {
              secret      = google_secret_manager_secret.secret["jwt-keys"].id
              secret_data = "x"
            }
        """, GRANTS, "would stand in the state",
    ),
    "send-email can be reached from the Internet": Mutant(
        "functions.tf", r'each.value.trigger.http \? "ALLOW_ALL" : "ALLOW_INTERNAL_ONLY"',
        '"ALLOW_ALL"', GRANTS, "can be reached from the Internet",
    ),
    "an ack deadline below the timeout": Mutant(
        "topology.yaml", r"push:(.*?)ack_deadline_seconds: 60", r"push:\1ack_deadline_seconds: 20",
        PLAN, "longer than the ack deadline",
    ),
    "a misspelt argument": Mutant(
        "pubsub.tf", "ack_deadline_seconds  ", "ack_deadline_second  ", ("validate",),
        "ack_deadline_second",
    ),
    "a misspelt key of the topology": Mutant(
        "topology.yaml", "minimum_backoff_seconds", "minimum_backof_seconds", PLAN,
        "minimum_backof_seconds: there is no such key",
    ),
    "a dead-letter topic without its subscription": Mutant(
        "topology.yaml", r"subscriptions: #.*?# 31 d\n", "", PLAN, "it would be lost",
    ),
    "a subscription that expires": Mutant(
        "pubsub.tf", 'ttl = ""', 'ttl = "2678400s"', DEPLOYMENT, "or expires",
    ),
    "a change that is not deployed": Mutant(
        "functions.tf", r"\$\{each.key\}-\$\{each.value.output_sha256\}.zip", "${each.key}.zip",
        DEPLOYMENT, "would not be deployed",
    ),
    "a secret version that moves by itself": Mutant(
        "functions.tf", r"version = lookup\(.*?\)", 'version = "latest"', DEPLOYMENT,
        "at the version in use",
    ),
    "a token for someone else": Mutant(
        "pubsub.tf", r"audience  .*?\n", 'audience = "https://example.com"\n', DEPLOYMENT,
        "its token is for someone else",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mistake_turns_the_check_red(checked: Checked, name: str) -> None:
    """By what it breaks, not by something else."""
    mutant = MUTANTS[name]
    file = checked.terraform / mutant.file
    spoilt, count = re.subn(mutant.pattern, mutant.becomes, file.read_text(), flags=re.DOTALL)
    assert count, "the pattern finds nothing"
    file.write_text(spoilt)
    done = checked.run(*mutant.check, "-no-color")
    assert done.returncode != 0
    assert mutant.says in " ".join((done.stdout + done.stderr).split())  # terraform folds lines

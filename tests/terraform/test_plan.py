"""The plan of production, made by the real terraform on the providers' real schemas."""

import asyncio
import json
import zipfile
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
import yaml
from google.pubsub_v1 import types
from google.pubsub_v1.services.publisher import PublisherAsyncClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcAsyncIOTransport
from google.pubsub_v1.services.subscriber import SubscriberAsyncClient
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcAsyncIOTransport

from create_user.settings import CreateUserSettings, RelaySettings
from emulator.provision import provision
from emulator.pubsub.server import PubSubOptions, PubSubServer
from emulator.secret_values import made_up
from emulator.topology import Topology
from send_email.settings import SendEmailSettings
from shared.settings import load
from tests.readme import second_subscriber
from tests.terraform.bundles import bundle
from tests.terraform.conftest import Checked
from tests.topologies import FILE

TOPOLOGY = Topology.load(FILE)
SETTINGS = {
    "create-user": CreateUserSettings,
    "relay-outbox": RelaySettings,
    "send-email": SendEmailSettings,
}


@pytest.fixture(scope="module")
def production(check_command: str, tmp_path_factory: pytest.TempPathFactory) -> Checked:
    """A copy of terraform/, planned."""
    made = Checked(check_command, tmp_path_factory.mktemp("production"))
    made.plan()
    return made


@pytest.fixture(scope="module")
def resources(production: Checked) -> dict[str, dict[str, Any]]:
    """The planned values of each resource: {'google_pubsub_topic.topic["x"]': {...}}."""
    return _planned(json.loads(production.run("show", "-json", "plan").stdout))


def _planned(plan: Any) -> dict[str, dict[str, Any]]:
    root = plan["planned_values"]["root_module"]
    return {resource["address"]: resource["values"] for resource in root["resources"]}


def _one(planned: dict[str, dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    return planned[f'{kind}["{name}"]']


async def _local_broker() -> tuple[dict[str, Any], dict[str, Any]]:
    """The topics and the subscriptions of an embedded Pub/Sub with the topology in it, by name."""
    server = await PubSubServer.start("127.0.0.1", 0, 0, options=PubSubOptions())
    try:
        urls = dict.fromkeys(TOPOLOGY.functions, "http://127.0.0.1:1/")
        functions = FILE.parents[1] / "functions"
        await provision(
            TOPOLOGY, project="p", address=server.address, definitions=functions, push_urls=urls
        )
        async with grpc.aio.insecure_channel(server.address) as channel:
            publisher = PublisherGrpcAsyncIOTransport(channel=channel)
            topics = await PublisherAsyncClient(transport=publisher).list_topics(
                project="projects/p"
            )
            subscriber = SubscriberGrpcAsyncIOTransport(channel=channel)
            client = SubscriberAsyncClient(transport=subscriber)
            subscriptions = await client.list_subscriptions(project="projects/p")
            return (
                {topic.name.rpartition("/")[2]: topic async for topic in topics},
                {one.name.rpartition("/")[2]: one async for one in subscriptions},
            )
    finally:
        await server.close()


def _seconds(duration: Any) -> str:
    return f"{duration.total_seconds():.0f}s"


def test_the_local_broker_has_what_is_planned(resources: dict[str, Any]) -> None:
    """Deadlines, backoff, attempts, retention and schemas: what runs here is what is deployed."""
    topics, subscriptions = asyncio.run(_local_broker())
    for kind, local in (("topic", topics), ("subscription", subscriptions)):
        planned = {a for a in resources if a.startswith(f"google_pubsub_{kind}.")}
        assert planned == {f'google_pubsub_{kind}.{kind}["{name}"]' for name in local}
    for name, here in subscriptions.items():
        made = _one(resources, "google_pubsub_subscription.subscription", name)
        assert made["ack_deadline_seconds"] == here.ack_deadline_seconds
        assert made["message_retention_duration"] == _seconds(here.message_retention_duration)
        (retry,) = made["retry_policy"]
        assert retry["minimum_backoff"] == _seconds(here.retry_policy.minimum_backoff)
        assert retry["maximum_backoff"] == _seconds(here.retry_policy.maximum_backoff)
        attempts = [policy["max_delivery_attempts"] for policy in made["dead_letter_policy"]]
        assert sum(attempts) == here.dead_letter_policy.max_delivery_attempts
        assert made["expiration_policy"] == [{"ttl": ""}]
        assert bool(made["push_config"]) == bool(here.push_config.push_endpoint)
    for name, here in topics.items():
        made = _one(resources, "google_pubsub_topic.topic", name)
        assert made["message_retention_duration"] == _seconds(here.message_retention_duration)
        encodings = [settings["encoding"] for settings in made["schema_settings"]]
        assert encodings == (
            [types.Encoding(here.schema_settings.encoding).name]
            if here.schema_settings.schema
            else []
        )


@pytest.mark.parametrize("name", SETTINGS)
def test_a_function_starts_with_the_variables_that_it_is_deployed_with(
    resources: dict[str, Any], tmp_path: Path, name: str
) -> None:
    """Its settings take them; each secret is where its variable says."""
    function = _one(resources, "google_cloudfunctions2_function.function", name)
    (service,) = function["service_config"]
    environment = dict(service["environment_variables"])
    for volume in service["secret_volumes"]:
        kind = TOPOLOGY.secrets[volume["secret"]].kind
        file = tmp_path / volume["secret"]
        file.write_text("a password" if kind == "external" else made_up(kind, "k1"))
        where = f"{volume['mount_path']}/{volume['versions'][0]['path']}"
        (variable,) = (key for key, value in environment.items() if value == where)
        environment[variable] = str(file)
    settings = load(SETTINGS[name], environment)
    assert getattr(settings, "project", None) == "test-project"


def test_nothing_secret_is_planned(resources: dict[str, Any]) -> None:
    """Terraform makes the secrets and never a version: its state can be read."""
    kinds = {address.partition(".")[0] for address in resources}
    assert "google_secret_manager_secret" in kinds
    assert "google_secret_manager_secret_version" not in kinds
    assert "secret_data" not in json.dumps(resources)


def test_nobody_but_create_user_is_open_to_the_internet(resources: dict[str, Any]) -> None:
    """Whichever resource grants it."""
    everyone = {"allUsers", "allAuthenticatedUsers"}
    open_to_all = {
        address
        for address, values in resources.items()
        if everyone & {values.get("member"), *(values.get("members") or [])}
    }
    assert open_to_all == {'google_cloud_run_v2_service_iam_binding.invokers["create-user"]'}


def test_each_right_is_given_one_by_one(resources: dict[str, Any]) -> None:
    """Never the whole policy of something, nor a role that may do everything."""
    for address, values in resources.items():
        assert "_iam_policy" not in address
        assert values.get("role") not in {"roles/owner", "roles/editor", "roles/viewer"}
        if "_iam_binding" in address:  # all of a role's members, on a service of ours alone
            assert address.startswith("google_cloud_run_v2_service_iam_binding.")


def test_the_zips_are_what_the_tests_drive(production: Checked) -> None:
    """archive_file writes them while it plans."""
    for source in ("create_user", "send_email"):
        with zipfile.ZipFile(production.terraform / f".build/{source}.zip") as archive:
            files = {name: archive.read(name).decode() for name in archive.namelist()}
        assert files == bundle(source)


def test_the_readmes_second_subscriber_is_one_entry(
    checked: Checked, resources: dict[str, Any], tmp_path: Path
) -> None:
    """Function, subscription, two identities and every grant come with it; nothing else changes."""
    topology = yaml.safe_load((checked.terraform / "topology.yaml").read_text())
    topology["functions"] |= second_subscriber(tmp_path / "functions")["functions"]
    (checked.terraform / "topology.yaml").write_text(yaml.safe_dump(topology))
    added = set(_planned(checked.plan())) - set(resources)
    assert added == {
        f'{kind}["{name}"]'
        for kind, name in {
            "google_cloudfunctions2_function.function": "notify-admin",
            "google_cloud_run_v2_service_iam_member.caller": "notify-admin",
            "google_pubsub_subscription.subscription": "notify-admin",
            "google_pubsub_subscription_iam_member.dead_letter": "notify-admin",
            "google_service_account.caller": "notify-admin",
            "google_service_account.function": "notify-admin",
            "google_service_account_iam_member.push_token": "notify-admin",
            "google_storage_bucket_object.source": "notify_admin",
        }.items()
    }

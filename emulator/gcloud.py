"""The other backend: Google's own emulators, started from the installed gcloud's jars.

The jars are run directly: through `gcloud beta emulators ...` a start takes 0.7 s and 63 MB
more, and ending the wrapper leaves the JVM on its port (observed: gcloud 528). Both answer
`GET /` with `Ok` on the gRPC port once they serve.
"""

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from emulator.errors import SetupError
from emulator.processes import Child, Leash, Sink, wait_for_http

ServiceName = Literal["pubsub", "firestore"]

_INSTALL = {
    "gcloud": "install the Google Cloud CLI: https://cloud.google.com/sdk/docs/install",
    "java": "install a Java runtime, 17 or newer, and put `java` on PATH or set JAVA_HOME",
    "pubsub": "gcloud components install pubsub-emulator, "
    "or: apt-get install google-cloud-cli-pubsub-emulator",
    "firestore": "gcloud components install cloud-firestore-emulator, "
    "or: apt-get install google-cloud-cli-firestore-emulator",
}
_START_SECONDS = 60.0


class NotInstalledError(SetupError):
    """A part of Google's emulators is missing; the message says how to get it."""


@dataclass(frozen=True)
class Installation:
    """What was found of Google's emulators; None is what was not."""

    sdk: Path | None
    java: Path | None
    pubsub_jar: Path | None
    firestore_jar: Path | None

    def missing(self) -> dict[str, str]:
        """What is absent, and how to get it: {"java": "install a Java runtime ..."}."""
        found = {
            "gcloud": self.sdk,
            "java": self.java,
            "pubsub": self.pubsub_jar,
            "firestore": self.firestore_jar,
        }
        return {part: _INSTALL[part] for part, path in found.items() if path is None}

    @property
    def pubsub_version(self) -> str:
        """As in the jar's name: "0.8.20"; "" when there is none."""
        match = re.search(r"emulator-([\d.]+?)(?:-all)?\.jar$", str(self.pubsub_jar))
        return match.group(1) if match else ""

    @property
    def firestore_version(self) -> str:
        """As gcloud's own records say, the jar does not: "1.19.9"; "" when they are not there."""
        record = self.sdk and self.sdk / ".install/cloud-firestore-emulator.snapshot.json"
        if not record or not record.is_file():
            return ""
        for component in json.loads(record.read_text()).get("components", []):
            if component.get("id") == "cloud-firestore-emulator":
                return str(component.get("version", {}).get("version_string", ""))
        return ""

    def command(self, service: ServiceName, host: str, port: int) -> list[str]:
        """The command line that serves `service`.

        Raises:
            NotInstalledError: what it needs is not installed.
        """
        lacking = {k: v for k, v in self.missing().items() if k in ("gcloud", "java", service)}
        if lacking:
            ways = "; ".join(f"{part}: {way}" for part, way in lacking.items())
            raise NotInstalledError(f"Google's {service} emulator cannot be started. {ways}")
        where = [f"--host={host}", f"--port={port}"]
        if service == "pubsub":
            return [str(self.java), "-jar", str(self.pubsub_jar), *where]
        main = "com.google.cloud.datastore.emulator.firestore.CloudFirestore"
        java = [str(self.java), "-Duser.language=en", "-cp", str(self.firestore_jar)]
        return [*java, main, "start", *where]


def _sdk_root() -> Path | None:
    """The SDK's folder: from CLOUDSDK_ROOT_DIR, from where `gcloud` lies, or as gcloud says."""
    told = os.environ.get("CLOUDSDK_ROOT_DIR")
    gcloud = shutil.which("gcloud")
    guesses = [Path(told)] if told else []
    if gcloud:
        guesses.append(Path(gcloud).resolve().parent.parent)
    for guess in guesses:
        if (guess / "platform").is_dir():
            return guess
    if gcloud is None:
        return None
    asked = subprocess.run(  # noqa: S603 - the user's own gcloud, no shell
        [gcloud, "info", "--format=value(installation.sdk_root)"],
        capture_output=True,
        text=True,
        check=False,
    )
    return Path(asked.stdout.strip()) if asked.returncode == 0 and asked.stdout.strip() else None


def find() -> Installation:
    """Look for gcloud, Java and the two emulators on this machine."""
    sdk = _sdk_root()
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=str(Path(home) / "bin")) if home else None
    java = java or shutil.which("java")
    jars = (
        sorted(sdk.glob("platform/pubsub-emulator/lib/cloud-pubsub-emulator-*.jar")) if sdk else []
    )
    firestore = (
        sdk / "platform/cloud-firestore-emulator/cloud-firestore-emulator.jar" if sdk else None
    )
    return Installation(
        sdk=sdk,
        java=Path(java) if java else None,
        pubsub_jar=jars[-1] if jars else None,
        firestore_jar=firestore if firestore and firestore.is_file() else None,
    )


class GcloudServer:
    """One of Google's emulators, running."""

    def __init__(self, service: ServiceName, address: str, child: Child) -> None:
        self.service = service
        self.address = address
        self.http_address = address
        self.child = child

    @classmethod
    async def start(
        cls, service: ServiceName, host: str, port: int, *, leash: Leash, sink: Sink
    ) -> "GcloudServer":
        """Start it on host:port and wait until it answers.

        Raises:
            NotInstalledError: what it needs is not installed.
            NotReadyError: it ended, or did not answer within a minute.
        """
        child = await leash.spawn(service, find().command(service, host, port), sink=sink)
        await wait_for_http(child, f"http://{host}:{port}/", _START_SECONDS)
        return cls(service, f"{host}:{port}", child)

    async def close(self) -> None:
        """Stop the JVM."""
        await self.child.stop()

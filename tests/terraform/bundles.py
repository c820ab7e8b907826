"""What is in a function's zip, by the rule of terraform/topology/bundles.tf; a Python of its own.

The environment has what the zip's requirements.txt asks for and nothing else. It is made once for
each state of the requirements, beside the one that the tests run in.
"""

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]


def bundle(source: str) -> dict[str, str]:
    """The files of the zip of a source: {name: text}."""
    functions = ROOT / "functions"
    named = {
        **{f"shared/{name}": path for name, path in _files(functions / "shared").items()},
        **_files(functions / source),
    }
    requirements = named["requirements.txt"].read_text()
    return {
        **{name: path.read_text() for name, path in named.items()},
        "constraints.txt": (ROOT / "constraints.txt").read_text(),
        "requirements.txt": f"-c constraints.txt\n{requirements}",
    }


def _files(folder: Path) -> dict[str, Path]:
    return {
        str(path.relative_to(folder)): path
        for path in folder.rglob("*")
        if path.is_file()
        and not any(
            part == "__pycache__" or part[0] == "." for part in path.relative_to(folder).parts
        )
    }


def unpacked(source: str, where: Path) -> Path:
    """A folder with the content of the zip."""
    for name, text in bundle(source).items():
        file = where / source / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return where / source


def clean_python(folder: Path) -> Path:
    """The interpreter of an environment with what `folder`'s requirements ask for."""
    wanted = [(folder / name).read_bytes() for name in ("requirements.txt", "constraints.txt")]
    name = hashlib.sha256(b"\0".join([*wanted, sys.version.encode()])).hexdigest()[:16]
    made = Path(sys.prefix) / "bundles" / name
    if not made.exists():
        unfinished = made.with_name(f"{name}.{os.getpid()}")
        venv.create(unfinished, symlinks=True)
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
        into = ["--python", str(unfinished / "bin/python")]
        asked = ["-r", str(folder / "requirements.txt")]
        subprocess.run([*pip, *into, "install", *asked], check=True)
        unfinished.rename(made)
    return made / "bin/python"

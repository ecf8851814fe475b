"""A release, and `ubus_py` as others install it: built without a network, used outside of this repository."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import subprocess
import sys
import tomllib
import zipfile
from email.parser import Parser
from importlib.metadata import version
from pathlib import Path

import pytest

import ubus_py
from simulator.ubus_broker import UbusBroker
from tests.packaging.conftest import DOWNLOADS, TIME
from tests.packaging.test_archives import NAMES
from tools.release import BILL_OF_MATERIALS, CHECKSUMS, REPOSITORY, build_wheel, release
from tools.sbom import document
from ubus_py import Client, Method, Object

ELSEWHERE = {"PATH": "/usr/bin"}
"""An environment that does not know this repository."""

LIBRARY = REPOSITORY / "daemon/ubus_py"


@pytest.fixture(scope="session")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `make release` fills."""
    output = tmp_path_factory.mktemp("release")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURCE_DATE_EPOCH", str(TIME))
        release(output, DOWNLOADS)
    return output


@pytest.fixture(scope="session")
def wheel(released: Path) -> Path:
    (wheel,) = released.glob("ubus_py-*.whl")
    return wheel


def test_a_release_is_complete_and_its_checksums_hold(released: Path) -> None:
    listed = dict(line.split("  ")[::-1] for line in (released / CHECKSUMS).read_text().splitlines())
    files = [file for file in released.rglob("*") if file.is_file() and file.name != CHECKSUMS]
    assert listed == {
        str(file.relative_to(released)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files
    }
    assert {re.split(r"[-_]\d", name)[0] for name in listed} == {
        "sbom.cdx.json",
        "ubus_py",
        "stripe_payments_hub",
        *(f"ipk/{name}" for name in NAMES),
        "ipk/variants/stripe-payments-hub",
    }


def test_building_a_wheel_again_gives_the_same_bytes(wheel: Path, tmp_path: Path) -> None:
    assert build_wheel("daemon/ubus_py", tmp_path, TIME).read_bytes() == wheel.read_bytes()


def test_the_bill_of_materials_names_everything_once_with_its_licence(released: Path) -> None:
    """Its form was checked against CycloneDX's schema when it was written, what it says is checked here."""
    text = (released / BILL_OF_MATERIALS).read_text()
    bill = json.loads(text)
    components = {one["bom-ref"]: one for one in [bill["metadata"]["component"], *bill["components"]]}
    assert len(components) == 1 + len(bill["components"])
    edges = {edge["ref"]: edge["dependsOn"] for edge in bill["dependencies"]}
    assert edges.keys() == components.keys()
    assert {need for needs in edges.values() for need in needs} < components.keys()
    pinned = set(re.findall(r"(?m)^([a-z0-9.-]+)==(\S+)", (REPOSITORY / "requirements/dev.txt").read_text()))
    ours = {"stripe-payments", "stripe-payments-hub", "ubus-py"}
    assert {(one["name"], one["version"]) for one in components.values() if one["name"] not in ours} < pinned
    assert all(one["licenses"][0]["expression"] != "none" for one in components.values())
    assert f"pkg:pypi/psycopg-binary@{version('psycopg-binary')}" in components, "by an extra"
    assert json.dumps(document(TIME), indent=2) + "\n" == text


@pytest.fixture(scope="session")
def command(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The path of `ubus-py` in a fresh virtual environment."""
    folder = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin/python"), "install", "--no-index"]
    subprocess.run([*pip, "--disable-pip-version-check", "--quiet", str(wheel)], check=True)
    return folder / "bin/ubus-py"


def test_the_wheel_says_what_it_is(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as content:
        names = content.namelist()
        (described,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(content.read(described).decode())
    assert (metadata["Name"], metadata["Version"]) == ("ubus-py", ubus_py.__version__)
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Dist"] is None
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert {f"ubus_py/{file.name}" for file in LIBRARY.glob("*.py*") if file.suffix != ".toml"} <= {*names}
    assert "ubus_py/py.typed" in names


def test_its_version_is_in_its_changelog() -> None:
    assert f"\n## {ubus_py.__version__}\n" in (LIBRARY / "CHANGELOG.md").read_text()
    assert "version" in tomllib.loads((LIBRARY / "pyproject.toml").read_text())["project"]["dynamic"]


@pytest.mark.parametrize("as_module", [False, True])
def test_the_command_prints_its_options(command: Path, as_module: bool) -> None:
    started = [command.parent / "python", "-m", "ubus_py"] if as_module else [command]
    done = subprocess.run([*started, "--help"], capture_output=True, text=True, cwd="/", env=ELSEWHERE)
    assert done.stdout.startswith("Usage: ubus-py [OPTIONS] COMMAND")
    assert (done.returncode, done.stderr) == (0, "")


async def test_the_command_calls_a_method(command: Path, tmp_path: Path) -> None:
    broker = UbusBroker(tmp_path / "ubus.sock", tmp_path)
    await broker.start()
    async with Client(str(tmp_path / "ubus.sock")) as client:
        await client.publish(Object("greeter", [Method("greet", lambda call: {"text": "ciao"})]))
        process = await asyncio.create_subprocess_exec(
            *(command, "-S", "-s", tmp_path / "ubus.sock", "call", "greeter", "greet"),
            cwd="/",
            env=ELSEWHERE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert (await process.communicate())[0] == b'{"text":"ciao"}\n'
        assert process.returncode == 0
    await broker.stop()

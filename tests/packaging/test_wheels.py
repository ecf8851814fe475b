"""`ubus_py` as others install it: built and installed without a network, used outside of this repository."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

import ubus_py
from simulator.ubus_broker import UbusBroker
from tools.release import REPOSITORY, build_wheel
from ubus_py import Client, Method, Object

ELSEWHERE = {"PATH": "/usr/bin"}
"""An environment that does not know this repository."""

LIBRARY = REPOSITORY / "daemon/ubus_py"


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel("daemon/ubus_py", tmp_path_factory.mktemp("wheel"))


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


def test_the_command_prints_its_options(command: Path) -> None:
    done = subprocess.run([command, "--help"], capture_output=True, text=True, cwd="/", env=ELSEWHERE)
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

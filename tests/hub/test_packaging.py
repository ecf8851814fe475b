"""The wheel and the systemd units: what a vendor installs runs."""

from __future__ import annotations

import asyncio
import configparser
import os
import re
import shutil
import sys
import tomllib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import psycopg
import pytest
import typer

from payments_hub.__main__ import app
from simulator.postgres import PostgreSQL

REPOSITORY = Path(__file__).resolve().parents[2]
HUB = REPOSITORY / "hub"


async def run(*words: str, cwd: Path | None = None, env: Mapping[str, str] = MappingProxyType({})) -> str:
    process = await asyncio.create_subprocess_exec(
        *words,
        cwd=cwd,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", **env},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said = (await process.communicate())[0].decode()
    assert process.returncode == 0, said
    return said


async def test_the_wheel_has_all_that_it_needs(postgres: PostgreSQL, tmp_path: Path) -> None:
    """Built offline and unpacked as an installer does; its command migrates an empty database."""
    for part in ("hub", "daemon"):
        shutil.copytree(
            REPOSITORY / part, tmp_path / part, ignore=shutil.ignore_patterns("build", "*.egg-info")
        )
    shutil.copy(REPOSITORY / "LICENSE", tmp_path)
    build = "import sys, setuptools.build_meta; setuptools.build_meta.build_wheel(sys.argv[1])"
    await run(sys.executable, "-c", build, str(tmp_path), cwd=tmp_path / "hub")
    (wheel,) = tmp_path.glob("stripe_payments_hub-*-py3-none-any.whl")
    installed = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as content:
        content.extractall(installed)
    (information,) = installed.glob("stripe_payments_hub-*.dist-info")
    assert (information / "licenses/LICENSE").is_file()
    assert "payments-hub = payments_hub.__main__:main" in (information / "entry_points.txt").read_text()
    for package in (REPOSITORY / "hub/payments_hub", *(REPOSITORY / "daemon").glob("*_p*/")):
        for kind in ("*.py", "*.html", "*.css", "*.po", "*.mo"):
            for file in package.rglob(kind):
                assert (installed / package.name / file.relative_to(package)).is_file(), file
    key = tmp_path / "key"
    key.write_text("sk_test_51VendorVendorVendor")
    url = postgres.url(postgres.create_database(), "hub")
    env: dict[str, str] = {
        "PYTHONPATH": str(installed),
        "DATABASE_URL": url,
        "HUB_URL": "https://hub.example.org",
        "STRIPE_SECRET_KEY_FILE": str(key),
    }
    script = "import sys; from payments_hub.__main__ import main; sys.exit(main())"
    await run(sys.executable, "-P", "-c", script, "migrate", env=env)
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM alembic_version").fetchone() == (1,)


def test_the_wheel_requires_what_the_code_does() -> None:
    project = tomllib.loads((HUB / "pyproject.toml").read_text())["project"]
    wanted = [
        line.strip()
        for name in ("router", "hub")
        for line in (REPOSITORY / f"requirements/{name}.in").read_text().splitlines()
        if line and not line.startswith(("#", "-r"))
    ]
    assert sorted(project["dependencies"]) == sorted(wanted)


@pytest.mark.parametrize("file", sorted((HUB / "systemd").iterdir()), ids=lambda file: file.name)
def test_a_unit_is_confined_and_starts_a_command_that_exists(file: Path) -> None:
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(file)
    service = dict(unit["Service"])
    confined = {
        "NoNewPrivileges": "yes",
        "ProtectSystem": "strict",
        "DynamicUser": "yes",
        "ProtectHome": "yes",
    }
    assert confined.items() <= service.items()
    assert (service["Restart"], service["CapabilityBoundingSet"]) == ("always", "")
    _program, command, *options = service["ExecStart"].split()
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    known = {option for one in commands[command].params for option in one.opts}
    assert {option for option in options if option.startswith("--")} <= known
    text = file.read_text()
    assert not re.search(r"sk_|whsec_", text)
    for secret in ("STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET"):
        assert f"Environment={secret}_FILE=%d/" in text, "in no environment"

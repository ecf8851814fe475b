"""The packages, built once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.interop.packages import FROM_THE_FEEDS
from tests.packaging.ipk_file import IpkFile
from tools.ipk.__main__ import VARIANTS, build
from tools.ipk.makefiles import REPOSITORY

DOWNLOADS = REPOSITORY / "build/download"
TIME = 1_700_000_000


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `make ipk` fills."""
    output = tmp_path_factory.mktemp("ipk")
    build(output, DOWNLOADS, TIME)
    return output


def build_elsewhere(output: Path, *options: str) -> str:
    """Build as a program, in another folder and time zone, by a user whose files are private; returns what it
    printed.
    """
    folders = ["--output", str(output), "--downloads", str(DOWNLOADS)]
    command = [sys.executable, "-m", "tools.ipk", *options, *folders]
    environment = {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY),
        "SOURCE_DATE_EPOCH": str(TIME),
        "TZ": "Asia/Tokyo",
        "MAKEFLAGS": "-j3",
    }
    done = subprocess.run(
        command, cwd="/", env=environment, umask=0o077, capture_output=True, text=True, check=True
    )
    return done.stdout


def content(folder: Path) -> dict[str, bytes]:
    """The files of a folder, by name."""
    return {file.name: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture(scope="session")
def packages(built: Path) -> dict[str, IpkFile]:
    """The packages by name, without the variant."""
    return {file.name.split("_")[0]: IpkFile.read(file) for file in sorted(built.glob("*.ipk"))}


@pytest.fixture(scope="session")
def for_hub_mode(built: Path) -> IpkFile:
    """The package that is installed in place of `stripe-payments` on a router in hub mode."""
    (file,) = built.glob(f"{VARIANTS}/*.ipk")
    return IpkFile.read(file)


@pytest.fixture(scope="session")
def installed(packages: dict[str, IpkFile], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that has all packages installed, like the router's `/`."""
    root = tmp_path_factory.mktemp("root")
    for package in packages.values():
        package.unpack(root)
    return root


@pytest.fixture(scope="session")
def feeds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the Python packages of OpenWrt's feeds and nothing else."""
    import requests

    site_packages = Path(requests.__file__).parents[1]
    folder = tmp_path_factory.mktemp("feeds")
    for name in FROM_THE_FEEDS:
        if (site_packages / name).exists():
            (folder / name).symlink_to(site_packages / name)
    return folder

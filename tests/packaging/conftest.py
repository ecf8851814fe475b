"""The packages, built once."""

from pathlib import Path

import pytest

from tests.packaging.ipk_file import IpkFile
from tools.ipk.__main__ import build
from tools.ipk.makefiles import REPOSITORY

DOWNLOADS = REPOSITORY / "build/download"
TIME = 1_700_000_000


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `make ipk` fills."""
    output = tmp_path_factory.mktemp("ipk")
    build(output, DOWNLOADS, TIME)
    return output


@pytest.fixture(scope="session")
def packages(built: Path) -> dict[str, IpkFile]:
    """The packages by name."""
    return {file.name.split("_")[0]: IpkFile.read(file) for file in sorted(built.iterdir())}


@pytest.fixture(scope="session")
def installed(packages: dict[str, IpkFile], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that has all packages installed, like the router's `/`."""
    root = tmp_path_factory.mktemp("root")
    for package in packages.values():
        package.unpack(root)
    return root

"""Who may import whom. A rule about structure is a test, not a sentence."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
DAEMON = REPOSITORY / "daemon"
UBUS_PY = DAEMON / "ubus_py"
PAYMENTS = DAEMON / "stripe_payments"

# The parts of ubus_py that do IO. Everything else in it must run without an event loop.
UBUS_PY_WITH_IO = {"client.py", "connection.py", "objects.py", "stream.py"}


def _imports(file: Path) -> Iterator[str]:
    """Absolute names of all that `file` imports, wherever in it."""
    package = list(
        file.relative_to(DAEMON if DAEMON in file.parents else REPOSITORY).with_suffix("").parts[:-1]
    )
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            yield ".".join([*base, *([node.module] if node.module else [])])


def _imports_of(file: Path, *packages: str) -> list[str]:
    return [name for name in _imports(file) if name.split(".")[0] in packages]


def _files(folder: Path) -> list[Path]:
    found = sorted(folder.rglob("*.py"))
    assert found, f"no Python file below {folder}: this test would pass on nothing"
    return found


@pytest.mark.parametrize("file", _files(UBUS_PY), ids=str)
def test_ubus_py_imports_nothing_but_the_standard_library(file: Path) -> None:
    import sys

    foreign = {
        name for name in _imports(file) if name.split(".")[0] not in {*sys.stdlib_module_names, "ubus_py"}
    }
    assert not foreign


@pytest.mark.parametrize("file", _files(UBUS_PY), ids=str)
def test_only_the_io_part_of_ubus_py_knows_asyncio(file: Path) -> None:
    if file.name not in UBUS_PY_WITH_IO:
        assert not _imports_of(file, "asyncio", "socket", "selectors")


@pytest.mark.parametrize("file", _files(PAYMENTS), ids=str)
def test_only_stripe_api_imports_the_sdk(file: Path) -> None:
    if PAYMENTS / "stripe_api" not in file.parents:
        assert not _imports_of(file, "stripe")


@pytest.mark.parametrize("file", _files(DAEMON), ids=str)
def test_the_daemon_knows_nothing_of_the_simulator(file: Path) -> None:
    assert not _imports_of(file, "simulator", "tests", "tools", "campaigns")

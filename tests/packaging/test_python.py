"""The Python in the packages runs by itself: with what it brings, and with what it says that it needs."""

import ast
import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import stripe_payments
from simulator.world import World
from tests.interop.packages import BUS, CODE, STRIPE
from tests.packaging.ipk_file import IpkFile

# Parts of the standard library that OpenWrt has in packages of their own; the rest is in python3-light.
# Source: lang/python/python3/files of the packages feed, 24.10 to main. Up to 25.12 `email` has a package of
# its own, which python3-urllib brings along.
SPLIT_OFF = {
    "python3-asyncio": {"asyncio"},
    "python3-codecs": {
        "unicodedata",
        "_codecs_cn",
        "_codecs_hk",
        "_codecs_iso2022",
        "_codecs_jp",
        "_codecs_kr",
        "_codecs_tw",
    },
    "python3-ctypes": {"ctypes", "_ctypes"},
    "python3-dbm": {"dbm"},
    "python3-decimal": {"decimal", "_decimal"},
    "python3-logging": {"logging"},
    "python3-lzma": {"lzma", "_lzma"},
    "python3-multiprocessing": {"multiprocessing", "_multiprocessing"},
    "python3-ncurses": {"curses"},
    "python3-openssl": {"ssl", "_ssl", "_hashlib"},
    "python3-pydoc": {"pydoc", "doctest", "pydoc_data"},
    "python3-readline": {"readline"},
    "python3-sqlite3": {"sqlite3", "_sqlite3"},
    "python3-unittest": {"unittest"},
    "python3-urllib": {"urllib", "email"},
    "python3-uuid": {"uuid", "_uuid"},
    "python3-venv": {"venv", "ensurepip"},
    "python3-xml": {"xml", "xmlrpc", "pyexpat"},
}
FEED_PACKAGES = {
    "requests": "python3-requests",
    "jinja2": "python3-jinja2",
    "stripe": "python3-stripe",
    "typing_extensions": "python3-typing-extensions",
    "ubus_py": "python3-ubus-py",
}

IMPORT_EVERYTHING = """
import importlib, json, pkgutil, sys
before = set(sys.modules)
absent, *packages = sys.argv[1:]
for name in absent.split():
    sys.modules[name] = None  # an import of it raises ModuleNotFoundError
for package in packages:
    module = importlib.import_module(package)
    for found in pkgutil.walk_packages(module.__path__, package + "."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)
print(json.dumps({name: getattr(module, "__file__", None) for name, module in sys.modules.items()
                  if module and name not in before}))
"""


def run_python(installed: Path, feeds: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python as the init script starts it: no site-packages, our directories, and what the feeds have."""
    return subprocess.run(
        [sys.executable, "-S", "-W", "error", *arguments],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{installed / CODE}:{installed / BUS}:{installed / STRIPE}:{feeds}",
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        cwd="/",
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def _imported(installed: Path, feeds: Path, absent: set[str], *packages: str) -> dict[str, str | None]:
    """The modules that `packages` load, with their files, on a router without the modules `absent`."""
    done = run_python(installed, feeds, "-c", IMPORT_EVERYTHING, " ".join(absent), *packages)
    assert done.returncode == 0, done.stderr
    modules: dict[str, str | None] = json.loads(done.stdout)
    return modules


def test_the_daemon_says_its_version(installed: Path, feeds: Path) -> None:
    done = run_python(installed, feeds, "-m", "stripe_payments", "--version")
    assert (done.returncode, done.stdout) == (0, f"{stripe_payments.__version__}\n"), done.stderr


def test_the_daemon_s_service_is_imported_from_the_package(installed: Path, feeds: Path) -> None:
    done = run_python(
        installed,
        feeds,
        "-c",
        "import stripe_payments.app, stripe; print(stripe_payments.__file__, stripe.__file__)",
    )
    assert done.stdout.split() == [
        f"{installed / CODE}/stripe_payments/__init__.py",
        f"{installed / STRIPE}/stripe/__init__.py",
    ], done.stderr


def test_every_module_finds_what_it_imports(
    packages: dict[str, IpkFile], installed: Path, feeds: Path
) -> None:
    """Also indirectly, through the standard library: a part that no package depends on is not there."""
    there = set(packages["stripe-payments"].depends) | set(packages["python3-stripe"].depends)
    absent = set().union(*(modules for part, modules in SPLIT_OFF.items() if part not in there))
    ours = _imported(installed, feeds, absent, "ubus_py", "stripe_payments")
    assert len([name for name in ours if name.startswith("stripe_payments.")]) > 50
    for name, file in ours.items():
        if file and name.split(".")[0] not in sys.stdlib_module_names:
            assert file.startswith((str(installed), str(feeds)))


def _named_imports(folder: Path) -> set[str]:
    """The top-level modules that the code below `folder` imports, anywhere in it."""
    names: set[str] = set()
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize(
    ("package", "folder"), [("stripe-payments", CODE), ("python3-stripe", STRIPE), ("python3-ubus-py", BUS)]
)
def test_what_is_imported_is_depended_on(
    packages: dict[str, IpkFile], installed: Path, package: str, folder: str
) -> None:
    names = _named_imports(installed / folder)
    parts = {part for part, modules in SPLIT_OFF.items() if modules & names}
    feeds = {name for module, name in FEED_PACKAGES.items() if module in names} - {package}
    python = {name for name in packages[package].depends if name.startswith("python3-")}
    # python3-codecs: getaddrinfo imports it in C, through the codec idna
    assert python - {"python3-codecs"} == {"python3-light"} | parts | feeds


async def test_a_purchase_goes_through_with_the_installed_daemon(installed: Path, feeds: Path) -> None:
    """What was left out of Stripe's library is not missed: from checkout to refund."""
    search = f"{installed / CODE}:{installed / BUS}:{installed / STRIPE}:{feeds}"
    async with World(environment={"PYTHONPATH": search}) as world:
        reply = await world.bus.call(
            "stripe-payments",
            "create_checkout_session",
            {
                "price_id": "price_premium_onetime",
                "success_url": f"{world.front.url}/payment-success",
                "cancel_url": f"{world.front.url}/payment-cancel",
            },
        )
        session = str(reply["session_id"])
        await world.pay(session)
        await world.wait_until(lambda: world.unlocked("remote_backup_daily"))
        await world.bus.call("stripe-payments", "refund", {"payment_id": session})

        async def locked() -> bool:
            return not await world.unlocked("remote_backup_daily")

        await world.wait_until(locked)
        assert world.daemon.pid is not None
        environment = await asyncio.to_thread(Path(f"/proc/{world.daemon.pid}/environ").read_text)
        assert f"PYTHONPATH={search}\0" in environment

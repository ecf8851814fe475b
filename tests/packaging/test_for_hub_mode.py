"""The package for routers in hub mode: the same files without Stripe's library, and what that saves."""

import py_compile
from pathlib import Path
from typing import Any

from simulator.world import World
from tests.interop.packages import BUS, CODE, STRIPE
from tests.packaging.ipk_file import IpkFile
from tests.packaging.test_python import SPLIT_OFF, run_python

FOR_STRIPE_ALONE = (
    "requests",
    "urllib3",
    "idna",
    "certifi",
    "charset_normalizer",
    "typing_extensions.py",
)
"""Packages of the feeds that python3-stripe and python3-requests bring along, by their names in Python."""
SAVED_MIB = 7.5

IMPORT_HUB_MODE = """
import importlib, pkgutil, socket, sys
for name in sys.argv[1].split():
    sys.modules[name] = None  # an import of it raises ModuleNotFoundError
for name in ("ubus_py", "stripe_payments.hub_client", "stripe_payments.http_api", "stripe_payments.unlocks"):
    package = importlib.import_module(name)
    for found in pkgutil.iter_modules(package.__path__, name + "."):
        if found.name != "stripe_payments.http_api.webhook":
            importlib.import_module(found.name)
for name in ("app", "settings_reload", "seller_socket", "watchdog", "identity", "keys", "settings.loader",
             "diagnostics.hub_checks", "diagnostics.probes"):
    importlib.import_module("stripe_payments." + name)
import jinja2
socket.getaddrinfo("localhost", 443)
print(*sorted(name.partition(".")[0] for name in sys.modules if sys.modules[name]))
"""


def test_it_takes_the_place_of_the_other(packages: dict[str, IpkFile], for_hub_mode: IpkFile) -> None:
    other = packages["stripe-payments"]
    assert for_hub_mode.data == other.data
    assert for_hub_mode.fields["Provides"] == for_hub_mode.fields["Conflicts"] == "stripe-payments"
    assert for_hub_mode.depends == other.depends - {"python3-stripe", "python3-requests"}
    for script in ("conffiles", "postinst", "prerm", "prerm-pkg", "postrm"):
        assert for_hub_mode.control_text(script) == other.control_text(script)
    assert "stripe-payments" in packages["luci-app-stripe-payments"].depends


def test_hub_mode_finds_what_it_imports(installed: Path, feeds: Path, for_hub_mode: IpkFile) -> None:
    """Also indirectly, and what the encoding of a host's name needs."""
    absent = {"stripe", *(name.removesuffix(".py") for name in FOR_STRIPE_ALONE)}
    absent.update(*(modules for part, modules in SPLIT_OFF.items() if part not in for_hub_mode.depends))
    done = run_python(installed, feeds, "-c", IMPORT_HUB_MODE, " ".join(absent))
    assert done.returncode == 0, done.stderr
    assert {"jinja2", "sqlite3", "ssl"} <= set(done.stdout.split())


def test_flash_that_hub_mode_saves(packages: dict[str, IpkFile], feeds: Path, tmp_path: Path) -> None:
    """Of python3-stripe the sources are installed; the feeds' packages have compiled files in their place."""
    library = tmp_path / "library"
    packages["python3-stripe"].unpack(library)
    saved = sum(file.stat().st_size for file in library.rglob("*") if file.is_file())
    for name in FOR_STRIPE_ALONE:
        source = (feeds / name).resolve()
        files = [source] if source.is_file() else [file for file in source.rglob("*") if file.is_file()]
        for file in files:
            if file.suffix == ".py":
                compiled = tmp_path / "compiled.pyc"
                py_compile.compile(str(file), str(compiled), doraise=True)
                saved += compiled.stat().st_size
            elif file.suffix in (".pem", ".typed"):
                saved += file.stat().st_size
    assert saved >= SAVED_MIB * 1024 * 1024, f"{saved / 1024 / 1024:.2f} MiB"


async def test_direct_mode_without_the_library_says_so(installed: Path, feeds: Path, tmp_path: Path) -> None:
    without = tmp_path / "feeds"
    without.mkdir()
    for name in ("jinja2", "markupsafe"):
        (without / name).symlink_to((feeds / name).resolve())
    hook = without / "sitecustomize.py"  # the interpreter of the tests has the library
    hook.write_text("import sys\n\nsys.modules['stripe'] = sys.modules['requests'] = None\n")
    search = f"{installed / CODE}:{installed / BUS}:{installed / STRIPE}-absent:{without}"
    async with World(configured=False, environment={"PYTHONPATH": search}) as router:
        await router.bus.call("stripe-payments", "set_keys", {"secret_key": "sk_test_51Unused"})
        for locale, sentence, package in (
            ("en", "Stripe's Python library is not installed", "Install the package python3-stripe"),
            ("it", "La libreria Python di Stripe non è installata", "Installa il pacchetto python3-stripe"),
        ):
            checks: Any = (await router.bus.call("stripe-payments", "check", {"locale": locale}))["checks"]
            (found,) = [one for one in checks if one["id"] == "stripe"]
            assert found["severity"] == "error"
            assert sentence in str(found["detail"])
            assert package in str(found["hint"])

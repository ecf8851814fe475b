"""Lays the project's files where its packages put them."""

import shutil
import stat
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parents[2]
CODE: Final = "usr/lib/stripe-payments"
BUS: Final = "usr/lib/python3-ubus-py"
STRIPE: Final = "usr/lib/python3-stripe"
FROM_THE_FEEDS: Final = (
    "requests",
    "urllib3",
    "idna",
    "certifi",
    "charset_normalizer",
    "jinja2",
    "markupsafe",
    "typing_extensions.py",
)
_SITE_PACKAGES: Final = Path(sysconfig.get_paths()["purelib"])
_PYTHON_OF_THE_MACHINE: Final = "usr/lib/python3/dist-packages"


def install_payments(root: Path) -> None:
    """The packages stripe-payments, luci-app-stripe-payments and those of ours that they depend on."""
    install_tree(REPOSITORY / "files", root)
    for package, folder in (("ubus_py", BUS), ("stripe_payments", CODE)):
        install_tree(REPOSITORY / "daemon" / package, root / folder / package)
    app = REPOSITORY / "luci-app-stripe-payments"
    install_tree(app / "root", root)
    install_tree(app / "htdocs", root / "www")


def install_catalogs(root: Path, staging: Path) -> None:
    """The package luci-i18n-stripe-payments-it."""
    for source in (REPOSITORY / "luci-app-stripe-payments/po").glob("*/stripe-payments.po"):
        target = root / f"usr/lib/lua/luci/i18n/stripe-payments.{source.parent.name}.lmo"
        target.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([staging / "bin/po2lmo", source, target], check=True, timeout=30)


def install_python_packages(root: Path) -> None:
    """The package python3-stripe, and those of the feeds, from the Python that runs the tests."""
    install_tree(_SITE_PACKAGES / "stripe", root / STRIPE / "stripe")
    install_feed_packages(root)


def install_feed_packages(root: Path) -> None:
    """The Python packages that OpenWrt's feeds have, from the Python that runs the tests."""
    for name in FROM_THE_FEEDS:
        source, target = _SITE_PACKAGES / name, root / _PYTHON_OF_THE_MACHINE / name
        if source.is_dir():
            install_tree(source, target)
        elif source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)


def point_at_stripe(root: Path, url: str) -> None:
    """Have the daemon take `url` for Stripe's API; the init script passes no such thing."""
    hook = root / STRIPE / "sitecustomize.py"
    hook.parent.mkdir(parents=True, exist_ok=True)
    hook.write_text(f"import os\n\nos.environ['STRIPE_API_BASE'] = {url!r}\n")


def python_problem() -> str | None:
    """Why the router's programs cannot use the machine's Python, None if they can."""
    machine = Path("/usr/bin/python3")
    if not machine.exists():
        return "this machine has no /usr/bin/python3"
    if machine.resolve().name != f"python{sys.version_info.major}.{sys.version_info.minor}":
        return "/usr/bin/python3 is of another version than the Python that runs the tests"
    return None


def install_tree(source: Path, target: Path) -> None:
    """As a package installs: root's, readable by all, executable where the source is."""
    for path in sorted(source.rglob("*")) if source.is_dir() else ():
        if "__pycache__" in path.parts or not path.is_file():
            continue
        copy = target / _merged(path.relative_to(source))
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
        copy.chmod(0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644)


def _merged(path: Path) -> Path:
    """On a router `/lib` is a directory; where it is a link to `usr/lib`, it must stay one."""
    return Path("usr") / path if Path("/", path.parts[0]).is_symlink() else path

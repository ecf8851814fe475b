"""Where the files below ``/luci-static`` come from: the shipped application, and LuCI (real or stand-in)."""

from pathlib import Path
from typing import Final

APPLICATION: Final = Path(__file__).resolve().parents[2] / "luci-app-stripe-payments"
"""The package that is shipped to routers; its files are served as they are."""

STANDIN: Final = Path(__file__).resolve().parent / "luci_standin"

_LUCI_HTDOCS: Final = (
    "modules/luci-base/htdocs/luci-static",
    "themes/luci-theme-bootstrap/htdocs/luci-static",
    "libs/luci-lib-uqr/htdocs/luci-static",
)

TYPES: Final = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "application/javascript",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
}


class StaticFiles:
    """Looks files up by their path below ``/luci-static``."""

    def __init__(self, luci_src: Path | None) -> None:
        self.roots = [APPLICATION / "htdocs" / "luci-static"]
        if luci_src is None:
            self.roots.append(STANDIN)
        else:
            if not (luci_src / _LUCI_HTDOCS[0] / "resources/luci.js").is_file():
                raise FileNotFoundError(f"no LuCI source tree: {luci_src}")
            # Last of all the stand-in: its status overview, for LuCI's own needs half a router around it.
            self.roots += [*(luci_src / part for part in _LUCI_HTDOCS), STANDIN]

    def find(self, path: str) -> Path | None:
        """Return the file for e.g. ``resources/luci.js``, or None; never one outside the roots."""
        for root in self.roots:
            file = (root / path).resolve()
            if file.is_file() and file.is_relative_to(root.resolve()) and file.suffix in TYPES:
                return file
        return None

    def names(self, folder: str) -> list[str]:
        """List the files that lie in a folder below ``/luci-static``, wherever they come from."""
        found = {file.name for root in self.roots for file in (root / folder).glob("*") if file.is_file()}
        return sorted(found)

    def preloads(self) -> list[str]:
        """Name the modules that LuCI loads on every page (``resources/preload/*.js``)."""
        return sorted({file.stem for root in self.roots for file in root.glob("resources/preload/*.js")})

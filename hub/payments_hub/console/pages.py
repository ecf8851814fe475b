"""Renders the templates. A page loads nothing but its style sheet, runs no script and cannot be framed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import jinja2
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from payments_hub.console.words import ACTIONS, moment, money, word
from payments_hub.texts import Text

__all__ = ["Pages", "stylesheet"]

_FOLDER: Final = Path(__file__).parent
_STYLE: Final = (_FOLDER / "style.css").read_bytes()
_STYLE_VERSION: Final = hashlib.sha256(_STYLE).hexdigest()[:12]

HEADERS: Final[Mapping[str, str]] = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Pages:
    def __init__(self) -> None:
        self._environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_FOLDER / "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )

    def render(self, template: str, locale: str, content: Mapping[str, Any], status: int = 200) -> Response:
        """A page in a language."""

        def translated(text: str | Text, **arguments: object) -> str:
            marked = Text(text, tuple(arguments.items())) if isinstance(text, str) else text
            return marked.in_locale(locale)

        helpers: dict[str, Callable[..., object] | str] = {
            "_": translated,
            "locale": locale,
            "moment": moment,
            "money": partial(money, locale=locale),
            "word": partial(word, locale=locale),
            "action_word": lambda name: ACTIONS[name].in_locale(locale) if name in ACTIONS else name,
            "style_version": _STYLE_VERSION,
        }
        body = self._environment.get_template(template).render(**helpers, **content)
        headers = {**HEADERS, "Content-Language": locale}
        return HTMLResponse(body, status, headers)


async def stylesheet(_request: Request) -> Response:
    """The only file of the pages; its address changes with its content."""
    headers = {"Cache-Control": "max-age=86400", "X-Content-Type-Options": "nosniff"}
    return Response(_STYLE, media_type="text/css", headers=headers)

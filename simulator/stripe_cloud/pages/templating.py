"""Jinja2 set-up shared by the pages: autoescape, the shipped templates, amounts and dates for people."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import jinja2
from aiohttp import web

from ..money import format_amount

_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.PackageLoader("simulator.stripe_cloud.pages", "templates"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)

_MONTHS_IT = [
    "gennaio",
    "febbraio",
    "marzo",
    "aprile",
    "maggio",
    "giugno",
    "luglio",
    "agosto",
    "settembre",
    "ottobre",
    "novembre",
    "dicembre",
]
_MONTHS_EN = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]


def format_date(moment: int, locale: str = "en") -> str:
    """`23 novembre 2026` or `23 November 2026` (UTC)."""
    day = datetime.fromtimestamp(moment, UTC)
    months = _MONTHS_IT if locale.startswith("it") else _MONTHS_EN
    return f"{day.day} {months[day.month - 1]} {day.year}"


def format_moment(moment: float) -> str:
    """`2026-11-23 14:05:09` (UTC)."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S")


_ENVIRONMENT.filters["date"] = format_date
_ENVIRONMENT.filters["moment"] = format_moment
_ENVIRONMENT.globals["amount"] = format_amount


def page(template: str, *, status: int = 200, **context: Any) -> web.Response:
    """Render a template; `locale` in the context chooses the language of `t(english, italian)`."""
    locale = str(context.setdefault("locale", "en"))
    context["t"] = lambda english, italian: italian if locale.startswith("it") else english
    text = _ENVIRONMENT.get_template(template).render(context)
    headers = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY"}
    return web.Response(text=text, content_type="text/html", charset="utf-8", status=status, headers=headers)


def language(request: web.Request, wanted: str | None) -> str:
    """`wanted` (the session's locale), or the browser's first choice where that is `auto` or unset; `it` or
    `en`.
    """
    tag = wanted if wanted and wanted != "auto" else request.headers.get("Accept-Language", "en")
    return "it" if tag.lower().startswith("it") else "en"

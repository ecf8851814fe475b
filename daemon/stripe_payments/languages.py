"""The languages that a person is answered in, and how a wish for one is read."""

from __future__ import annotations

from typing import Final

LANGUAGES: Final = ("en", "it")


def language(locale: str | None) -> str | None:
    """Our language for a tag such as `it-IT`; None for one that nothing here is written in."""
    tag = (locale or "").strip().lower().replace("_", "-").partition("-")[0]
    return tag if tag in LANGUAGES else None


def accepted_language(header: str) -> str | None:
    """The first language of an Accept-Language header, by weight, that we are written in."""
    weighted: list[tuple[float, int, str]] = []
    for position, part in enumerate(header.split(",")[:32]):
        tag, _, parameters = part.partition(";")
        name, _, value = parameters.strip().partition("=")
        try:
            weight = float(value) if name.strip() == "q" else 1.0
        except ValueError:
            continue
        if not 0 < weight <= 1:
            continue
        weighted.append((-weight, position, tag))
    for _, _, tag in sorted(weighted):
        if chosen := language(tag):
            return chosen
    return None

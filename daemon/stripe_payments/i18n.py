"""Sentences for a person: English in the code, Italian in ``po/it.po``.

``_("{count} events", count=3)`` is a `Text`: the English sentence and its arguments, translated only where
it is shown, because the caller's language is known there and not where the sentence is made. The catalog is
read when the first Italian text is shown; an English router never loads it.

The package ships ``po/it.mo``, which `tools/msgfmt.py` compiles from ``it.po`` (OpenWrt's SDK has no gettext
tools). In a source tree whatever starts the daemon compiles it. Without that file every text is English.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    import gettext

__all__ = [
    "CATALOG",
    "LANGUAGES",
    "Text",
    "Title",
    "Translatable",
    "_",
    "accepted_language",
    "add_catalog",
    "joined",
    "language",
    "shown",
]

LANGUAGES: Final = ("en", "it")
CATALOG: Final = f"{__file__.rpartition('/')[0]}/po/it.mo"

_PLACEHOLDER = re.compile(r"\{(\w+)\}")

_catalogs = [CATALOG]


@dataclass(frozen=True, slots=True)
class Text:
    """One sentence with its arguments; `str()` of it is English.

    An argument that is a text itself is shown in the same language. Braces that name no argument are part of
    the sentence.
    """

    template: str
    arguments: tuple[tuple[str, object], ...] = ()

    def in_locale(self, locale: str | None) -> str:
        """Return the sentence for a locale such as ``it``, ``it-IT`` or ``en_GB``."""
        template = self.template
        if template and language(locale) == "it":
            template = _italian().gettext(template)
        if not self.arguments:
            return template
        arguments = dict(self.arguments)

        def fill(found: re.Match[str]) -> str:
            name = found.group(1)
            return shown(arguments[name], locale) if name in arguments else found.group()

        return _PLACEHOLDER.sub(fill, template)

    def __str__(self) -> str:
        return self.in_locale("en")


class Translatable(Protocol):
    """Anything that can be shown in the caller's language."""

    def in_locale(self, locale: str | None) -> str:
        """Return it for a locale such as ``it-IT``."""
        ...


class Title(NamedTuple):
    """A text of the configuration: `title` and `title_it`, `description` and `description_it`."""

    en: str
    it: str

    def in_locale(self, locale: str | None) -> str:
        """Return the text for a locale such as ``it-IT``."""
        return self.it if language(locale) == "it" else self.en


def _(template: str, /, **arguments: object) -> Text:
    """Mark an English sentence for translation; ``{name}`` stands for the argument of that name."""
    return Text(template, tuple(arguments.items()))


def joined(texts: Iterable[Text], separator: str = "; ") -> Text:
    """Return one text made of several."""
    parts = tuple((str(position), text) for position, text in enumerate(texts))
    return Text(separator.join(f"{{{position}}}" for position, _text in parts), parts)


def shown(value: object, locale: str | None) -> str:
    """Return an argument of a sentence as it is written in the sentence's language."""
    return value.in_locale(locale) if isinstance(value, Text | Title) else str(value)


def language(locale: str | None) -> str | None:
    """Return `en` or `it` for a tag such as `it-IT`; None for a language without translation."""
    tag = (locale or "").strip().lower().replace("_", "-").partition("-")[0]
    return tag if tag in LANGUAGES else None


def accepted_language(header: str) -> str | None:
    """Return the first supported language of an Accept-Language header, by weight."""
    weighted: list[tuple[float, int, str]] = []
    for position, part in enumerate(header.split(",")[:32]):
        tag, _semicolon, parameters = part.partition(";")
        name, _equals, value = parameters.strip().partition("=")
        try:
            weight = float(value) if name.strip() == "q" else 1.0
        except ValueError:
            continue
        if not 0 < weight <= 1:
            continue
        weighted.append((-weight, position, tag))
    for _weight, _position, tag in sorted(weighted):
        if chosen := language(tag):
            return chosen
    return None


def add_catalog(path: str) -> None:
    """Translate with another compiled catalog as well: of a program that uses this package."""
    if path not in _catalogs:
        _catalogs.append(path)
        _italian.cache_clear()


@functools.cache
def _italian() -> gettext.NullTranslations:
    import gettext  # where Italian is shown: an English router saves the memory

    found = gettext.NullTranslations()
    for path in _catalogs:
        with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
            found.add_fallback(gettext.GNUTranslations(file))
    return found

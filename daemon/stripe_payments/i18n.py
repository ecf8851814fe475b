"""A text that a person reads, in the two languages of the product.

English comes first everywhere; a locale that begins with ``it`` gets the Italian text, any other the English
one.
"""

from typing import NamedTuple

__all__ = ["Text"]


class Text(NamedTuple):
    """One text in English and Italian."""

    en: str
    it: str

    def in_locale(self, locale: str | None) -> str:
        """The text for a locale such as ``it``, ``it-IT`` or ``en_GB``."""
        return self.it if locale is not None and locale.lower().startswith("it") else self.en

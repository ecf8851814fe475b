"""Translations for the browser: PO files as the JavaScript catalog that LuCI's ``_()`` looks up.

LuCI compiles PO files to ``.lmo`` and serves ``window.TR = {"<hash>": "<text>", …}``; the key is a hash of
the English text (context first, separated by U+0001; plural form last, separated by U+0002; white space runs
are one blank), and ``00000000`` holds the plural rule.
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path

from babel.messages.pofile import read_po

from tools.ipk import lmo


def key_hash(text: str) -> str:
    """The key of a text as LuCI writes it for the browser."""
    return f"{lmo.key_hash(text):08x}"


def _tidy(text: str) -> str:
    return re.sub(r"[ \t\n]+", " ", text.strip())


class MessageCatalog:
    """The texts of some PO files in one language; an empty one leaves everything English."""

    def __init__(self, files: Iterable[Path], locale: str) -> None:
        self.entries: dict[str, str] = {}
        for file in files:
            with file.open("rb") as source:
                catalog = read_po(source, locale=locale)
            self.entries["00000000"] = f"nplurals={catalog.num_plurals}; plural={catalog.plural_expr};"
            for message in catalog:
                if not message.id or message.fuzzy:
                    continue
                prefix = f"{_tidy(message.context)}\x01" if message.context else ""
                if isinstance(message.id, (tuple, list)):
                    for form, text in enumerate(message.string):
                        self._add(f"{prefix}{_tidy(message.id[0])}\x02{form}", text)
                else:
                    self._add(prefix + _tidy(message.id), str(message.string))

    def _add(self, key: str, text: str) -> None:
        if text:
            self.entries[key_hash(key)] = text

    def translate(self, text: str) -> str:
        """Return the text in this language, or as it is."""
        return self.entries.get(key_hash(_tidy(text)), text)

    def script(self) -> str:
        """Return the catalog as LuCI serves it to the browser."""
        return f"window.TR={json.dumps(self.entries, ensure_ascii=False)};"

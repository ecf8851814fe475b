"""The daemon's compiled catalog says what Babel compiles from the same source."""

import gettext
import os
from io import BytesIO
from pathlib import Path

import pytest
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from tools.ipk.makefiles import REPOSITORY
from tools.msgfmt import compile_catalog
from tools.msgfmt import read_po as read_own

SOURCE = REPOSITORY / "daemon/stripe_payments/po/it.po"

EXAMPLE = r"""
msgid ""
msgstr "Content-Type: text/plain; charset=UTF-8\n"

# A remark.
#, python-brace-format
msgid "“{name}” is\n"
"\"unpaid\""
msgstr ""
"«{name}» \\ non è\t"
"pagato"

msgid "untranslated"
msgstr ""
"""


def messages(compiled: bytes) -> dict[str, str]:
    return dict(vars(gettext.GNUTranslations(BytesIO(compiled)))["_catalog"])


@pytest.mark.parametrize("text", [SOURCE.read_text("utf-8"), EXAMPLE], ids=["it.po", "example"])
def test_the_catalog_is_the_one_that_babel_compiles(text: str, tmp_path: Path) -> None:
    source, target = tmp_path / "in.po", tmp_path / "out.mo"
    source.write_text(text, "utf-8")
    compile_catalog(source, target)
    ours, theirs = messages(target.read_bytes()), BytesIO()
    write_mo(theirs, read_po(BytesIO(text.encode())))
    assert ours.pop("") is not None
    expected = messages(theirs.getvalue())
    expected.pop("")
    assert ours == expected


def test_an_older_result_is_compiled_again_and_a_newer_one_is_kept(tmp_path: Path) -> None:
    source, target = tmp_path / "in.po", tmp_path / "out.mo"
    source.write_text(EXAMPLE, "utf-8")
    compile_catalog(source, target)
    written = target.stat().st_mtime_ns
    compile_catalog(source, target)
    assert target.stat().st_mtime_ns == written
    source.write_text(EXAMPLE.replace("pagato", "saldato"), "utf-8")
    os.utime(target, (0, 0))
    compile_catalog(source, target)
    assert b"saldato" in target.read_bytes()
    assert set(tmp_path.iterdir()) == {source, target}, "a temporary file was left"


@pytest.mark.parametrize(
    "line", ['msgctxt "context"', 'msgid_plural "events"', 'msgstr[0] "evento"', "msgid unquoted", '"alone"']
)
def test_what_it_does_not_compile_is_an_error(line: str) -> None:
    with pytest.raises(ValueError, match="line 1"):
        read_own(line)

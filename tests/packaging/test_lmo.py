"""Compiled catalogs: LuCI finds every text under the key that it looks up."""

import os
import subprocess
from pathlib import Path

import pytest
from babel.messages.pofile import read_po

from simulator.browser_front.message_catalog import MessageCatalog
from tools.ipk.lmo import Entry, compile_po, decode, encode, key_hash
from tools.ipk.makefiles import REPOSITORY

PO = REPOSITORY / "luci-app-stripe-payments/po/it/stripe-payments.po"

WITH_EVERYTHING = """
msgid ""
msgstr ""
"Content-Type: text/plain; charset=UTF-8\\n"
"Language: it\\n"
"Plural-Forms: nplurals=2; plural=(n != 1);\\n"

msgid "Pay"
msgstr "Paga"

msgctxt "noun"
msgid "Pay"
msgstr "Paga (sostantivo)"

msgid "%d day"
msgid_plural "%d days"
msgstr[0] "%d giorno"
msgstr[1] "%d giorni"

msgid "not translated"
msgstr ""

msgid "Stripe"
msgstr "Stripe"

msgid "\\"quoted\\""
msgstr "«tra virgolette»"
"""


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    """A PO file with every kind of message."""
    file = tmp_path / "it/everything.po"
    file.parent.mkdir()
    file.write_text(WITH_EVERYTHING, "utf-8")
    return file


def test_the_packaged_catalog_has_what_the_browser_gets(installed: Path) -> None:
    compiled = decode((installed / "usr/lib/lua/luci/i18n/stripe-payments.it.lmo").read_bytes())
    browser = {int(key, 16): text for key, text in MessageCatalog([PO], "it").entries.items()}
    same_in_both_languages = {key for key, text in browser.items() if key_hash(text) == key}
    assert compiled == {key: text for key, text in browser.items() if key not in same_in_both_languages}
    assert len(compiled) > 80


def test_keys(catalog: Path) -> None:
    assert decode(compile_po(catalog)) == {
        0: "nplurals=2; plural=(n != 1);",
        key_hash("Pay"): "Paga",
        key_hash("noun\x01Pay"): "Paga (sostantivo)",
        key_hash("%d day\x020"): "%d giorno",
        key_hash("%d day\x021"): "%d giorni",
        key_hash('"quoted"'): "«tra virgolette»",
    }


def test_the_index_is_sorted_and_aligned() -> None:
    """LuCI looks keys up by bisection in the mapped file."""
    data = encode([Entry(7, 1, "sette"), Entry(3, 1, "tre"), Entry(0xFFFFFFFF, 1, "")])
    start = int.from_bytes(data[-4:], "big")
    assert start % 4 == 0
    keys = [int.from_bytes(data[at : at + 4], "big") for at in range(start, len(data) - 4, 16)]
    assert keys == [3, 7, 0xFFFFFFFF]
    assert decode(data) == {3: "tre", 7: "sette", 0xFFFFFFFF: ""}


@pytest.mark.parametrize("damage", [b"", b"\0\0", b"\xff\xff\xff\xff", b"abc\xff\0\0\0\0"])
def test_other_files_are_no_catalogs(damage: bytes) -> None:
    with pytest.raises(ValueError, match="no catalog"):
        decode(damage)


@pytest.mark.interop
def test_luci_s_own_compiler_writes_the_same_bytes(catalog: Path, tmp_path: Path) -> None:
    compiler = Path(os.environ.get("OPENWRT_STAGING", "/nowhere"), "bin/po2lmo")
    if not compiler.exists():
        pytest.skip("OPENWRT_STAGING names no folder with po2lmo")
    for source in (PO, catalog):
        target = tmp_path / "compiled.lmo"
        subprocess.run([compiler, source, target], check=True, timeout=30)
        theirs, ours = target.read_bytes(), compile_po(source)
        # Plural forms: po2lmo counts from the form before; the number is not used.
        assert decode(theirs) == decode(ours)
        if source == PO:
            assert theirs == ours


def test_the_source_is_read_as_its_language() -> None:
    with PO.open("rb") as file:
        assert read_po(file).locale_identifier == "it"

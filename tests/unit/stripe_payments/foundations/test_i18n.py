"""Sentences with arguments, in English and from the Italian catalog."""

from pathlib import Path

import pytest

from stripe_payments import i18n
from stripe_payments.i18n import Text, Title, _, joined

AT_MOST = _("it must be between {minimum} and {maximum}", minimum=1, maximum=30)


def test_a_text_is_translated_where_it_is_shown() -> None:
    assert str(AT_MOST) == "it must be between 1 and 30"
    assert AT_MOST.in_locale("it-IT") == "deve essere compreso tra 1 e 30"
    assert AT_MOST.in_locale("de") == AT_MOST.in_locale(None) == str(AT_MOST)


def test_an_argument_is_shown_in_the_language_of_its_sentence() -> None:
    full = _("the storage is full")
    text = Text("{title}: {problem}", (("title", Title("Support", "Assistenza")), ("problem", full)))
    assert str(text) == "Support: the storage is full"
    assert text.in_locale("it") == "Assistenza: la memoria è piena"
    assert joined([full, AT_MOST], ", ").in_locale("it") == (
        "la memoria è piena, deve essere compreso tra 1 e 30"
    )
    assert joined([]).in_locale("it") == ""


def test_braces_in_sentences_and_arguments_stay() -> None:
    text = Text('call \'{"url":"…"}\' for {name} {0}', (("name", "{minimum}"),))
    assert str(text) == 'call \'{"url":"…"}\' for {minimum} {0}'


def test_english_loads_no_catalog(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(i18n, "_italian")
    assert str(AT_MOST) == AT_MOST.in_locale("de") == "it must be between 1 and 30"


def test_without_a_catalog_italian_is_english(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(i18n, "_catalogs", [f"{tmp_path}/it.mo"])
    i18n._italian.cache_clear()
    try:
        assert AT_MOST.in_locale("it") == "it must be between 1 and 30"
    finally:
        i18n._italian.cache_clear()

"""UCI's text: read as libuci reads it, written as libuci writes it."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.router.uci_changes import Change, ChangeKind, apply_changes, format_change, parse_changes
from simulator.router.uci_file import OptionValue, Package, UciError, UciParseError, dump, parse

names = st.from_regex(r"[A-Za-z0-9_]{1,8}", fullmatch=True)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=30)


def options_of(text: str) -> dict[str, OptionValue]:
    return parse("x", "config t s\n" + text).sections[0].options


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("option a b", "b"),
        ("\toption\ta\t'b c'\n", "b c"),
        ('option a "b c"', "b c"),
        ("o a b", "b"),
        ("option a b # why", "b"),
        ("option a b#why", "b"),
        ("option a '#b'", "#b"),
        (r"option a 'it'\''s'", "it's"),
        (r'option a "say \"x\" \\ y"', r'say "x" \ y'),
        (r"option a 'back\slash'", r"back\slash"),
        (r"option a b\ c", "b c"),
        ("option a 'two\nlines'", "two\nlines"),
        ('option a "two\nlines"', "two\nlines"),
        ("option a one\\\ntwo", "onetwo"),
        ("option a b\r\n", "b"),
        ("option 'a' b; option c d", "b"),
        ("option a b\noption a c", "c"),
        ("option a città", "città"),
    ],
)
def test_an_option(text: str, value: str) -> None:
    assert options_of(text)["a"] == value


@pytest.mark.parametrize("text", ["option a ''", "option a", "option a b\noption a ''"])
def test_an_empty_option_does_not_exist(text: str) -> None:
    assert options_of(text) == {}


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("list a b\nlist a c", ["b", "c"]),
        ("option a b\nlist a c", ["b", "c"]),
        ("list a ''", [""]),
        ("list a b; list a c; l a d", ["b", "c", "d"]),
    ],
)
def test_a_list(text: str, items: list[str]) -> None:
    assert options_of(text) == {"a": items}


def test_a_section_is_continued_by_its_name() -> None:
    package = parse("x", "config t a\noption x 1\nconfig t b\nconfig t a\noption y 2\n")
    assert [(section.name, section.options) for section in package.sections] == [
        ("a", {"x": "1", "y": "2"}),
        ("b", {}),
    ]


def test_what_is_changed_after_reading_is_not_read_again() -> None:
    text = "config type 'name'\n\toption one 'value'\n\tlist many 'item'\n"
    read = parse("test", text)
    section = read.section("name")
    assert section is not None
    section.options["one"] = "changed"
    many = section.options["many"]
    assert isinstance(many, list)
    many.append("added")
    added = read.add("type").name
    again = parse("test", text)
    assert [one.options for one in again.sections] == [{"one": "value", "many": ["item"]}]
    assert again.add("type").name == added


def test_anonymous_sections_are_called_as_libuci_calls_them() -> None:
    """The names a real uci gave to these sections."""
    package = parse("x", "config thing main\nconfig other\nconfig thing two\nconfig other\nconfig fe-at\n")
    assert [section.name for section in package.sections] == [
        "main",
        "cfg0203e7",
        "two",
        "cfg0403e7",
        "cfg05f232",
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("option a b", 1),
        ("config", 1),
        ("config t s x", 1),
        ("config t\n\noption a 'b", 3),
        ('config t\noption a "b\n', 2),  # as the real one counts
        ("config t\noption a-b c", 2),
        ("config t\noption a b c", 2),
        ("config t bad-name", 1),
        ("nonsense", 1),
        ("config t s\nconfig other s", 2),
        ("config 'caffè'", 1),
    ],
)
def test_what_libuci_refuses(text: str, line: int) -> None:
    with pytest.raises(UciParseError) as caught:
        parse("x", text)
    assert caught.value.line == line


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("a", "a"),
        ("@t[0]", "a"),
        ("@t[1]", "c"),
        ("@t[-1]", "c"),
        ("@t[-2]", "a"),
        ("@[1]", "b"),
        ("@t[2]", None),
        ("@t[-3]", None),
        ("@none[0]", None),
        ("z", None),
    ],
)
def test_references(reference: str, name: str | None) -> None:
    found = parse("x", "config t a\nconfig u b\nconfig t c\n").find(reference)
    assert (found.name if found else None) == name


@pytest.mark.parametrize("reference", ["@t", "@t[x]", "@t[0", "@t[0]x"])
def test_malformed_references(reference: str) -> None:
    with pytest.raises(UciError):
        parse("x", "config t a\n").find(reference)


values = st.one_of(texts, st.lists(texts, min_size=1, max_size=3))
sections = st.dictionaries(names, st.dictionaries(names, values, max_size=4), max_size=4)


@given(sections)
def test_what_is_written_reads_back(content: dict[str, dict[str, OptionValue]]) -> None:
    package = Package("x")
    for name, options in content.items():
        package.add("t", name).options.update(options)
    package.add("t")
    again = parse("x", dump(package))
    assert [(s.type, s.name, s.anonymous, s.options) for s in again.sections] == [
        (s.type, s.name, s.anonymous, s.options) for s in package.sections
    ]
    assert dump(again) == dump(package)


@given(st.text(max_size=60))
def test_no_text_crashes_the_parser(text: str) -> None:
    with contextlib.suppress(UciParseError):
        parse("x", text)


printable = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)


@given(st.lists(st.tuples(names, names, printable), max_size=5))
def test_staged_changes_read_back(rows: list[tuple[str, str, str]]) -> None:
    changes = [Change(ChangeKind.SET, section, option, value) for section, option, value in rows]
    text = "".join(format_change("x", change) for change in changes)
    assert list(parse_changes("x", text)) == changes


def test_the_delta_file_is_the_one_libuci_writes() -> None:
    """Lines a real rpcd wrote."""
    text = (
        "+spike.cfg05f232='fe-at'\n|spike.cfg05f232.z='it'\\''s'\n-spike.main.l\n-spike.two\n"
        "@spike.main='two'\nspike.two.x='line\nbreak'\n^spike.two='0'\n~spike.two.l='x'\n"
    )
    changes = list(parse_changes("spike", text))
    assert [change.kind for change in changes] == [
        ChangeKind.ADD,
        ChangeKind.LIST_ADD,
        ChangeKind.REMOVE,
        ChangeKind.REMOVE,
        ChangeKind.RENAME,
        ChangeKind.SET,
        ChangeKind.ORDER,
        ChangeKind.LIST_DEL,
    ]
    assert "".join(format_change("spike", change) for change in changes) == text


def test_bad_lines_of_a_delta_file_cost_only_themselves() -> None:
    text = "garbage\nother.s.a='1'\nx.s.bad-name='1'\nx.s.a='ctl\x01'\nx.s.a\nx.nope.a='1'\nx.s.b='2'\n"
    package = parse("x", "config t s\n")
    assert apply_changes(package, parse_changes("x", text)) == 1
    assert package.sections[0].options == {"b": "2"}

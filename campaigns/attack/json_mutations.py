"""JSON, damaged in its structure: what a program meets that believes what it reads."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any, TypeAlias

__all__ = ["DELETED", "JUNK", "Path", "mutated", "nested", "paths", "placed"]

Path: TypeAlias = "tuple[str | int, ...]"

DELETED = "\x00deleted"
"""Stands for "take it away" where a value is expected."""


def nested(depth: int) -> Any:
    """A list in a list in a list …"""
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


JUNK: Sequence[Any] = (
    None,
    True,
    False,
    0,
    -1,
    1 << 31,
    1 << 63,
    -(1 << 63) - 1,
    10**30,
    253402300800,  # the year 10000
    -62135596801,  # before the year 1
    0.5,
    1e308,
    "",
    " ",
    "0",
    "-",
    "x" * 300,
    "a\nb\r\nc: d",
    "nul \x00 inside",
    "\ud800 half",
    "\x1b[2J\x07",
    "‮‏\u2028",
    "<img src=x onerror=alert(1)>",
    "{item} {0} %s %(x)s ${x} {{7*7}}",
    "' OR 1=1; --",
    "../../etc/passwd",
    "javascript:alert(1)",
    "=HYPERLINK(1)",
    [],
    {},
    [None],
    [[]],
    [{}],
    {"": None},
    {"id": None, "object": None},
    {"data": None},
    {"object": "list", "data": [None, 1, "x", [], {}]},
    nested(40),
)


def paths(tree: Any, above: Path = ()) -> Iterator[Path]:
    """Every place in a tree, the root first."""
    yield above
    if isinstance(tree, dict):
        for name, inner in tree.items():
            yield from paths(inner, (*above, name))
    elif isinstance(tree, list):
        for number, inner in enumerate(tree):
            yield from paths(inner, (*above, number))


def at(tree: Any, path: Path) -> Any:
    """What is at a place. Raises LookupError or TypeError where there is no such place."""
    for step in path:
        tree = tree[step]
    return tree


def placed(tree: Any, path: Path, value: Any) -> Any:
    """The tree with another value at a place (`DELETED`: with nothing there); a tree without the place as
    is.
    """
    if not path:
        return None if value == DELETED else copy.deepcopy(value)
    tree = copy.deepcopy(tree)
    try:
        holder = at(tree, path[:-1])
        if isinstance(value, str) and value == DELETED:
            del holder[path[-1]]
        elif isinstance(holder, dict):
            holder[path[-1]] = value
        else:
            holder[path[-1]]  # an index that is not there is no place
            holder[path[-1]] = value
    except (LookupError, TypeError):
        pass
    return tree


def mutated(chance: Random, tree: Any, junk: Sequence[Any] = JUNK) -> Any:
    """The tree with one thing changed: a value replaced, taken away, doubled, swapped or wrapped."""
    path = chance.choice(list(paths(tree)))
    here = at(tree, path)
    match chance.randrange(7):
        case 0 | 1 | 2:
            return placed(tree, path, copy.deepcopy(chance.choice(junk)))
        case 3:
            return placed(tree, path, DELETED)
        case 4:
            return placed(tree, path, [here, copy.deepcopy(here)])
        case 5:
            other = at(tree, chance.choice(list(paths(tree))))
            return placed(tree, path, copy.deepcopy(other))
        case _:
            if isinstance(here, str):
                return placed(tree, path, _misspelt(chance, here))
            return placed(tree, path, str(here)) if not isinstance(here, dict | list) else tree


def _misspelt(chance: Random, text: str) -> str:
    if not text:
        return "\ufeff"
    place = chance.randrange(len(text))
    return chance.choice(
        (
            text[:place] + text[place + 1 :],
            text[:place] + chance.choice("\x00\n\"'<>&\\{}%;\u202e\ud801é") + text[place:],
            text * 2,
            text.swapcase(),
            text[::-1],
            text + "/../" + text,
        )
    )

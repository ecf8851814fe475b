"""Everything that is shipped or installed with it may be used in a work under Apache-2.0."""

from __future__ import annotations

import re
from importlib.metadata import distribution

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools.ipk.makefiles import REPOSITORY

PERMISSIVE = {
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "PSF-2.0",
    "Python-2.0",
}
BY_OTHER_NAMES = {
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
LIBRARIES = {"psycopg", "psycopg-binary", "psycopg-pool"}
"""Under the LGPL: installed beside the hub and unchanged, not part of its wheel."""


def _installed(*files: str) -> dict[str, str]:
    """The name and the licence of each distribution that the requirements bring along."""
    found: dict[str, str] = {}
    waiting = [
        Requirement(line)
        for file in files
        for line in (REPOSITORY / "requirements" / file).read_text().splitlines()
        if line and not line.startswith(("#", "-r"))
    ]
    while waiting:
        wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        if name in found:
            continue
        metadata = distribution(name).metadata
        found[name] = _licence(
            metadata.get_all("License-Expression"), metadata.get_all("Classifier"), metadata["License"]
        )
        for text in distribution(name).requires or ():
            needed = Requirement(text)
            extras = [{"extra": extra} for extra in ("", *wanted.extras)]
            if needed.marker is None or any(needed.marker.evaluate(extra) for extra in extras):
                waiting.append(needed)
    return found


def _licence(expression: list[str] | None, classifiers: list[str] | None, free: str | None) -> str:
    if expression:
        return expression[0]
    named = [name.rsplit(" :: ", 1)[-1] for name in classifiers or () if name.startswith("License :: ")]
    return " AND ".join(BY_OTHER_NAMES.get(name, name) for name in named or [free or "none"])


@pytest.mark.parametrize("files", [("router.in",), ("router.in", "hub.in")], ids=["router", "hub"])
def test_licences_are_permitted(files: tuple[str, ...]) -> None:
    found = _installed(*files)
    assert {"stripe", "requests"} <= found.keys(), "the walk found what is known to be there"
    refused = {}
    for name, licence in found.items():
        terms = {term.strip("() ") for term in re.split(r" (?:AND|OR) ", licence)}
        if not terms <= PERMISSIVE and name not in LIBRARIES:
            refused[name] = licence
    assert refused == {}

"""Everything that is shipped or installed with it may be used in a work under Apache-2.0."""

from __future__ import annotations

import re

import pytest

from tools.sbom import dependencies

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
LIBRARIES = {"psycopg", "psycopg-binary", "psycopg-pool"}
"""Under the LGPL: installed beside the hub and unchanged, not part of its wheel."""


@pytest.mark.parametrize("files", [("router.in",), ("router.in", "hub.in")], ids=["router", "hub"])
def test_licences_are_permitted(files: tuple[str, ...]) -> None:
    found = dependencies(*files)
    assert {"stripe", "requests"} <= found.keys(), "the walk found what is known to be there"
    refused = {}
    for name, dependency in found.items():
        terms = {term.strip("() ") for term in re.split(r" (?:AND|OR) ", dependency.licence)}
        if not terms <= PERMISSIVE and name not in LIBRARIES:
            refused[name] = dependency.licence
    assert refused == {}

"""docs/stripe.md: the tests that it names exist, and it is about the version that is pinned."""

import ast

import pytest
import stripe

from tests.docs.markdown import DOCS, rows_of

ROWS = rows_of("stripe.md")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row[0]))
def test_the_named_test_exists(row: list[str]) -> None:
    path, _, name = row[3].strip("`").partition("::")
    tree = ast.parse((DOCS.parent / path).read_text("utf-8"))
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert name in [function.name for function in functions]


def test_every_row_has_its_source_and_is_in_both_languages() -> None:
    assert all(source.startswith("<https://") for _, _, source, _ in ROWS)
    assert [row[2:] for row in rows_of("stripe.it.md")] == [row[2:] for row in ROWS]


@pytest.mark.parametrize("page", ["stripe.md", "stripe.it.md"])
def test_it_is_about_the_pinned_version(page: str) -> None:
    assert stripe.api_version in (DOCS / page).read_text("utf-8")

"""Every link between the documents leads somewhere, and every document is there in both languages."""

import re
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)")
FOR_DEVELOPERS_ALONE = ("CHANGELOG.md", "daemon/", "simulator/", "tests/")
BOTH_IN_ONE = ("SECURITY.md", "docs/examples/")


def _documents() -> list[str]:
    listed = subprocess.run(
        ["git", "-C", str(REPOSITORY), "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        capture_output=True,
        text=True,
        check=True,
    )
    return [name for name in listed.stdout.splitlines() if (REPOSITORY / name).exists()]


def _anchors(document: Path) -> set[str]:
    """The names of the headings, as the web pages of the repository make them."""
    headings = re.findall(r"^#+ (.*)$", document.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", _documents())
def test_links_lead_somewhere(name: str) -> None:
    document = REPOSITORY / name
    for path, anchor in LINK.findall(document.read_text("utf-8")):
        if ":" in path:
            continue
        target = document.parent / path if path else document
        assert target.exists(), path
        if anchor:
            assert anchor in _anchors(target), f"{path}#{anchor}"


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in _documents()
        if not name.startswith(FOR_DEVELOPERS_ALONE + BOTH_IN_ONE) and not name.endswith(".it.md")
    ],
)
def test_what_people_read_is_there_in_italian(name: str) -> None:
    italian = REPOSITORY / f"{name.removesuffix('.md')}.it.md"
    assert italian.exists()
    sections = [
        len(re.findall(r"^#+ ", file.read_text("utf-8"), re.MULTILINE))
        for file in (REPOSITORY / name, italian)
    ]
    assert sections[0] == sections[1], "sections"
    assert f"({italian.name})" in (REPOSITORY / name).read_text("utf-8")
    assert f"({Path(name).name})" in italian.read_text("utf-8")

"""Tables in the documentation."""

from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"


def rows_of(document: str) -> list[list[str]]:
    """The rows of all tables in a document, without their headers."""
    found: list[list[str]] = []
    before: str | None = None
    for line in (DOCS / document).read_text("utf-8").splitlines():
        if line.startswith("|"):
            cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
            if set("".join(cells)) <= {"-", ":"}:
                assert before is not None
                found.pop()
            else:
                found.append(cells)
        before = line
    return found


def example_script(document: str) -> str:
    """The hotplug script that a document shows to other packages."""
    return block_with("$FEATURE", document)


def block_with(word: str, document: str, language: str = "sh") -> str:
    """The one code block of that language in which a word occurs."""
    blocks = (DOCS / document).read_text("utf-8").split(f"```{language}\n")[1:]
    (found,) = (text for text in (block.partition("```")[0] for block in blocks) if word in text)
    return found

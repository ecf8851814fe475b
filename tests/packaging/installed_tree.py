"""What a package manager has made of a folder that is a router's `/`."""

from pathlib import Path


def assert_holds(root: Path, expected: Path) -> None:
    """Below `root` is everything that is below `expected`, with the same content and modes."""
    for path in expected.rglob("*"):
        file = root / path.relative_to(expected)
        assert file.is_dir() == path.is_dir()
        assert file.stat().st_mode == path.stat().st_mode
        if path.is_file():
            assert file.read_bytes() == path.read_bytes()

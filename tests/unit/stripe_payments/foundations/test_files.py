"""Small files: the old content or the new."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from stripe_payments.files import set_aside, write_durably


def test_the_data_is_synced_before_the_name_and_the_directory_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order that makes it durable: any other leaves a window for an empty file."""
    steps: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def noted_fsync(descriptor: int) -> None:
        steps.append("sync " + Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        fsync(descriptor)

    def noted_replace(self: Path, target: Path) -> Path:
        steps.append(f"rename to {target.name}")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    write_durably(tmp_path / "file", b"new")
    assert steps == ["sync .file.new", "rename to file", f"sync {tmp_path.name}"]


def test_a_failure_before_the_rename_leaves_the_old_file_and_nothing_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_durably(tmp_path / "file", b"old")

    def failing(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(OSError, match="Input/output"):
        write_durably(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_leftover_temporary_file_is_replaced_and_a_link_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"mine")
    (tmp_path / ".file.new").symlink_to(tmp_path / "elsewhere")
    write_durably(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"
    assert (tmp_path / "elsewhere").read_bytes() == b"mine"


def test_corrupt_files_are_numbered_and_the_oldest_removed(tmp_path: Path) -> None:
    for number in range(1, 13):
        (tmp_path / "file").write_text(str(number))
        assert set_aside(tmp_path / "file").name == f"file.corrupt-{number}"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file.corrupt-11", "file.corrupt-12"]


def test_concurrent_writers_do_not_conflict(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as writers:
        list(writers.map(lambda number: write_durably(tmp_path / "file", b"%d" % number), range(64)))
    assert int((tmp_path / "file").read_bytes()) in range(64)
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]

"""The form of the package files: what opkg takes, and the same bytes each time."""

import gzip
import io
import tarfile
from pathlib import Path, PurePosixPath

import pytest

import ubus_py
from stripe_payments import __version__
from tests.packaging.conftest import TIME, build_elsewhere, content
from tests.packaging.ipk_file import IpkFile

NAMES = [
    "luci-app-stripe-payments",
    "luci-i18n-stripe-payments-it",
    "python3-stripe",
    "python3-ubus-py",
    "stripe-payments",
    "stripe-payments-features",
]


def test_every_package_is_built(built: Path) -> None:
    assert sorted(file.name for file in built.rglob("*.ipk")) == [
        f"luci-app-stripe-payments_{__version__}-r1_all.ipk",
        f"luci-i18n-stripe-payments-it_{__version__}-r1_all.ipk",
        "python3-stripe_16.1.0-r1_all.ipk",
        f"python3-ubus-py_{ubus_py.__version__}-r1_all.ipk",
        f"stripe-payments-features_{__version__}-r1_all.ipk",
        f"stripe-payments-hub_{__version__}-r1_all.ipk",
        f"stripe-payments_{__version__}-r1_all.ipk",
    ]


def test_building_again_gives_the_same_bytes(built: Path, tmp_path: Path) -> None:
    """And with an older package in the way."""
    (tmp_path / "stripe-payments_0.0.1-r1_all.ipk").write_bytes(b"old")
    printed = build_elsewhere(tmp_path)
    assert content(tmp_path) == content(built)
    sizes = printed.splitlines()[1:]
    assert sorted(line.split()[-1].rsplit("/", 1)[-1] for line in sizes) == sorted(
        file.name for file in built.rglob("*.ipk")
    )
    assert all(int(line.split()[0]) > 0 and int(line.split()[2]) > 0 for line in sizes)


@pytest.mark.parametrize("name", NAMES)
def test_the_outer_archive_holds_the_three_parts_in_their_order(
    packages: dict[str, IpkFile], name: str
) -> None:
    with tarfile.open(fileobj=io.BytesIO(packages[name].outer)) as archive:
        assert archive.getnames() == ["./debian-binary", "./data.tar.gz", "./control.tar.gz"]
        version = archive.extractfile("./debian-binary")
        assert version is not None
        assert version.read() == b"2.0\n"


@pytest.mark.parametrize("name", NAMES)
def test_archives_are_gnu_tar_of_root_by_number(packages: dict[str, IpkFile], name: str) -> None:
    package = packages[name]
    for archive in (package.outer, package.data, package.control):
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            for member in tar:
                header = archive[member.offset : member.offset + 512]
                assert header[257:265] == b"ustar  \0", f"{member.name}: not GNU's magic"
                assert member.type in (tarfile.REGTYPE, tarfile.DIRTYPE), f"{member.name}: {member.type!r}"
                assert (member.uid, member.gid, member.uname, member.gname) == (0, 0, "", "")
                assert member.mtime == TIME


def test_gzip_headers_bear_no_time_and_no_name(built: Path) -> None:
    for file in built.rglob("*.ipk"):
        outer = file.read_bytes()
        streams = [outer]
        with tarfile.open(fileobj=io.BytesIO(gzip.decompress(outer))) as archive:
            for member in archive:
                part = archive.extractfile(member)
                assert part is not None
                if member.name.endswith(".gz"):
                    streams.append(part.read())
        assert len(streams) == 3
        for stream in streams:
            assert stream[:3] == b"\x1f\x8b\x08"
            assert stream[3] == 0, "flags: a name or a comment follows"
            assert stream[4:8] == bytes(4), "the time"


@pytest.mark.parametrize("name", NAMES)
def test_every_parent_directory_is_listed_before_what_is_in_it(
    packages: dict[str, IpkFile], name: str
) -> None:
    for archive in (packages[name].data, packages[name].control):
        seen: set[PurePosixPath] = set()
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            for member in tar:
                path = PurePosixPath(member.name)
                assert member.name == "." or member.name.startswith("./")
                assert path not in seen, f"{member.name} is there twice"
                assert path == PurePosixPath(".") or path.parent in seen, (
                    f"{member.name} before its directory"
                )
                seen.add(path)
                if member.isdir():
                    assert member.mode == 0o755


def test_a_long_name_survives(tmp_path: Path) -> None:
    """Python's own default of a tar format writes it in a way that opkg garbles."""
    from tools.ipk.archives import members_of, tar

    long = "a" * 90 + "/" + "b" * 120
    (tmp_path / long).parent.mkdir()
    (tmp_path / long).write_text("x")
    archive = tar(members_of(tmp_path), TIME)
    assert b"././@LongLink" in archive
    assert b"PaxHeader" not in archive
    with tarfile.open(fileobj=io.BytesIO(archive)) as read:
        assert read.getnames()[-1] == f"./{long}"

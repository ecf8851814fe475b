"""Takes an `.ipk` file apart, by Python's own means and not by the tool's."""

import gzip
import io
import tarfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class IpkFile:
    """One package file; the archives as bytes, not yet unpacked, for those who look at the format."""

    outer: bytes
    data: bytes
    control: bytes

    @classmethod
    def read(cls, file: Path) -> "IpkFile":
        """The three archives of a file."""
        outer = gzip.decompress(file.read_bytes())
        with tarfile.open(fileobj=io.BytesIO(outer)) as archive:
            parts = {member.name: archive.extractfile(member) for member in archive}
            data, control = parts["./data.tar.gz"], parts["./control.tar.gz"]
            assert data is not None
            assert control is not None
            return cls(outer, gzip.decompress(data.read()), gzip.decompress(control.read()))

    @property
    def fields(self) -> dict[str, str]:
        """The control file; a value of several lines as it stands."""
        fields: dict[str, str] = {}
        name = ""
        for line in self.control_text("control").splitlines():
            if line.startswith(" "):
                fields[name] += "\n" + line
            else:
                name, value = line.split(": ", 1)
                fields[name] = value
        return fields

    @property
    def depends(self) -> set[str]:
        """The names of the packages that it needs."""
        return set(self.fields.get("Depends", "").split(", ")) - {""}

    def control_text(self, name: str) -> str:
        """One file of the control archive."""
        with tarfile.open(fileobj=io.BytesIO(self.control)) as archive:
            file = archive.extractfile(f"./{name}")
            assert file is not None
            return file.read().decode()

    def modes(self, archive: bytes | None = None) -> dict[str, int]:
        """Path to mode of what it installs (or of another of its archives); a directory ends with a slash."""
        with tarfile.open(fileobj=io.BytesIO(archive or self.data)) as tar:
            return {
                member.name.removeprefix("./") + ("/" if member.isdir() else ""): member.mode
                for member in tar
            }

    def unpack(self, root: Path) -> None:
        """Installs its files below `root`."""
        with tarfile.open(fileobj=io.BytesIO(self.data)) as archive:
            archive.extractall(root, filter="tar")

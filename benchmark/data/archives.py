"""Official archives of data sets: downloaded if that is allowed, verified by checksum, unpacked."""

from __future__ import annotations

import hashlib
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from benchmark.errors import BadInput
from benchmark.files import file_problem

MAX_BYTES = 2_000_000_000  # of all files of an archive


def ensure_files(kind: type, name: str, root: Path, download: bool) -> None:
    """Ensure that `root` holds the verified files: unpack the archive, download it if allowed.  Raises BadInput.

    kind: torchvision's class of the data set, which names files and checksums.
    """
    folder, archive = root / kind.base_folder, root / kind.filename
    if not folder.exists() and not archive.exists() and download:
        download_archive(kind, name, root)
    if not folder.exists() and archive.exists():
        verify(archive, kind.tgz_md5)
        unpack(archive, kind.base_folder)
    if not folder.exists():
        raise BadInput(
            f"{name} is not in {root}: put the official {kind.filename}, or the folder {kind.base_folder}/ unpacked "
            f"from it, there, name another folder with --data DIR, or download it with --download"
        )
    for file, md5 in (*kind.train_list, *kind.test_list, (kind.meta["filename"], kind.meta["md5"])):
        verify(folder / file, md5)


def download_archive(kind: type, name: str, root: Path) -> None:
    """Download the official archive.  Raises BadInput if that fails."""
    from torchvision.datasets.utils import download_url

    try:
        download_url(kind.url, str(root), kind.filename, kind.tgz_md5)
    except (OSError, RuntimeError) as fault:
        raise BadInput(
            f"{name} could not be downloaded ({fault}); put the official {kind.filename} into {root} and run again"
        ) from fault


def unpack(archive: Path, folder: str) -> None:
    """Unpack the files of an archive's one folder beside the archive, all or none.  Raises BadInput.

    An archive that holds anything else, such as a link, a device or a path that leads elsewhere, is refused.
    """
    target = archive.parent / folder
    try:
        with tempfile.TemporaryDirectory(prefix=f".{folder}-", dir=archive.parent) as temporary:
            place = Path(temporary) / folder
            place.mkdir()
            with tarfile.open(archive) as file:
                for member in checked_members(file, folder):
                    with file.extractfile(member) as source, (place / Path(member.name).name).open("xb") as copy:
                        shutil.copyfileobj(source, copy)
            if not target.exists():  # no other process was faster
                place.rename(target)
    except (OSError, EOFError, ValueError, zlib.error, tarfile.TarError) as fault:
        raise BadInput(
            f"{archive} cannot be unpacked into its folder ({fault}); unpack it in another one and use --data DIR"
        ) from fault


def checked_members(file: tarfile.TarFile, folder: str) -> Iterator[tarfile.TarInfo]:
    """The files of an archive in its order.  Raises ValueError for what is no plain file of `folder`."""
    total = 0
    for member in file:
        parts = member.name.split("/")
        if member.isdir() and parts == [folder]:
            continue
        if not member.isreg() or len(parts) != 2 or parts[0] != folder or parts[1] in ("", ".", ".."):
            raise ValueError(f"it holds {member.name!r:.80}, which is not a file of {folder}/")
        total += member.size
        if total > MAX_BYTES:
            raise ValueError(f"its files have more than {MAX_BYTES:,} bytes")
        yield member


def verify(path: Path, md5: str) -> None:
    """Raises BadInput unless the file exists and has this checksum."""
    if problem := file_problem(path):
        raise BadInput(f"{path} is missing (MD5 {md5}; {problem}): unpack the official archive there again")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "md5").hexdigest()
    if found != md5:
        raise BadInput(
            f"{path} is truncated or altered: MD5 expected {md5}, found {found}; put the official file there"
        )

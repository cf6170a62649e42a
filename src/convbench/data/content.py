"""The bytes of data files, raw or gzipped, and whether they are the official ones."""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from collections.abc import Iterable
from pathlib import Path

from convbench.errors import ConvbenchError, RequestError

SYSTEM_FOLDER = Path("/usr/share/datasets")  # where Debian's dataset-* packages put theirs


def cache_folder() -> Path:
    """Where downloaded data sets are kept: `convbench` in XDG_CACHE_HOME or `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "convbench"


def data_folders(data_dir: Path | None) -> list[Path]:
    """Where data sets are looked for, first to last: `data_dir`, CONVBENCH_DATA, the cache, the system's folder.

    Raises RequestError where one that was asked for is not there.
    """
    folders = []
    for folder, origin in ((data_dir, "data folder"), (os.environ.get("CONVBENCH_DATA"), "CONVBENCH_DATA")):
        if folder:
            asked = Path(folder).expanduser()
            if not asked.is_dir():
                found = "a file" if asked.exists() else "nothing"
                raise RequestError(f"{origin} {asked}: expected a folder, found {found}")
            folders.append(asked)
    return [*folders, cache_folder(), SYSTEM_FOLDER]


def locate(folder: Path, names: Iterable[str]) -> list[Path] | None:
    """The files of these names in `folder`, each raw or else gzipped; None unless all are there."""
    found = []
    for name in names:
        choices = [path for path in (folder / name, folder / f"{name}.gz") if path.is_file()]
        if not choices:
            return None
        found.append(choices[0])
    return found


def read_content(path: Path) -> bytearray:
    """The content of the file at `path`, unpacked when its name ends in `.gz`.

    Raises ConvbenchError when it cannot be read, or its gzip stream is cut short or corrupt.
    """
    try:
        packed = path.read_bytes()
    except OSError as error:
        raise ConvbenchError(f"{path}: expected a readable file, found {error.strerror}") from error
    if path.suffix != ".gz":
        return bytearray(packed)
    try:
        return bytearray(gzip.decompress(packed))
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ConvbenchError(f"{path}: expected a whole gzip file, found a corrupt or cut one ({error})") from error


def verify(path: Path, content: bytearray, md5: str) -> None:
    """ConvbenchError unless the uncompressed `content` of the file at `path` has this MD5.

    The publishers of these data sets give MD5 sums. They tell a damaged file from a whole one.
    """
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != md5:
        raise ConvbenchError(
            f"{path}: expected the official content with md5 {md5}, found md5 {found}; delete this file and get it anew"
        )

"""On what a run was trained: the names, labels and content of all files, in 16 hexadecimal digits."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from convbench.data.content import cache_folder
from convbench.errors import ConvbenchError
from convbench.files import make_folder, write_whole
from convbench.progress import track

SETTLED = 2.0  # seconds after which a change of a file must change its times, too, on any file system
UNREADABLE = "unreadable"


def fingerprint(root: Path, files: Sequence[str], entries: Iterable[str]) -> str:
    """First 16 hex digits of the SHA-256 over `entries`, one a photograph, and the name, size and content of `files`.

    Content is read whole, once: for the same names, sizes and times of change, the fingerprint is remembered in the
    user's cache, so that a run on a hundred gigabytes does not read them all before it goes on.
    """
    described = hashlib.sha256("\n".join(entries).encode(errors="surrogateescape"))
    key, newest, sizes = described.copy(), 0, list[int]()
    for file in files:
        size, *times = _size_and_times(root / file)
        key.update(f"{root / file}\0{size}\0{times}\n".encode(errors="surrogateescape"))
        newest = max(newest, *times)
        sizes.append(size)
    memory = cache_folder() / "fingerprints" / key.hexdigest()
    with contextlib.suppress(OSError):
        return memory.read_text().strip()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        digests = pool.map(lambda file: _digest(root / file), files)
        read = zip(files, sizes, track(digests, f"fingerprint of {root}", len(files), "files"), strict=True)
        for file, size, digest in read:
            described.update(f"{file}\0{size}\0{digest}\n".encode(errors="surrogateescape"))
    found = described.hexdigest()[:16]
    if time.time() - newest / 1e9 > SETTLED:
        with contextlib.suppress(ConvbenchError):  # a cache that cannot be written to costs time alone
            make_folder(memory.parent)
            write_whole(memory, found.encode())
    return found


def _size_and_times(path: Path) -> tuple[int, int, int]:
    """In bytes and nanoseconds; those of a link to nowhere are its own."""
    try:
        stat = path.stat()
    except OSError:
        stat = path.lstat()
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def _digest(path: Path) -> str:
    """Of the content; a file that cannot be read, which no run can learn from, has none."""
    try:
        with path.open("rb") as content:
            return hashlib.file_digest(content, "blake2b").hexdigest()
    except OSError:
        return UNREADABLE

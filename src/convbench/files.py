"""Files that are whole or not there: written aside, flushed to the disk, then renamed into place."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from convbench.errors import ConvbenchError, RequestError

ASIDE = ".part"  # how the names of files end that are being written


def write_whole(path: Path, content: bytes) -> None:
    """Write `content` to `path` so that a reader, or a crash at any moment, sees the old file or the new one.

    Raises ConvbenchError when the disk is full or the folder not writable; the old file is then untouched.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}{ASIDE}")
    try:
        with aside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise ConvbenchError(f"cannot write {path}: {error.strerror}; what was there before is kept") from error


def write_json(path: Path, value: Any) -> None:
    """`value` as indented JSON, whole."""
    write_whole(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False).encode() + b"\n")


def make_folder(path: Path) -> Path:
    """The folder at `path`, made with its parents where missing; RequestError says why it cannot be written to."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError(f"cannot make the folder {path}: {error.strerror}; name one that can be written") from error
    if not os.access(path, os.W_OK):
        raise RequestError(f"cannot write into the folder {path}: permission denied; name one that can be written")
    return path

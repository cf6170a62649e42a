"""The store: a run is a folder, and copying folders merges benches."""

from __future__ import annotations

import fcntl
import importlib.metadata
import json
import platform
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from convbench.errors import ConvbenchError, RequestError
from convbench.files import ASIDE, make_folder, write_json

PACKAGES = ("convbench", "torch", "numpy", "scikit-learn")
LOCK = ".lock"  # in a run's folder
LOOKS, BETWEEN_LOOKS = 5, 0.05  # at a lock that is held: by one who only looks, it is so for less than a blink


class RunFolder:
    """`<runs>/<suite>/<name>/`: metrics.jsonl, weights, the state of an unfinished training, at the end record.json."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def record_path(self) -> Path:
        return self.path / "record.json"

    def read_record(self) -> dict[str, Any] | None:
        """The record, None before the run's end; ConvbenchError for one that is not JSON."""
        try:
            record: dict[str, Any] = json.loads(self.record_path.read_text())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ConvbenchError(
                f"{self.record_path} is not a whole record: {error}; delete it to run again"
            ) from error
        return record

    def write_record(self, record: dict[str, Any]) -> None:
        write_json(self.record_path, record)

    @property
    def is_locked(self) -> bool:
        """Whether a process works in the folder, as far as can be told without leave to read the lock."""
        try:
            with (self.path / LOCK).open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder for this process; the lock ends with the process, however that ends.

        Raises RequestError when another process holds it.
        """
        make_folder(self.path)
        with (self.path / LOCK).open("a") as file:
            for look in range(LOOKS):
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if look + 1 == LOOKS:
                        raise RequestError(
                            f"{self.path} is being run by another process: wait for it, or take another --out"
                        ) from None
                    time.sleep(BETWEEN_LOOKS)
            for left in self.path.rglob(f".*{ASIDE}"):
                left.unlink()  # by a process that was killed while it wrote
            yield


@cache
def describe_versions() -> dict[str, str]:
    """Versions of what computes the results."""
    return {
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in PACKAGES},
    }


@cache
def current_commit() -> str | None:
    """The commit of the checkout that convbench runs from, "+" added when files differ; None outside of one."""
    here = Path(__file__).parent
    git = ["git", "-C", str(here)]
    try:
        commit = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
        changed = subprocess.run(
            [*git, "status", "--porcelain", "--", str(here.parent)], capture_output=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit.stdout.strip() + ("+" if changed.stdout else "")

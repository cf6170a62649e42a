"""The runs' records, read again when their files change."""

from __future__ import annotations

from pathlib import Path

from convbench.errors import ConvbenchError
from convbench.report.records import Record, read_record


class KeptRecords:
    """Records by their files, each with the time at which its file was last changed."""

    def __init__(self) -> None:
        self._read = dict[Path, tuple[int, Record | None]]()

    def get(self, path: Path) -> Record | None:
        """None where there is none, or it is broken, of which the runs' page tells."""
        try:
            changed = path.stat().st_mtime_ns
        except OSError:
            return None
        if self._read.get(path, (None, None))[0] != changed:
            self._read[path] = changed, _read(path)
        return self._read[path][1]


def _read(path: Path) -> Record | None:
    try:
        return read_record(path)
    except (ConvbenchError, OSError):
        return None

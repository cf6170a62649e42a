"""The folder of all runs as it stands now: what is whole, what is under way, and what cannot be read, a line each."""

from __future__ import annotations

import os
import threading
from collections import Counter, OrderedDict
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypeVar
from urllib.parse import quote

from convbench.bench.store import RunFolder
from convbench.errors import ConvbenchError
from convbench.report.records import Run, SuiteFile, read_run, read_suite_file
from convbench.report.records import Suite as ReportedSuite
from convbench.standing import FILE, Standing, read_standing
from convbench.web.photographs import MissingError

State = Literal["running", "broken", "failed", "stopped", "missing", "done"]
STATES: tuple[State, ...] = ("running", "broken", "failed", "stopped", "missing", "done")  # what needs a look first
BEGUN = ("metrics.jsonl", "state.pt", FILE)  # what a training leaves before its end
KEPT = 2000  # run folders that are not read again while their files are the same

T = TypeVar("T", "Item", "Shelf")


@dataclass(frozen=True)
class Item:
    """One run.

    name: of its folder, with a replacement character for what is no text; address: where its page is
    line: why it has no result, or what is wrong with its files; empty of a run that is done
    changed: seconds since 1970, when it ended or its files last changed; 0 where there are none
    run: what could be read of it, None of a broken one; standing: how far it said that it is
    """

    name: str
    address: str
    folder: Path
    state: State
    line: str
    changed: float
    run: Run | None
    standing: Standing | None

    @property
    def title(self) -> str:
        return self.run.record.title if self.run is not None and self.run.record else self.name

    @property
    def pictures(self) -> tuple[Path, ...]:
        """What it left to look at, in an order of which the positions are addresses."""
        if self.run is None:
            return ()
        return (*(one for one in (self.run.worst, self.run.found) if one is not None), *self.run.explained)

    @property
    def when(self) -> str:
        """Of `changed`, for people."""
        return f"{datetime.fromtimestamp(self.changed, UTC):%d %b %Y, %H:%M} UTC" if self.changed else ""


@dataclass(frozen=True)
class Shelf:
    """One suite; line: what is wrong with its own file, empty where nothing is."""

    name: str
    address: str
    title: str
    claim: str | None
    items: tuple[Item, ...]
    line: str

    @property
    def counts(self) -> list[tuple[State, int]]:
        """How many runs are in each state that one is in."""
        found = Counter(item.state for item in self.items)
        return [(state, found[state]) for state in STATES if found[state]]

    @property
    def newest(self) -> Item:
        return max(self.items, key=lambda item: item.changed)

    @property
    def finished(self) -> ReportedSuite:
        """The runs that are done, as a report shows them."""
        runs = tuple(item.run for item in self.items if item.state == "done" and item.run is not None)
        return ReportedSuite(self.name, self.title, self.claim, runs)

    def item(self, name: str) -> Item:
        """The run of that name; MissingError."""
        return _named(self.items, name, f"run of {self.name}")


class Shelves:
    """Read anew each time it is asked, but for the files that are as they were."""

    def __init__(self, runs: Path) -> None:
        self.runs = runs
        self._lock, self._read = threading.Lock(), OrderedDict[Path, tuple[object, Run | str]]()

    def all(self) -> list[Shelf]:
        """Those with a run in them, the one whose runs changed last first."""
        found = [self._shelf(folder) for folder in _folders(self.runs)]
        return sorted((one for one in found if one.items), key=lambda one: -one.newest.changed)

    def one(self, name: str) -> Shelf:
        """The suite of that name, looked up among the folders that are there; MissingError."""
        names = {_text(folder.name): folder for folder in _folders(self.runs)}
        shelf = self._shelf(names[name]) if name in names else None
        if shelf is None or not shelf.items:
            raise MissingError(f"no suite {name[:80]!r} is here")
        return shelf

    def _shelf(self, folder: Path) -> Shelf:
        line, about = "", SuiteFile()
        try:
            about = read_suite_file(folder)
        except (ConvbenchError, OSError) as error:
            line = self._told(error)
        address = f"/runs/{_address(folder.name)}"
        found = {path.name: path for path in _folders(folder)}
        items = [self._item(folder / name, address) for name in about.runs if _is_name(name)]
        items += [
            Item(_text(name), "", folder, "broken", "suite.json: expected the name of a folder", 0, None, None)
            for name in about.runs
            if not _is_name(name)
        ]
        items += [self._item(path, address) for name, path in found.items() if name not in about.runs]
        return Shelf(_text(folder.name), address, about.title or _text(folder.name), about.claim, tuple(items), line)

    def _item(self, folder: Path, address: str) -> Item:
        item = Item(_text(folder.name), f"{address}/{_address(folder.name)}", folder, "missing", "", 0, None, None)
        if not folder.is_dir():
            if os.path.lexists(folder):
                return replace(item, state="broken", line=f"{item.name}: expected a run's folder, found a file")
            return replace(item, line="it was never run here")
        read = self._run(folder)
        if isinstance(read, str):
            return replace(item, state="broken", line=read, changed=_changed(folder))
        item = replace(item, run=read, changed=_ended(read) or _changed(folder))
        if read.record is not None and read.record.status == "done":
            return replace(item, state="done")
        if RunFolder(folder).is_locked:
            return replace(item, state="running", line="it is being run", standing=_standing(folder))
        if read.record is not None:
            return replace(item, state="failed", line=read.record.error or "no error line was recorded")
        standing = _standing(folder)
        if standing is not None or any((folder / name).exists() for name in BEGUN):
            return replace(item, state="stopped", line="not finished, and no process works on it", standing=standing)
        return replace(item, line="no record: it was never run to its end here")

    def _run(self, folder: Path) -> Run | str:
        """What is in a run's folder, or the line that says why it cannot be read."""
        try:
            stamp = _stamp(folder)
            with self._lock:
                if folder in self._read and self._read[folder][0] == stamp:
                    self._read.move_to_end(folder)
                    return self._read[folder][1]
            if (folder / "record.json").is_dir():
                return f"{_text(folder.name)}/record.json: expected a file, found a folder"
            read: Run | str = read_run(folder)
        except (ConvbenchError, OSError) as error:
            read = self._told(error)
        with self._lock:
            self._read[folder] = stamp, read
            while len(self._read) > KEPT:
                self._read.popitem(last=False)
        return read

    def _told(self, error: Exception) -> str:
        """One line, with paths as seen from the runs' folder."""
        return _text(" ".join(str(error).replace(f"{self.runs}{os.sep}", "").split()))


def stamp_of(items: tuple[Item, ...]) -> object:
    """What changes when anything changes that is shown of these runs' results."""
    return tuple((item.name, _stamp(item.folder)) for item in items if item.state == "done")


def _named(items: tuple[Item, ...], name: str, what: str) -> Item:
    for item in items:
        if item.name == name and item.address:
            return item
    raise MissingError(f"no {what[:80]} is called {name[:80]!r}")


def _folders(folder: Path) -> list[Path]:
    """Those in it that are not hidden, by name; none where there is no such folder or it may not be read."""
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError:
        return []


def _is_name(name: str) -> bool:
    """Whether a run of suite.json can be a folder in the suite's, and nowhere else."""
    return name not in ("", ".", "..") and not {"/", "\0", os.sep} & set(name) and len(os.fsencode(name)) < 256


def _text(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "replace")


def _address(name: str) -> str:
    return quote(_text(name), safe="")


def _stamp(folder: Path) -> object:
    """Of all the files that are read, their times and sizes."""
    files = [folder / name for name in ("record.json", "metrics.jsonl", "worst.png", "found.png")]
    return tuple(_time_and_size(path) for path in (*files, *sorted((folder / "explain").rglob("*.png"))))


def _time_and_size(path: Path) -> tuple[str, int, int] | None:
    try:
        about = path.stat()
    except OSError:
        return None
    return path.name, about.st_mtime_ns, about.st_size


def _ended(run: Run) -> float:
    """As its record says, which a copy of its folder does not change; 0 where it does not."""
    try:
        return datetime.fromisoformat(run.record.finished).timestamp() if run.record and run.record.finished else 0.0
    except (ValueError, OverflowError):
        return 0.0


def _changed(folder: Path) -> float:
    """When one of its files last did."""
    found = [_time_and_size(folder / name) for name in ("record.json", *BEGUN, ".")]
    return max((one[1] for one in found if one is not None), default=0) / 1e9


def _standing(folder: Path) -> Standing | None:
    """Of the training in it; of one by boosting, whose networks have a folder each, the last's."""
    own = read_standing(folder)
    if own is not None:
        return own
    told = [one for one in map(read_standing, sorted(folder.glob("net*"))) if one is not None]
    return told[-1] if told else None

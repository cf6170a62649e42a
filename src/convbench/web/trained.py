"""The trained networks that the explorer can show: those of the runs, and those whose files it was started with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from convbench.bench.evaluate import WEIGHTS, Loaded, load_network
from convbench.models import published_input
from convbench.web.kept_records import KeptRecords
from convbench.web.photographs import MissingError
from convbench.web.recent import Recent

KEPT = 3  # networks in memory, the last that were asked for


@dataclass(frozen=True)
class Choice:
    """One of them.

    id: as the page names it; never a path, as it is looked up among those that are there
    run: the run's folder, where it was trained here
    colours: whether it is a network for colour photographs
    """

    id: str
    network: str
    title: str
    weights: Path
    run: Path | None
    colours: bool


class Trained:
    """Known by their ids; read when first asked for, and kept for a while."""

    def __init__(self, runs: Path, weights: dict[str, Path], kept: int = KEPT) -> None:
        """kept: networks in memory"""
        self.runs, self.weights = runs, weights
        self._loaded = Recent[Loaded](kept)
        self._records = KeptRecords()

    def choices(self) -> list[Choice]:
        """Those named at the start first, then the runs', as the folders stand now."""
        named = [Choice(name, name, name, file, None, _sees_colours(name)) for name, file in self.weights.items()]
        return [*named, *self._of_runs()]

    def choice(self, id: str) -> Choice:
        """MissingError for an unknown id."""
        for one in self.choices():
            if one.id == id:
                return one
        raise MissingError(f"no trained network {id[:80]!r} is here")

    def version(self, id: str) -> tuple[str, int]:
        """Another one for other weights by the same id; MissingError where the file is gone."""
        try:
            return id, self.choice(id).weights.stat().st_mtime_ns
        except OSError as error:
            raise MissingError(f"the weights of {id[:80]!r} cannot be read: {error.strerror}") from None

    def load(self, id: str) -> Loaded:
        """The network with its weights; what `load_network` raises."""
        choice = self.choice(id)
        return self._loaded.get(self.version(id), lambda: load_network(choice.network, choice.weights))

    def _of_runs(self) -> list[Choice]:
        found = []
        for weights in sorted(self.runs.glob(f"*/*/{WEIGHTS}")):
            record, folder = self._records.get(weights.with_name("record.json")), weights.parent
            if record is not None and record.status == "done" and record.subject.kind == "network":
                name = record.subject.name
                id = f"{folder.parent.name}/{folder.name}"
                found.append(Choice(id, name, record.title, weights, folder, _sees_colours(name)))
        return found


def _sees_colours(network: str) -> bool:
    return published_input(network)[0] == 3

"""The LeNet-5 that reads the pad: the runs' best, or one that is trained for it on the built-in digits."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch
from torch import Tensor, nn

from convbench.bench.evaluate import Loaded
from convbench.bench.execute import resolve_recipe
from convbench.bench.runner import run_suite
from convbench.bench.suite import open_suite
from convbench.data import Preprocessing
from convbench.errors import ConvbenchError
from convbench.files import make_folder
from convbench.models import published_input
from convbench.report.records import Record, read_record, read_run
from convbench.schema import parse
from convbench.web.digit_frames import FRAMES
from convbench.web.trained import Choice, Trained
from convbench.workers import serve_parent

NETWORK, SUITE = "lenet5", "first-look"
COMMAND = f"convbench run {SUITE} --only {NETWORK}"
NICENESS = 10  # of the training beside the pages
LAYERS = ("c1", "s2", "c3", "s4", "c5", "f6")  # as shown: after their squashing


@dataclass(frozen=True)
class DigitNetwork:
    """A trained LeNet-5, and the record of its training."""

    choice: Choice
    record: Record
    loaded: Loaded

    @property
    def data(self) -> str:
        """The data set's name, one of `FRAMES`."""
        assert self.record.data is not None
        return self.record.data.train.name

    def look(self, image: Tensor) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """What it reads, its layers' outputs and its scores, of one uint8 image (1, 1, side, side).

        Returns the input (h, w) in [0, 1], the squashed maps (units, h, w) of each of `LAYERS`, and (classes,) scores,
        which are negated squared distances to the codes.
        """
        assert isinstance(self.loaded.net, nn.Sequential)
        seen, preprocessing = {}, self.loaded.preprocessing
        with torch.inference_mode():
            shown = preprocessing.geometry(image)
            x = preprocessing.scale(shown)
            for name, layer in self.loaded.net.named_children():
                x = layer(x)
                if name.endswith("_squash"):
                    seen[name.removesuffix("_squash")] = x[0].reshape(x.shape[1], *(x.shape[2:] or (1, 1)))
        return shown[0, 0], seen, x[0]


def best_network(trained: Trained) -> tuple[Choice, Record] | None:
    """Of the runs' LeNet-5s the one that learnt from the most digits; of several, the one with the fewest errors."""
    found = list[tuple[tuple[float, ...], Choice, Record]]()
    for choice in trained.choices():
        if choice.network != NETWORK or choice.run is None:
            continue
        with contextlib.suppress(ConvbenchError, FileNotFoundError):  # of which the runs' page tells
            record = read_record(choice.run / "record.json")
            if record.data is not None and record.result is not None and _is_published(record):
                found.append(((record.data.train.n, -record.result.top1_error), choice, record))
    return max(found, key=lambda one: one[0])[1:] if found else None


def _is_published(record: Record) -> bool:
    """Whether it reads digits that a drawing can be made like, and has the paper's size, in which the page shows it."""
    if record.data is None or record.data.train.name not in FRAMES or record.preprocessing is None:
        return False
    side = FRAMES[record.data.train.name].side
    preprocessing = parse(Preprocessing, record.preprocessing, record.name)
    reads = preprocessing.geometry(torch.zeros(1, 1, side, side, dtype=torch.uint8)).shape[1:]
    return reads == published_input(NETWORK) and not record.subject.arguments


@dataclass(frozen=True)
class Progress:
    """How far the training is; error: why it ended without a network, one line."""

    epoch: int
    epochs: int
    error: str = ""


class Training:
    """First look's LeNet-5, trained in a process of its own that ends with this one, and goes on where it was."""

    def __init__(self, runs: Path, suite_path: str | Path = SUITE) -> None:
        name, suite = open_suite(suite_path)
        recipe = resolve_recipe(suite, next(run for run in suite.runs if run.name == NETWORK))
        assert recipe is not None
        self.runs, self.suite, self.folder, self.epochs = runs, suite_path, runs / name / NETWORK, recipe.epochs
        self._log = self.folder / "log.txt"
        self._process: BaseProcess | None = None

    def begin(self) -> None:
        """Start it, unless it runs already; RequestError where its folder cannot be made."""
        if self._process is None or not self._process.is_alive():
            make_folder(self.folder)
            spawned = multiprocessing.get_context("spawn").Process(
                target=_train, args=(self.suite, self.runs, self._log), daemon=True
            )
            spawned.start()
            self._process = spawned

    def progress(self) -> Progress:
        """As its folder tells."""
        epoch, error = 0, ""
        with contextlib.suppress(ConvbenchError):  # of a file that another version wrote; the training tells
            epoch = len(read_run(self.folder).epochs)
        if self._process is not None and self._process.exitcode:
            lines = self._log.read_text().splitlines() if self._log.is_file() else []
            error = lines[-1] if lines else f"the training ended with exit code {self._process.exitcode}"
        return Progress(epoch, self.epochs, error)

    def close(self) -> None:
        """End it; what it has done is kept."""
        if self._process is not None and self._process.is_alive():
            self._process.terminate()
            self._process.join(5)


def _train(suite: str | Path, runs: Path, log_path: Path) -> None:
    """In the process of its own; what goes wrong is the log's last line."""
    serve_parent()
    os.nice(NICENESS)
    torch.set_num_threads(1)  # small maps: a second thread costs more than it brings, and the pages need a core
    with log_path.open("a", buffering=1) as log, contextlib.redirect_stderr(log):
        try:
            (outcome,) = run_suite(suite, out=runs, only=(NETWORK,), command=COMMAND)
            error = outcome.error
        except ConvbenchError as raised:
            error = str(raised)
        if error is not None:
            log.write(f"{error}\n")
            os._exit(1)

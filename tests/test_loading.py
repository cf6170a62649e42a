"""Photographs read from their files while a network learns from them: the same whoever reads, and where it goes on."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from convbench.bench.execute import build_for
from convbench.bench.train import train
from convbench.data import open_photographs
from convbench.data.loading import Labelled, Reading, read_ahead, shuffled
from convbench.data.policy import BadFile
from convbench.data.views import View
from convbench.errors import ConvbenchError, RequestError
from convbench.training import loop
from convbench.training.feed import Share, make_feed
from convbench.training.loop import InterruptedTrainingError, Options, fit
from convbench.training.processes import Processes
from convbench.training.recipe import Recipe, parse_recipe
from small_trainings import same_state

CPU = torch.device("cpu")
VIEW = {"crop": "area", "size": 16, "mirror": True, "colour": "pca"}


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Two classes that differ in brightness, of sizes that differ."""
    noise = np.random.default_rng(0)
    for split, count in (("train", 20), ("val", 6)):
        for place, name in enumerate(("dark", "light")):
            (tmp_path / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = noise.integers(0, 128, (30 + number, 40, 3), dtype=np.uint8) + 127 * place
                Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / split / name / f"{number:02}.jpg")
    return tmp_path


def recipe_for(folder: Path, **changes: object) -> Recipe:
    content = {
        "description": "a test",
        "network": "lenet5",
        "data": str(folder),
        "loss": "cross_entropy",
        "epochs": 2,
        "batch_size": 12,
        "optimiser": {"name": "sgd", "lr": 0.02, "momentum": 0.9},
        "view": VIEW,
        "preprocessing": {"shorter": 18, "crop": 16},
    }
    return parse_recipe(content | changes)


def reading_of(folder: Path, pieces: int = 1, mine: range = range(1), share: float = 0.001) -> Reading:
    """What is learnt of each photograph is its place, so that targets tell which were read."""
    photographs = open_photographs(folder, "train")
    photographs = replace(photographs, labels=torch.arange(len(photographs)))
    shown = Labelled(photographs, View(crop="area", size=16, mirror=True), 0)
    return Reading(shown, 0, 12, pieces, mine, share)


def test_what_is_read_does_not_depend_on_who_reads(photographs: Path) -> None:
    steps = [(epoch, step) for epoch in range(2) for step in range(4)]
    alone = list(read_ahead(reading_of(photographs), steps, 0))
    helped = list(read_ahead(reading_of(photographs), steps, 2))
    assert len(alone) == len(helped) == 8
    for (one,), (other,) in zip(alone, helped, strict=True):
        assert torch.equal(one.images, other.images) and torch.equal(one.targets, other.targets)
    shared = [list(read_ahead(reading_of(photographs, 3, range(rank, 3, 2)), steps, 0)) for rank in (0, 1)]
    for (whole,), (first, third), (second,) in zip(alone, *shared, strict=True):
        assert torch.equal(torch.cat([first.images, second.images, third.images]), whole.images)


def test_each_photograph_is_seen_once_an_epoch_and_anew_each_time(photographs: Path) -> None:
    seen = [one for (one,) in read_ahead(reading_of(photographs), [(e, s) for e in range(2) for s in range(4)], 0)]
    first, second = (torch.cat([one.targets for one in seen[4 * e : 4 * e + 4]]) for e in range(2))
    assert first.sort().values.tolist() == second.sort().values.tolist() == list(range(40))
    assert first.tolist() != second.tolist()
    views = [
        torch.cat([one.images for one in seen[4 * e : 4 * e + 4]])[order.argsort()]
        for e, order in ((0, first), (1, second))
    ]
    assert not any(torch.equal(one, other) for one, other in zip(*views, strict=True))


def test_a_bad_photograph_gives_way_to_the_next(photographs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convbench.training.feed.MAX_BAD_SHARE", 0.05)
    reading = reading_of(photographs, share=0.05)
    order = torch.cat([one.targets for (one,) in read_ahead(reading, [(0, step) for step in range(4)], 0)])
    bad = photographs / "train" / reading.shown.file(int(order[5]))
    bad.write_bytes(bad.read_bytes()[:300])
    (batch,) = next(iter(read_ahead(reading, [(0, 0)], 0)))
    assert batch.targets.tolist() == [*order[:5].tolist(), int(order[6]), *order[6:12].tolist()]
    assert [file.path for file in batch.bad] == [str(bad)]
    recipe, dataset = recipe_for(photographs), open_photographs(photographs, "train")
    net = build_for(recipe, dataset, 0)
    fit(net, dataset, recipe, folder=photographs, options=Options(workers=1))
    assert (photographs / "bad_files.txt").read_text().startswith(f"{bad}: expected a whole image")


@pytest.mark.parametrize(("elsewhere", "is_too_much"), [((0, 14), True), ((0, 1), False)])
def test_what_is_bad_is_counted_over_all_processes(
    elsewhere: tuple[int, ...], is_too_much: bool, photographs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 40 photographs two may be bad: the first of two processes meets two, the second others, or the same."""
    monkeypatch.setattr("convbench.training.feed.MAX_BAD_SHARE", 0.05)
    dataset, order = open_photographs(photographs, "train"), shuffled(40, 0, 0).tolist()
    bad = [dataset.root / dataset.files[place] for place in order]  # a batch of 12: six each
    for spot in (0, 1):
        bad[spot].write_bytes(b"")
    others = tuple(BadFile(str(bad[spot]), "met by the second") for spot in elsewhere)
    monkeypatch.setattr(Processes, "gather", lambda _, mine: [mine, others])
    feed = make_feed(dataset, recipe_for(photographs), 0, Share(2, range(1)), CPU, 0)
    refused = pytest.raises(ConvbenchError, match=r"at most 5.0% bad files, found 3 of 40")
    with refused if is_too_much else nullcontext():
        assert len(list(feed.batches(0))) == 4
    assert len(feed.bad_files) == 2 + is_too_much


def test_bad_files_met_before_a_stop_stay_listed(photographs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The epoch's first photograph is met before, its last one afterwards."""
    monkeypatch.setattr("convbench.training.feed.MAX_BAD_SHARE", 0.05)
    recipe, dataset = recipe_for(photographs, epochs=1), open_photographs(photographs, "train")
    order, out, update = shuffled(40, 0, 0), photographs / "run", loop._Training.update
    out.mkdir()
    bad = [photographs / "train" / dataset.files[int(order[place])] for place in (0, -1)]
    for file in bad:
        file.write_bytes(file.read_bytes()[:300])

    def update_and_leave(self: loop._Training, *arguments: Any) -> None:
        update(self, *arguments)
        signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(loop._Training, "update", update_and_leave)
        with pytest.raises(InterruptedTrainingError):
            fit(build_for(recipe, dataset, 0), dataset, recipe, folder=out, options=Options(workers=0))
    fit(build_for(recipe, dataset, 0), dataset, recipe, folder=out, resume=True, options=Options(workers=0))
    listed = [line.partition(":")[0] for line in (out / "bad_files.txt").read_text().splitlines()]
    assert listed == sorted(map(str, bad))


def test_many_bad_photographs_stop_the_training(photographs: Path) -> None:
    (photographs / "train/dark/03.jpg").write_bytes(b"")
    dataset = open_photographs(photographs, "train")
    with pytest.raises(ConvbenchError, match=r"at most 0.1% bad files, found 1 of 40: .*03\.jpg: .*empty|03\.jpg"):
        fit(
            build_for(recipe_for(photographs), dataset, 0), dataset, recipe_for(photographs), options=Options(workers=2)
        )


KILLED = """
import os, signal, sys
from dataclasses import replace
from pathlib import Path
from convbench.bench.execute import build_for
from convbench.data import open_photographs
from convbench.training import loop
from test_loading import recipe_for

folder, out = map(Path, sys.argv[1:])
recipe, data, test = recipe_for(folder), open_photographs(folder, "train"), open_photographs(folder, "test")
real = loop._Training.update

def update(self, *arguments):
    real(self, *arguments)
    if len(self.history) == 1 and self.step == 2:
        self.save()
        os.kill(os.getpid(), signal.SIGKILL)

loop._Training.update = update
loop.fit(build_for(recipe, data, 1), data, recipe, test=test, folder=out, options=loop.Options(workers=2))
"""


def test_training_from_files_goes_on_as_if_not_stopped(photographs: Path, tmp_path: Path) -> None:
    recipe, dataset = recipe_for(photographs), open_photographs(photographs, "train")
    test, whole = open_photographs(photographs, "test"), build_for(recipe, dataset, 1)
    (tmp_path / "run").mkdir()
    history = fit(whole, dataset, recipe, test=test, options=Options(workers=0))
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    killed = subprocess.run([sys.executable, script, photographs, tmp_path / "run"], env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    resumed = build_for(recipe, dataset, 1)
    again = fit(resumed, dataset, recipe, test=test, folder=tmp_path / "run", resume=True, options=Options(workers=1))
    assert same_state(whole, resumed)
    assert [(one.loss, one.test_error) for one in again] == [(one.loss, one.test_error) for one in history]


def test_a_reader_that_is_killed_is_an_error(photographs: Path) -> None:
    batches = read_ahead(reading_of(photographs), [(epoch, 0) for epoch in range(1000)], 1)
    next(batches)
    (reader,) = multiprocessing.active_children()
    os.kill(reader.pid or 0, signal.SIGKILL)
    time.sleep(0.5)  # nothing is raised where nothing is read
    with pytest.raises(ConvbenchError, match="expected 1 processes that read photographs, found one that ended"):
        list(batches)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_in_reading_is_not_a_reader_s_end(
    photographs: Path, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(*_: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(Labelled, "look", look)
    with pytest.raises(RuntimeError, match="a defect"):
        next(read_ahead(reading_of(photographs), [(0, 0)], workers))
    for reader in multiprocessing.active_children():
        reader.join(20)
    assert not multiprocessing.active_children()


def test_readers_go_on_through_the_epochs_and_end_with_the_training(photographs: Path) -> None:
    recipe, dataset = recipe_for(photographs, epochs=50), open_photographs(photographs, "train")
    feed = make_feed(dataset, recipe, 0, Share(), CPU, 2)
    assert sum(batch.size for batch in feed.batches(0)) == 40
    readers = {reader.pid for reader in multiprocessing.active_children()}
    next(feed.batches(1))
    assert {reader.pid for reader in multiprocessing.active_children()} == readers and len(readers) == 2
    feed.close()
    deadline = time.monotonic() + 20
    while multiprocessing.active_children() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not multiprocessing.active_children()


def test_views_and_shares_that_files_cannot_have(photographs: Path) -> None:
    dataset = open_photographs(photographs, "train")
    for view in (None, {"crop": "pad"}):
        with pytest.raises(RequestError, match=r"view.crop: expected 'shorter' or 'area' .* nearest is 'area'"):
            make_feed(dataset, recipe_for(photographs, view=view), 0, Share(), CPU, 0)
    recipe = recipe_for(photographs, optimiser={"name": "sdlm", "lr": 0.01})
    net = build_for(recipe, dataset, 0)
    with pytest.raises(RequestError, match="optimiser sdlm: expected one process, images in memory"):
        fit(net, dataset, recipe, options=Options(workers=0))


def test_a_run_from_files(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Trained, scored and recorded without ever being in memory; one bad file of those for testing is left out."""
    recipe = recipe_for(photographs, epochs=12, optimiser={"name": "adamw", "lr": 0.005})
    run = train(recipe, out=tmp_path_factory.mktemp("runs") / "small", options=Options(workers=1))
    assert run.record["result"]["n"] == 12 and run.top1_error < 30
    assert run.record["data"]["train"]["fingerprint"] == open_photographs(photographs, "train").fingerprint
    assert run.preprocessing.shorter == 18 and (run.folder / "worst.png").exists()
    (photographs / "val/dark/01.jpg").write_bytes(b"no photograph")
    with pytest.raises(ConvbenchError, match=r"at most 0.1% bad files, found 1 of 12: .*01\.jpg"):
        train(recipe, out=tmp_path_factory.mktemp("runs") / "bad", options=Options(workers=1))
    assert open_photographs(photographs, "test").readable(0.1).source.endswith("without 1 bad files")


def test_the_shift_of_colours_does_not_depend_on_the_pieces(photographs: Path) -> None:
    recipe, dataset = recipe_for(photographs), open_photographs(photographs, "train")
    (whole,) = next(make_feed(dataset, recipe, 0, Share(), CPU, 0).batches(0)).pieces
    parts = [
        next(make_feed(dataset, recipe, 0, Share(2, range(rank, rank + 1)), CPU, 0).batches(0)).pieces[0]
        for rank in (0, 1)
    ]
    for name in ("images", "targets", "shifts"):
        assert torch.equal(torch.cat([getattr(part, name) for part in parts]), getattr(whole, name))

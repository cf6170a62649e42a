"""The training loop."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NoReturn

import torch
from safetensors.torch import save as save_tensors
from torch import nn

from convbench.data.policy import BadFile
from convbench.errors import ConvbenchError, RequestError
from convbench.files import make_folder, write_whole
from convbench.progress import progress
from convbench.randomness import number
from convbench.standing import Teller
from convbench.training.average import running_mean
from convbench.training.board import Board
from convbench.training.choices import choose_for
from convbench.training.divergence import LossWatch
from convbench.training.feed import Batch, MemoryFeed, Share
from convbench.training.head import freeze_all_but_head, head_of
from convbench.training.losses import make_loss
from convbench.training.memory import kept_memory
from convbench.training.operators import FasterOperators
from convbench.training.optimisers import make_optimiser, renormalise_filters
from convbench.training.pieces import AveragedBuffers
from convbench.training.precision import Arithmetic
from convbench.training.processes import Processes
from convbench.training.recipe import Recipe
from convbench.training.sdlm import StochasticDiagonalLM, gauss_newton_diagonal
from convbench.training.state import Requests, heeding_signals, load_state, save_state
from convbench.training.task import Classification, Images, Judgement, T, Task

SAVE_EVERY = 120.0  # seconds between states within an epoch
LOOK_EVERY = 10  # steps between looks at the loss, each of which waits for a GPU to get there


@dataclass(frozen=True)
class Metrics:
    """One epoch. loss and train_error (percent) are running means over the epoch; test_error is after it.

    seconds: of training, without the test; data_wait: the share of them in which the network waited for images
    validation_error: on the training images that the recipe holds out, percent
    test_ap50: of a detector, in place of errors: average precision at an overlap of 0.5, 0 to 1
    """

    epoch: int
    loss: float
    lr: float
    train_error: float | None
    test_error: float | None
    seconds: float
    images_per_s: float
    data_wait: float = 0.0
    validation_error: float | None = None
    test_ap50: float | None = None


@dataclass(frozen=True)
class Options:
    """How a training is run, which changes nothing of its result.

    save_every: seconds between states within an epoch
    workers: processes that read photographs in files, for each that computes; default by the machine
    tensorboard: whether curves are written for TensorBoard, too, into the training's folder
    keep: epochs after which the weights are kept for good, as `checkpoint(folder, epoch)`; 0 for those at the start
    judge_every: epochs from one look at the images for testing to the next; the last epoch is always judged
    """

    save_every: float = SAVE_EVERY
    workers: int | None = None
    tensorboard: bool = False
    keep: tuple[int, ...] = ()
    judge_every: int = 1


def checkpoint(folder: Path, epoch: int) -> Path:
    """The file of the weights after `epoch` epochs of the training in `folder`."""
    return folder / "checkpoints" / f"epoch-{epoch:04}.safetensors"


class InterruptedTrainingError(ConvbenchError):
    """Somebody asked the training to leave; what going on needs has been saved."""


class DivergedError(ConvbenchError):
    """The loss is no number any more, or has exploded."""


def fit(
    net: nn.Module,
    dataset: T,
    recipe: Recipe,
    *,
    task: Task[T] | None = None,
    seed: int = 0,
    test: T | None = None,
    folder: Path | None = None,
    resume: bool = False,
    options: Options = Options(),
) -> list[Metrics]:
    """Train `net` on `dataset` as `recipe` says, on the device where it is, with the processes that `torchrun` started.

    Args:
        net: trained in place; where the recipe averages parameters, it ends with the averages
        task: what for; by default to classify images, by the recipe's loss
        seed: of the order, the views and the dropped units; the same seed gives the same network, bit for bit, on one
            machine with one number of threads
        test: evaluated after each epoch, for the curve alone: nothing is chosen by it
        folder: where metrics.jsonl and the state (state.pt) are written: after each epoch, every
            `options.save_every` seconds, and when SIGTERM or SIGINT asks the process to leave
        resume: go on from the state in `folder`, if there is one; the end is the same, bit for bit, as without the stop

    Returns the metrics, an epoch each.

    Raises DivergedError with the step, the learning rate and the last good state; InterruptedTrainingError on a signal;
    RequestError where batches cannot be shared by the processes.
    """
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng())
        if next(net.parameters()).device.type == "cpu":
            stack.enter_context(kept_memory())
        requests = stack.enter_context(heeding_signals(options.save_every)) if folder is not None else None
        purpose: Task[Any] = Classification(recipe) if task is None else task
        training = _Training(net, dataset, recipe, purpose, seed, test, folder, requests, options)
        stack.callback(training.feed.close)
        if resume and folder is not None:
            training.restore(folder / "state.pt")
        if options.tensorboard and folder is not None and training.processes.first:
            training.board = Board(folder, training.steps_done)
            stack.callback(training.board.close)
        training.run()
    return training.history


class _Training:
    """One training and where it stands: `history` of whole epochs, `step` and sums of the one that is under way."""

    def __init__(
        self,
        net: nn.Module,
        dataset: Images,
        recipe: Recipe,
        task: Task[Any],
        seed: int,
        test: Images | None,
        folder: Path | None,
        requests: Requests | None,
        options: Options,
    ) -> None:
        self.net, self.recipe, self.seed, self.test, self.folder = net, recipe, seed, test, folder
        self.kept_epochs, self.judge_every = options.keep, options.judge_every
        self.task, self.source, self.requests = task, dataset, requests
        self.validation, learnt = task.hold_out(dataset, recipe)
        if recipe.head_only:
            freeze_all_but_head(net)
        self.device = next(net.parameters()).device
        self.layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
        net.to(memory_format=self.layout)
        self.processes = Processes()
        self.processes.check(len(learnt), recipe.batch_size, recipe.pieces)
        self.pieces = recipe.pieces if recipe.pieces > 1 else self.processes.count
        self.mine = range(self.processes.rank, self.pieces, self.processes.count)
        self.model = self.processes.wrap(net, recipe.pieces)
        self.choices = choose_for(recipe, self.device, self.processes.count)
        if self.choices.compiled:
            self.model.compile()
        share = Share(self.pieces, self.mine)
        self.feed, self.n = task.feed(learnt, recipe, seed, share, self.device, options.workers), len(learnt)
        self.optimiser = make_optimiser(net, recipe)
        simple = self.processes.count == 1 and isinstance(self.feed, MemoryFeed)
        if isinstance(self.optimiser, StochasticDiagonalLM) and not simple:
            found = f"{self.processes.count}, {type(learnt).__name__}"
            raise RequestError(f"optimiser sdlm: expected one process, images in memory, found {found}; nearest is sgd")
        self.arithmetic = Arithmetic(self.choices.precision, self.device)
        self.average = None if recipe.average is None else running_mean(net, recipe.average)
        self.losses = LossWatch()
        self.last_state: Literal["none", "untried", "good"] = "none"  # good: a later step has found a sound loss by it
        self.board: Board | None = None
        self.history: list[Metrics] = []
        self.begin_epoch()

    @cached_property
    def belongs_to(self) -> str:
        """What a state is of; all photographs are read for it, once."""
        about = {"recipe": self.recipe.to_dict(), "seed": self.seed, "data": self.source.fingerprint}
        return json.dumps(about, sort_keys=True)

    @property
    def steps_done(self) -> int:
        """From the training's beginning."""
        return len(self.history) * self.feed.per_epoch + self.step

    def begin_epoch(self) -> None:
        self.step, self.seconds, self.waited = 0, 0.0, 0.0
        self.loss = torch.zeros((), dtype=torch.float64, device=self.device)
        self.wrong = torch.zeros((), dtype=torch.int64, device=self.device)

    def run(self) -> None:
        """All the epochs that are left."""
        if self.processes.first:
            print(f"{self.recipe.network}: {self.choices}", file=sys.stderr)
        done = len(self.history) * self.n + self.step * self.recipe.batch_size
        total = self.recipe.epochs * self.n - done
        if not self.steps_done:
            self.keep_weights()
        teller = None
        if self.folder is not None and self.processes.first:
            teller = Teller(self.folder, self.recipe.network, self.recipe.epochs, self.n)
            teller.tell(len(self.history), self.step * self.recipe.batch_size)
        with progress(self.recipe.network, total, "images") if self.processes.first else nullcontext() as bar:
            for epoch in range(len(self.history), self.recipe.epochs):
                self.set_mode()
                if isinstance(self.optimiser, StochasticDiagonalLM) and self.step == 0:
                    assert isinstance(self.feed, MemoryFeed)
                    sample = self.feed.sample(epoch, self.recipe.optimiser.curvature_samples)
                    images, labels = self.feed.prepare(sample, self.device)
                    curvature = gauss_newton_diagonal(self.net, images, labels, make_loss(self.recipe))
                    self.optimiser.set_curvature(curvature)
                batches, before = self.feed.batches(epoch, self.step), time.perf_counter()
                for batch in batches:
                    self.waited += time.perf_counter() - before
                    self.update(batch, epoch)
                    if self.device.type == "cpu" or self.step % LOOK_EVERY == 0:
                        self.look()
                    self.seconds, before = self.seconds + time.perf_counter() - before, time.perf_counter()
                    if bar is not None:
                        bar.advance(batch.size)
                        bar.note(describe(self.history, self.waited / self.seconds))
                    if teller is not None:
                        teller.tell(epoch, min(self.step * self.recipe.batch_size, self.n))
                    self.save_if_due()
                self.end_epoch(epoch)
                if teller is not None:
                    teller.tell(epoch + 1, 0, at_once=True)
        if self.average is not None:
            self.net.load_state_dict(self.average.module.state_dict())

    def set_mode(self) -> None:
        """Training mode; where the head alone learns, the trunk stays as it is evaluated."""
        self.net.train(not self.recipe.head_only)
        if self.recipe.head_only:
            head_of(self.net).train()

    def update(self, batch: Batch, epoch: int) -> None:
        """One step of the optimiser, by the gradients of all pieces of the batch in all processes."""
        recipe, optimiser, processes = self.recipe, self.optimiser, self.processes
        for group in optimiser.param_groups:
            group["lr"] = recipe.lr(epoch + (self.step + 0.5) / self.feed.per_epoch, self.validation_errors)
        optimiser.zero_grad(set_to_none=True)  # first, so that no gradient takes memory in the forward pass
        buffers = AveragedBuffers(self.net) if recipe.pieces > 1 else None
        weight = self.task.weight(batch, processes)
        loss_sum, wrong = torch.zeros_like(self.loss), torch.zeros_like(self.wrong)
        for place, piece in zip(self.mine, batch.pieces, strict=True):
            x, y = self.feed.prepare(piece, self.device)
            torch.manual_seed(number(self.seed, "step", epoch, self.step, place))  # of dropped units
            with processes.without_sum(self.model) if place != self.mine[-1] else nullcontext():
                with self.computing():
                    price = self.task.price(self.model, x.contiguous(memory_format=self.layout), y)
                # The sum of all pieces by the batch's weight; processes' gradients are averaged when they are joined.
                self.arithmetic.backward(price.loss * (price.of * processes.count / weight))
            loss_sum += price.loss.detach() * price.of
            if price.wrong is not None:
                wrong += price.wrong
            if buffers is not None:
                buffers.take()
        if buffers is not None:
            buffers.put(self.pieces, processes)
        processes.sum(loss_sum, wrong)
        self.last_loss = loss_sum / weight
        self.loss, self.wrong = self.loss + self.last_loss * batch.size, self.wrong + wrong
        if recipe.clip_norm is not None:
            self.arithmetic.scaler.unscale_(optimiser)
            nn.utils.clip_grad_norm_(self.net.parameters(), recipe.clip_norm)
        self.arithmetic.step(optimiser)
        if recipe.filter_radius is not None:
            renormalise_filters(self.net, recipe.filter_radius)
        if self.average is not None:
            self.average.update_parameters(self.net)
        self.step += 1

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Lower precision where the recipe says so, and faster operators, unless torch compiles its own."""
        with self.arithmetic.autocast(), nullcontext() if self.choices.compiled else FasterOperators():
            yield

    def look(self) -> None:
        """DivergedError where the loss of the last step tells of trouble."""
        loss = float(self.last_loss)
        trouble = self.losses.trouble(loss)
        if trouble is not None:
            self.stop(trouble)
        if self.last_state == "untried" and loss <= self.losses.bound:
            self.last_state = "good"
        if self.board is not None:
            self.board.write_step(self.steps_done, loss, self.optimiser.param_groups[0]["lr"])

    def stop(self, trouble: str) -> NoReturn:
        """DivergedError with the place, and how to go on from the last good state."""
        rate = "schedule.steps" if self.recipe.schedule.name == "steps" else "optimiser.lr"
        begin = f"--set initial_weights={self.folder}/state.pt"
        raise DivergedError(
            f"{self.recipe.network} diverged at step {self.step} of epoch {len(self.history) + 1}, learning rate "
            f"{self.optimiser.param_groups[0]['lr']:g}: {trouble}; lower {rate}"
            + (f", from the last good state into another --out: {begin}" if self.last_state == "good" else "")
        )

    def end_epoch(self, epoch: int) -> None:
        """Judge the epoch, write it down, and begin the next."""
        is_judged = (epoch + 1) % self.judge_every == 0 or epoch + 1 == self.recipe.epochs
        test, validation = self.judgement(self.test if is_judged else None), self.judgement(self.validation)
        metrics = Metrics(
            epoch=epoch + 1,
            loss=float(self.loss) / self.n,
            lr=self.optimiser.param_groups[0]["lr"],
            train_error=100 * int(self.wrong) / self.n if self.task.counts_wrong else None,
            test_error=test.error,
            validation_error=validation.error,
            test_ap50=test.ap50,
            seconds=self.seconds,
            images_per_s=self.n / self.seconds,
            data_wait=self.waited / self.seconds,
        )
        self.history.append(metrics)
        self.begin_epoch()
        if self.board is not None:
            self.board.write_epoch(self.steps_done, metrics)
        if self.folder is not None and self.processes.first:
            lines = "".join(json.dumps(asdict(one)) + "\n" for one in self.history)
            write_whole(self.folder / "metrics.jsonl", lines.encode())
        self.note_bad_files()
        self.keep_weights()
        self.save()

    def keep_weights(self) -> None:
        """Write down the weights, those that are judged, where the epochs so far are among those to be kept."""
        epoch = len(self.history)
        if self.folder is None or epoch not in self.kept_epochs or not self.processes.first:
            return
        file = checkpoint(self.folder, epoch)
        make_folder(file.parent)
        state = {key: value.contiguous() for key, value in self.judged.state_dict().items()}
        write_whole(file, save_tensors(state))

    def note_bad_files(self) -> None:
        """Write down which photographs could not be read, and gave way to others."""
        bad = self.bad_files
        if bad and self.folder is not None and self.processes.first:
            lines = "".join(f"{path}: {reason}\n" for path, reason in sorted(bad.items()))
            write_whole(self.folder / "bad_files.txt", lines.encode(errors="surrogateescape"))

    @property
    def bad_files(self) -> dict[str, str]:
        """Those that any process has met since the training's beginning: path -> reason."""
        return {file.path: file.reason for met in self.processes.gather(self.feed.bad_files) for file in met}

    @property
    def judged(self) -> nn.Module:
        """The network with the weights that count: the averages, where there are any."""
        return self.net if self.average is None else self.average.module

    @property
    def validation_errors(self) -> list[float]:
        """After each whole epoch, where images are held out."""
        return [one.validation_error for one in self.history if one.validation_error is not None]

    def judgement(self, images: Images | None) -> Judgement:
        """Of the network whose weights count, in the training's own arithmetic; the first process looks."""
        found = Judgement()
        if images is not None and self.processes.first:
            found = self.task.judge(self.judged, images, self.recipe, self.computing)
        return self.processes.share(found)

    def save_if_due(self) -> None:
        """Save where it is time, or where somebody asked any of the processes to leave."""
        if self.requests is None or self.step == self.feed.per_epoch:  # at the epoch's end it is saved anyway
            return
        if self.processes.any(self.requests.due(), self.device):
            self.save()

    def save(self) -> None:
        """Write the state; InterruptedTrainingError where that was the last thing to do.

        While the loss is suspicious the state before stays, which may be the last good one.
        """
        if self.folder is None or self.requests is None:
            return
        loss = float(self.last_loss)
        if not math.isfinite(loss):  # on GPUs, steps lie between two looks
            self.stop("the loss is not finite")
        if not all(bool(tensor.isfinite().all()) for tensor in self.net.state_dict().values()):
            self.stop("the weights are not finite")
        sound = loss <= self.losses.bound
        bad = self.bad_files  # which every process tells
        if sound:
            self.last_state = "untried"
        if sound and self.processes.first:
            state = {
                "net": self.net.state_dict(),
                "average": None if self.average is None else self.average.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "scaler": self.arithmetic.scaler.state_dict(),
                "history": [asdict(one) for one in self.history],
                "losses": self.losses.state(),
                "bad_files": bad,
                **{name: getattr(self, name) for name in ("step", "seconds", "waited", "loss", "wrong")},
            }
            save_state(self.folder / "state.pt", self.belongs_to, state)
        asked = self.processes.any(self.requests.signal is not None, self.device)
        if asked and len(self.history) < self.recipe.epochs:
            where = f"epoch {len(self.history) + 1}, step {self.step}"
            told = "saved, --resume goes on from there"
            if not sound:
                told = f"not saved, as the loss is {loss:.4g}; --resume goes on from the state before, or begins"
            raise InterruptedTrainingError(f"interrupted in {where}: {told}")

    def restore(self, path: Path) -> None:
        """Stand where the state at `path` was saved, if there is one; the first process reads it for all."""
        found = load_state(path, self.belongs_to) if self.processes.first and path.exists() else None
        state = self.processes.share(found)
        if state is None:
            return
        self.last_state = "untried"
        self.net.load_state_dict(state["net"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.arithmetic.scaler.load_state_dict(state["scaler"])
        self.losses.load(state["losses"])
        self.feed.bad = {path: BadFile(path, reason) for path, reason in state["bad_files"].items()}
        self.history = [Metrics(**one) for one in state["history"]]
        self.step, self.seconds, self.waited = (state[name] for name in ("step", "seconds", "waited"))
        self.loss, self.wrong = (state[name].to(self.device) for name in ("loss", "wrong"))


def describe(history: list[Metrics], waiting: float) -> str:
    """A line beside the bar: the last epoch, and the share of this one in which the network waited for images."""
    told = []
    if history:
        last = history[-1]
        told += [f"epoch {last.epoch}", f"loss {last.loss:.4f}"]
        told += [] if last.test_error is None else [f"test {last.test_error:.2f} %"]
        told += [] if last.test_ap50 is None else [f"test AP50 {last.test_ap50:.3f}"]
    return ", ".join([*told, f"waiting {waiting:.0%} for data"] if waiting >= 0.01 else told)

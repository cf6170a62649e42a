"""The training loop."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from convbench.data.dataset import Dataset
from convbench.errors import ConvbenchError
from convbench.evaluation.scoring import score_images
from convbench.files import write_whole
from convbench.progress import progress
from convbench.training.feed import Feed
from convbench.training.losses import logits_of, loss_with_auxiliary, make_loss
from convbench.training.optimisers import make_optimiser
from convbench.training.precision import Arithmetic, choose_precision
from convbench.randomness import number
from convbench.training.recipe import Recipe
from convbench.training.sdlm import StochasticDiagonalLM, gauss_newton_diagonal
from convbench.training.state import Requests, heeding_signals, load_state, save_state

SAVE_EVERY = 120.0  # seconds between states within an epoch


@dataclass(frozen=True)
class Metrics:
    """One epoch. loss and train_error (percent) are running means over the epoch; test_error is after it."""

    epoch: int
    loss: float
    lr: float
    train_error: float
    test_error: float | None
    seconds: float
    images_per_s: float


class Interrupted(ConvbenchError):
    """Somebody asked the training to leave; what going on needs has been saved."""


def fit(
    net: nn.Module,
    dataset: Dataset,
    recipe: Recipe,
    *,
    seed: int = 0,
    test: Dataset | None = None,
    folder: Path | None = None,
    resume: bool = False,
) -> list[Metrics]:
    """Train `net` on `dataset` as `recipe` says.

    Args:
        net: trained in place; where the recipe averages parameters, it ends with the averages
        seed: of the order, the views and the dropped units; the same seed gives the same network, bit for bit, on one
            machine with one number of threads
        test: evaluated after each epoch, for the curve alone: nothing is chosen by it
        folder: where metrics.jsonl and the state (state.pt) are written: after each epoch, every `SAVE_EVERY`
            seconds, and when SIGTERM or SIGINT asks the process to leave
        resume: go on from the state in `folder`, if there is one; the end is the same, bit for bit, as without the stop

    Returns the metrics, an epoch each. Raises ConvbenchError when the loss is no longer finite, Interrupted on a signal.
    """
    with torch.random.fork_rng(), heeding_signals(SAVE_EVERY) as requests:
        training = _Training(net, dataset, recipe, seed, test, folder, requests)
        if resume and folder is not None and (folder / "state.pt").exists():
            training.restore(folder / "state.pt")
        training.run()
    return training.history


class _Training:
    """One training and where it stands: `history` of whole epochs, `step` and sums of the one that is under way."""

    def __init__(
        self,
        net: nn.Module,
        dataset: Dataset,
        recipe: Recipe,
        seed: int,
        test: Dataset | None,
        folder: Path | None,
        requests: Requests,
    ) -> None:
        self.net, self.recipe, self.seed, self.test, self.folder, self.requests = (
            *(net, recipe, seed, test, folder, requests),
        )
        self.belongs_to = json.dumps(
            {"recipe": recipe.to_dict(), "seed": seed, "data": dataset.fingerprint}, sort_keys=True
        )
        self.device = next(net.parameters()).device
        self.layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
        net.to(memory_format=self.layout)  # type: ignore[call-overload]
        self.feed, self.n = Feed(dataset, recipe, seed), len(dataset)
        self.loss_of, self.optimiser = make_loss(recipe), make_optimiser(net, recipe)
        self.arithmetic = Arithmetic(choose_precision(recipe.precision, self.device), self.device)
        decay = recipe.average
        self.average = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(decay)) if decay else None
        self.history: list[Metrics] = []
        self.begin_epoch()

    def begin_epoch(self) -> None:
        self.step, self.seconds = 0, 0.0
        self.loss, self.wrong = torch.zeros((), device=self.device), torch.zeros((), dtype=torch.int64)

    def run(self) -> None:
        """All the epochs that are left."""
        done = len(self.history) * self.n + self.step * self.recipe.batch_size
        with progress(self.recipe.network, total=self.recipe.epochs * self.n - done, unit="images") as bar:
            for epoch in range(len(self.history), self.recipe.epochs):
                self.net.train()
                if isinstance(self.optimiser, StochasticDiagonalLM) and self.step == 0:
                    sample = self.feed.sample(epoch, self.recipe.optimiser.curvature_samples)
                    self.optimiser.set_curvature(gauss_newton_diagonal(self.net, *sample, self.loss_of))
                started = time.perf_counter()
                for images, labels in self.feed.batches(epoch, self.step):
                    self.update(images, labels, epoch)
                    bar.advance(len(labels))
                    if self.folder is not None and self.step < self.feed.per_epoch and self.requests.due():
                        self.seconds, started = self.seconds + time.perf_counter() - started, time.perf_counter()
                        self.save(self.folder)
                self.seconds += time.perf_counter() - started
                metrics = self.end_epoch(epoch)
                bar.note(
                    f"epoch {metrics.epoch}, loss {metrics.loss:.4f}"
                    + (f", test {metrics.test_error:.2f} %" if self.test else "")
                )
        if self.average is not None:
            self.net.load_state_dict(self.average.module.state_dict())

    def update(self, images: Tensor, labels: Tensor, epoch: int) -> None:
        """One step of the optimiser; a batch too large for the memory goes through in pieces."""
        recipe, optimiser = self.recipe, self.optimiser
        for group in optimiser.param_groups:
            group["lr"] = recipe.lr(epoch + (self.step + 0.5) / self.feed.per_epoch)
        optimiser.zero_grad(set_to_none=True)  # first, so that no gradient takes memory in the forward pass
        for piece, (x, y) in enumerate(self.pieces(images, labels)):
            torch.manual_seed(number(self.seed, "step", epoch, self.step, piece))  # of dropped units
            with self.arithmetic.autocast():
                output = self.net(x)
                loss = loss_with_auxiliary(self.loss_of, output, y)
            self.arithmetic.backward(loss * (len(y) / len(labels)))
            self.loss += loss.detach() * len(y)
            self.wrong += (logits_of(output).detach().argmax(dim=1) != y).sum().cpu()
        if recipe.clip_norm is not None:
            self.arithmetic.scaler.unscale_(optimiser)
            nn.utils.clip_grad_norm_(self.net.parameters(), recipe.clip_norm)
        self.arithmetic.step(optimiser)
        if self.average is not None:
            self.average.update_parameters(self.net)
        self.step += 1

    def pieces(self, images: Tensor, labels: Tensor) -> Iterable[tuple[Tensor, Tensor]]:
        size = -(-self.recipe.batch_size // self.recipe.pieces)
        for x, y in zip(images.split(size), labels.split(size), strict=True):
            yield x.to(self.device).contiguous(memory_format=self.layout), y.to(self.device)

    def end_epoch(self, epoch: int) -> Metrics:
        """Judge the epoch, write it down, and begin the next."""
        mean_loss, lr = float(self.loss) / self.n, self.optimiser.param_groups[0]["lr"]
        if not math.isfinite(mean_loss):
            raise ConvbenchError(
                f"{self.recipe.network} diverged in epoch {epoch + 1} at learning rate {lr:g}: lower it"
            )
        judged = self.net if self.average is None else self.average.module
        metrics = Metrics(
            epoch=epoch + 1,
            loss=mean_loss,
            lr=lr,
            train_error=100 * int(self.wrong) / self.n,
            test_error=None if self.test is None else test_error(judged, self.test, self.recipe),
            seconds=self.seconds,
            images_per_s=self.n / self.seconds,
        )
        self.history.append(metrics)
        self.begin_epoch()
        if self.folder is not None:
            lines = "".join(json.dumps(asdict(one)) + "\n" for one in self.history)
            write_whole(self.folder / "metrics.jsonl", lines.encode())
            self.save(self.folder)
        return metrics

    def save(self, folder: Path) -> None:
        """Write the state; Interrupted where that was the last thing to do."""
        state = {
            "net": self.net.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.arithmetic.scaler.state_dict(),
            "history": [asdict(one) for one in self.history],
            "step": self.step,
            "seconds": self.seconds,
            "loss": self.loss,
            "wrong": self.wrong,
        }
        save_state(folder / "state.pt", self.belongs_to, state)
        if self.requests.signal is not None and len(self.history) < self.recipe.epochs:
            where = f"epoch {len(self.history) + 1}, step {self.step}"
            raise Interrupted(f"{self.requests.signal.name} in {where}: saved, --resume goes on from there")

    def restore(self, path: Path) -> None:
        """Stand where the state at `path` was saved."""
        state = load_state(path, self.belongs_to)
        self.net.load_state_dict(state["net"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.arithmetic.scaler.load_state_dict(state["scaler"])
        self.history = [Metrics(**one) for one in state["history"]]
        self.step, self.seconds, self.loss, self.wrong = (state[k] for k in ("step", "seconds", "loss", "wrong"))


def test_error(net: nn.Module, test: Dataset, recipe: Recipe) -> float:
    """Percent of `test` that `net` gets wrong."""
    answers = score_images(net, test.images, recipe.preprocessing).argmax(dim=1)
    return 100 * int((answers != test.labels).sum()) / len(test)

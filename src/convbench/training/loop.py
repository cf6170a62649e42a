"""The training loop."""

from __future__ import annotations

import io
import json
import math
import pickle
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from convbench.data.dataset import Dataset
from convbench.errors import ConvbenchError, RequestError
from convbench.evaluation.scoring import score_images
from convbench.files import write_whole
from convbench.progress import progress
from convbench.training.losses import logits_of, loss_with_auxiliary, make_loss
from convbench.training.recipe import Recipe, steps_per_epoch
from convbench.training.sdlm import StochasticDiagonalLM, gauss_newton_diagonal

CHUNK = 10_000  # images distorted at a time
DAMAGED = (RuntimeError, ValueError, TypeError, KeyError, AttributeError, EOFError, OSError, pickle.UnpicklingError)


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
        net: trained in place
        seed: of the order and the distortions; the same seed gives the same network, bit for bit, on one
            machine with one number of threads
        test: evaluated after each epoch, for the curve alone: nothing is chosen by it
        folder: where metrics.jsonl and the state (state.pt) are written after each epoch
        resume: go on from the state in `folder`, if there is one; the end is the same as without the stop

    Returns the metrics, an epoch each. Raises ConvbenchError when the loss is no longer finite.
    """
    loss_of, optimiser = make_loss(recipe), make_optimiser(net, recipe)
    order, history = torch.Generator().manual_seed(seed), list[Metrics]()
    training = json.dumps({"recipe": recipe.to_dict(), "seed": seed, "data": dataset.fingerprint}, sort_keys=True)
    if resume and folder is not None and (folder / "state.pt").exists():
        history = load_state(folder / "state.pt", training, net, optimiser, order)
    pixels, labels, n = recipe.preprocessing.geometry(dataset.images), dataset.labels, len(dataset)
    per_epoch = steps_per_epoch(recipe, n)

    layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
    net.to(memory_format=layout).train()
    with progress(f"{recipe.network}", total=(recipe.epochs - len(history)) * n, unit="images") as bar:
        for epoch in range(len(history), recipe.epochs):
            started = time.perf_counter()
            images = epoch_images(pixels, recipe, order)
            if isinstance(optimiser, StochasticDiagonalLM):
                sample = torch.randperm(n, generator=order)[: recipe.optimiser.curvature_samples]
                optimiser.set_curvature(gauss_newton_diagonal(net, images[sample], labels[sample], loss_of))
            total_loss, wrong, lr = torch.zeros(()), torch.zeros((), dtype=torch.int64), 0.0
            for step, batch in enumerate(torch.randperm(n, generator=order).split(recipe.batch_size)):
                lr = recipe.lr(epoch + (step + 0.5) / per_epoch)
                for group in optimiser.param_groups:
                    group["lr"] = lr
                optimiser.zero_grad(set_to_none=True)  # first, so that no gradient takes memory in the forward pass
                output = net(images[batch].contiguous(memory_format=layout))
                loss = loss_with_auxiliary(loss_of, output, labels[batch])
                loss.backward()
                optimiser.step()
                total_loss += loss.detach() * len(batch)
                wrong += (logits_of(output).detach().argmax(dim=1) != labels[batch]).sum()
                bar.advance(len(batch))
            mean_loss = float(total_loss) / n
            if not math.isfinite(mean_loss):
                raise ConvbenchError(
                    f"{recipe.network} diverged in epoch {epoch + 1} at learning rate {lr:g}: lower it"
                )
            seconds = time.perf_counter() - started
            metrics = Metrics(
                epoch=epoch + 1,
                loss=mean_loss,
                lr=lr,
                train_error=100 * int(wrong) / n,
                test_error=None if test is None else test_error(net, test, recipe),
                seconds=seconds,
                images_per_s=n / seconds,
            )
            history.append(metrics)
            bar.note(
                f"epoch {metrics.epoch}, loss {mean_loss:.4f}" + (f", test {metrics.test_error:.2f} %" if test else "")
            )
            if folder is not None:
                lines = "".join(json.dumps(asdict(one)) + "\n" for one in history)
                write_whole(folder / "metrics.jsonl", lines.encode())
                save_state(folder / "state.pt", training, net, optimiser, order, history)
    return history


def make_optimiser(net: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The optimiser that `recipe` names; its learning rate is set anew before each step."""
    choice = recipe.optimiser
    match choice.name:
        case "sdlm":
            return StochasticDiagonalLM(net.parameters(), lr=choice.lr, mu=choice.mu)
        case "adamw":
            return torch.optim.AdamW(net.parameters(), lr=choice.lr, weight_decay=choice.weight_decay, fused=True)
        case "sgd":
            return torch.optim.SGD(
                net.parameters(),
                lr=choice.lr,
                momentum=choice.momentum,
                nesterov=choice.nesterov,
                weight_decay=choice.weight_decay,
            )


def epoch_images(pixels: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """All images of an epoch as the network reads them: freshly distorted where the recipe says so, then scaled."""
    if recipe.distortion is None:
        return recipe.preprocessing.scale(pixels)
    distorted = [recipe.distortion(chunk, generator) for chunk in pixels.split(CHUNK)]
    return recipe.preprocessing.scale(torch.cat(distorted))


def test_error(net: nn.Module, test: Dataset, recipe: Recipe) -> float:
    """Percent of `test` that `net` gets wrong."""
    answers = score_images(net, test.images, recipe.preprocessing).argmax(dim=1)
    return 100 * int((answers != test.labels).sum()) / len(test)


def save_state(
    path: Path,
    training: str,
    net: nn.Module,
    optimiser: torch.optim.Optimizer,
    order: torch.Generator,
    history: list[Metrics],
) -> None:
    """All that going on needs, written whole; `training` says what the state belongs to."""
    state = {
        "training": training,
        "net": net.state_dict(),
        "optimiser": optimiser.state_dict(),
        "order": order.get_state(),
        "history": [asdict(one) for one in history],
    }
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_whole(path, buffer.getvalue())


def load_state(
    path: Path, training: str, net: nn.Module, optimiser: torch.optim.Optimizer, order: torch.Generator
) -> list[Metrics]:
    """Put the saved state back and return the epochs done so far.

    Raises ConvbenchError for a file that is not such a state, RequestError for the state of another training.
    """
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True)
        begun_with, history = state["training"], [Metrics(**one) for one in state["history"]]
    except DAMAGED as error:
        raise ConvbenchError(
            f"{path} is not a training state: {str(error).partition(chr(10))[0]}; start without --resume"
        ) from error
    if begun_with != training:
        raise RequestError(f"{path} is of another recipe, seed or data: resume with those it was begun with")
    net.load_state_dict(state["net"])
    optimiser.load_state_dict(state["optimiser"])
    order.set_state(state["order"])
    return history

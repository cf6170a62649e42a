"""What a trained network sees in single photographs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from PIL.Image import Image
from torch import Tensor

from convbench.bench.evaluate import Loaded, load_network
from convbench.data.photographs import read_photograph, require_image_file
from convbench.data.samples import sample_photographs
from convbench.errors import ConvbenchError, RequestError, reason_of
from convbench.evaluation.scoring import score_batches
from convbench.evaluation.source import fit_size
from convbench.progress import track
from convbench.timing.choice import AUTO, Choice, choose

CHECKED = 8  # photographs of our own on which an engine's answers are compared with eager's


@dataclass(frozen=True)
class Answer:
    """A class with the probability that the network gives it, percent.

    index: counted from 0
    name: "class 7" where the weights do not say their classes' names
    """

    index: int
    name: str
    probability: float


@dataclass(frozen=True)
class Prediction:
    """The most probable classes of one photograph, the first first."""

    file: str
    answers: tuple[Answer, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def predict(
    images: Sequence[Path | str | Image],
    network: str,
    weights: Path,
    top: int = 5,
    *,
    engine: str = AUTO,
    precision: str = "fp32",
) -> list[Prediction]:
    """The `top` most probable classes of each of `images`, in their order.

    Args:
        images: files in any format that Pillow reads, or photographs that it has opened; see `read_photograph`
        network: its name
        weights: its file, which also says how images are prepared; where it fixes no size, as with networks for small
            images, the shorter side is resized to what the network reads and the centre is cut out
        engine, precision: as in `choose`; int8, which is to be calibrated, is not to be had here

    Probabilities are the softmax of the network's outputs: they mean what they say where it was trained with cross
    entropy.

    Raises RequestError for a file that is missing or no image, and what `load_network` and `choose` raise;
    ConvbenchError for one that is damaged.
    """
    if top < 1:
        raise RequestError(f"top: expected at least 1 answer for each image, found {top}")
    for image in images:
        if not isinstance(image, Image):
            require_image_file(image)  # before the weights are read, which takes longer than a wrong name deserves
    loaded = load_network(network, weights)
    channels, side, _ = loaded.input_shape
    preprocessing = fit_size(loaded.preprocessing, side)
    predictions: list[Prediction] = []
    chosen: Choice | None = None
    for number, image in enumerate(track(images, "predicting", len(images), "images"), start=1):
        pixels, file = read_photograph(image, channels), _file_of(image, number)
        try:
            prepared = preprocessing(pixels[None])
        except RequestError as error:
            raise RequestError(f"{file}: {reason_of(error)}") from error
        if chosen is None:
            checked = preprocessing(sample_photographs(CHECKED, channels, max(side, preprocessing.crop or 0)))
            chosen = choose(
                *(loaded.net, prepared),
                checked=checked,
                engine=engine,
                precision=precision,
                batches=len(images),
            )
        try:
            answers = best_answers(chosen(prepared)[0], loaded.classes, top)
        except ConvbenchError as error:
            raise ConvbenchError(f"{file}, {network} with {weights}: {error}") from error
        predictions.append(Prediction(file, answers))
    return predictions


def answer_image(loaded: Loaded, image: Tensor, top: int = 5) -> tuple[Answer, ...]:
    """The most probable classes of one prepared image (channels, h, w), by eager; errors as of `best_answers`."""
    return best_answers(score_batches(loaded.net, [image[None]], 1)[0], loaded.classes, top)


def best_answers(scores: Tensor, classes: tuple[str, ...], top: int) -> tuple[Answer, ...]:
    """The `top` most probable classes, the first first. scores: (classes,), before the softmax

    Raises ConvbenchError where they are no finite numbers.
    """
    if not bool(scores.isfinite().all()):
        raise ConvbenchError("expected numbers for answers, found NaN or infinity")
    best = scores.double().softmax(dim=0).topk(min(top, len(scores)))
    pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return tuple(Answer(index, classes[index] if classes else f"class {index}", 100 * share) for index, share in pairs)


def _file_of(image: Path | str | Image, number: int) -> str:
    return (getattr(image, "filename", "") or f"image {number}") if isinstance(image, Image) else str(image)

"""The images of an evaluation, whether they lie in memory or are photographs of any size in files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import torch
from torch import Tensor

from convbench.data.dataset import Dataset
from convbench.data.folder import PhotographSet
from convbench.data.photographs import read_photograph
from convbench.data.preprocessing import Preprocessing
from convbench.errors import ConvbenchError, RequestError, reason_of
from convbench.evaluation.scoring import at_a_time, batch_size

Source = Dataset | PhotographSet
MARGIN = 8 / 7  # the shorter side of a photograph, in sides of the window that is cut out: 256 to 224


def image_of(source: Source, i: int, channels: int = 3) -> Tensor:
    """Image `i`, uint8 (channels, h, w).

    Raises ConvbenchError, which names it, for a photograph that cannot be read: an error is of all images, so none
    is left out.
    """
    if isinstance(source, Dataset):
        return source.images[i]
    try:
        return read_photograph(source.open(i), channels)
    except ConvbenchError as error:
        raise type(error)(f"{source.root / source.files[i]}: {reason_of(error)}") from error


def images_of(source: Source, channels: int, chunk: int) -> Iterator[list[Tensor]]:
    """All images in order, `chunk` at a time, which are decoded side by side."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for places in torch.arange(len(source)).split(chunk):
            yield list(pool.map(lambda i: image_of(source, i, channels), places.tolist()))


def preprocessing_for(source: Source, preprocessing: Preprocessing, side: int) -> Preprocessing:
    """What is left to do on images in memory; for photographs, what makes side x side of each."""
    return preprocessing.for_dataset(source) if isinstance(source, Dataset) else fit_size(preprocessing, side)


def fit_size(preprocessing: Preprocessing, side: int) -> Preprocessing:
    """`preprocessing` such that a photograph of any size comes out with `side` pixels.

    A network that was trained on photographs kept in memory may say what it cuts out, and not of how much: then the
    shorter side gets 8/7 of it, 256 pixels for 224. Where it says nothing, it sees the central square.
    """
    if preprocessing.shorter or preprocessing.size:
        return preprocessing
    inside = preprocessing.crop or side - 2 * preprocessing.pad
    return replace(preprocessing, shorter=round(MARGIN * inside) if preprocessing.crop else inside, crop=inside)


def prepared_shape(source: Source, preprocessing: Preprocessing) -> tuple[int, int, int]:
    """(channels, height, width) of what a network reads; RequestError where photographs may get any size."""
    if isinstance(source, Dataset):
        channels, height, width = preprocessing.for_dataset(source)(source.images[:1]).shape[1:]
        return channels, height, width
    inside = preprocessing.size or preprocessing.crop
    if inside is None:
        raise RequestError(
            f"{source.name}: expected preprocessing.crop or size, as its photographs have any, found neither"
        )
    side = inside + 2 * preprocessing.pad
    return 3, side, side


def prepared(source: Source, preprocessing: Preprocessing, input_shape: tuple[int, int, int]) -> Iterator[Tensor]:
    """All images in batches, (b, *input_shape) float32, by what `preprocessing_for` says.

    Raises RequestError where an image gets another shape.
    """
    if isinstance(source, Dataset):
        batches: Iterable[Tensor] = map(preprocessing, source.images.split(batch_size(source.images, preprocessing)))
    else:
        channels, height, width = input_shape
        chunks = images_of(source, channels, at_a_time(height * width))
        batches = (torch.cat([preprocessing(image[None]) for image in chunk]) for chunk in chunks)
    for batch in batches:
        if tuple(batch.shape[1:]) != input_shape:
            expected, found = ("x".join(map(str, shape)) for shape in (input_shape, batch.shape[1:]))
            raise RequestError(f"the network reads {expected} images, {source.name}'s are {found} once prepared")
        yield batch

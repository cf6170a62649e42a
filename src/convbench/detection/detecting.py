"""What a detector finds in a set of photographs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import torch
from torch import Tensor

from convbench.data.box_views import require_size
from convbench.data.photographs import read_photograph
from convbench.data.preprocessing import Preprocessing
from convbench.detection.annotations import DetectionSet
from convbench.detection.detector import Detector
from convbench.detection.result import Detections
from convbench.errors import ConvbenchError, reason_of
from convbench.evaluation.scoring import at_a_time, device_of
from convbench.modes import evaluation_mode
from convbench.progress import progress


def find_all(
    net: Detector,
    dataset: DetectionSet,
    preprocessing: Preprocessing,
    *,
    title: str = "",
) -> list[Detections]:
    """What `net` finds in each photograph of `dataset`, in their order.

    Args:
        preprocessing: makes images of the detector's side
        title: of a progress bar; none is shown without

    Raises ConvbenchError, which names it, for a photograph that cannot be read, or is of another size than annotated: a
    result is of all.
    """
    found = list[Detections]()
    batches, total = read_batches(dataset, preprocessing, at_a_time(net.side**2)), len(dataset)
    shown = progress(title, total, "images") if title else nullcontext()
    with evaluation_mode(net), torch.inference_mode(), shown as bar:
        for images, sizes in batches:
            found += net.find(net(images.to(device_of(net))), sizes)
            if bar is not None:
                bar.advance(len(images))
    return found


def read_batches(
    dataset: DetectionSet, preprocessing: Preprocessing, chunk: int
) -> Iterator[tuple[Tensor, list[tuple[int, int]]]]:
    """Prepared images (b, 3, side, side) with the (height, width) of each photograph; decoded side by side."""

    def read(place: int) -> tuple[Tensor, tuple[int, int]]:
        try:
            pixels = read_photograph(dataset.open(place))
            size = pixels.shape[1], pixels.shape[2]
            height, width = dataset.sizes[place].tolist()
            require_size(size, (height, width))
        except ConvbenchError as error:
            file = dataset.root / dataset.files[place]
            raise type(error)(f"{file}: {reason_of(error)}") from error
        return preprocessing(pixels[None]), size

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for places in torch.arange(len(dataset)).split(chunk):
            read_ones = list(pool.map(read, places.tolist()))
            yield torch.cat([image for image, _ in read_ones]), [size for _, size in read_ones]

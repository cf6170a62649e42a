"""Scores of a network over images, in batches of bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from convbench.data.preprocessing import Preprocessing
from convbench.modes import evaluation_mode
from convbench.progress import progress

PIXELS = 32 * 224 * 224  # in a batch: 32 photographs, as memory goes by what the layers make of each pixel
MOST = 500  # images in a batch: beyond it, small images gain nothing

Score = Callable[[Tensor], Tensor]  # a network, or what an engine has made of one


def score_images(net: Score, images: Tensor, preprocessing: Preprocessing, *, title: str = "") -> Tensor:
    """uint8 images (n, c, h, w) to the network's logits (n, classes), float32.

    Args:
        net: a module, which is put into evaluation mode and back, or what an engine has made of one
        title: of a progress bar on stderr; none is shown without, as inside a training that has its own
    """
    batches = images.split(batch_size(images, preprocessing))
    return score_batches(net, map(preprocessing, batches), len(images), title=title)


def score_batches(net: Score, batches: Iterable[Tensor], total: int, *, title: str = "") -> Tensor:
    """Batches of prepared images (b, c, h, w), `total` in all, to the network's outputs (total, ...), float32."""
    shown = progress(title, total, "images") if title else nullcontext()
    mode = evaluation_mode(net) if isinstance(net, nn.Module) else nullcontext()
    device = device_of(net)
    with mode, torch.inference_mode(), shown as bar:
        scores = []
        for batch in batches:
            scores.append(net(batch.to(device)).float().cpu())
            if bar is not None:
                bar.advance(len(batch))
        return torch.cat(scores)


def device_of(net: Score) -> torch.device:
    """Where images have to be for `net`; engines take them from the processor's memory."""
    parameter = next(net.parameters(), None) if isinstance(net, nn.Module) else None
    return torch.device("cpu") if parameter is None else parameter.device


def batch_size(images: Tensor, preprocessing: Preprocessing) -> int:
    """How many of `images` the network reads at a time: fewer, the larger they are, stored or prepared."""
    height, width = preprocessing.geometry(images[:1]).shape[2:]
    return at_a_time(max(height * width, images[0, 0].numel()))


def at_a_time(pixels: int) -> int:
    """How many images of so many pixels make a batch."""
    return max(1, min(MOST, PIXELS // pixels))

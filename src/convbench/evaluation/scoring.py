"""Scores of a network over images, in batches of bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from convbench.data.preprocessing import Preprocessing
from convbench.modes import evaluation_mode
from convbench.progress import progress

PIXELS = 32 * 224 * 224  # in a batch: 32 photographs, as memory goes by what the layers make of each pixel
MOST = 500  # images in a batch: beyond it, small images gain nothing


def score_images(
    net: Callable[[Tensor], Tensor], images: Tensor, preprocessing: Preprocessing, *, title: str = ""
) -> Tensor:
    """uint8 images (n, c, h, w) to the network's logits (n, classes), float32.

    Args:
        net: a module, which is put into evaluation mode and back, or what an engine has made of one
        title: of a progress bar on stderr; none is shown without, as inside a training that has its own
    """
    shown = progress(title, len(images), "images") if title else nullcontext()
    mode = evaluation_mode(net) if isinstance(net, nn.Module) else nullcontext()
    parameter = next(net.parameters(), None) if isinstance(net, nn.Module) else None
    device = torch.device("cpu") if parameter is None else parameter.device
    with mode, torch.inference_mode(), shown as bar:
        scores = []
        for batch in images.split(batch_size(images, preprocessing)):
            scores.append(net(preprocessing(batch).to(device)).float().cpu())
            if bar is not None:
                bar.advance(len(batch))
        return torch.cat(scores)


def batch_size(images: Tensor, preprocessing: Preprocessing) -> int:
    """How many of `images` the network reads at a time: fewer, the larger they are, stored or prepared."""
    height, width = preprocessing.geometry(images[:1]).shape[2:]
    pixels = max(height * width, images[0, 0].numel())
    return max(1, min(MOST, PIXELS // pixels))

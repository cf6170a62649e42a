"""Scores of a network over images, in batches of bounded memory."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from convbench.data.preprocessing import Preprocessing
from convbench.modes import evaluation_mode

BATCH = 1000


def score_images(net: nn.Module, images: Tensor, preprocessing: Preprocessing) -> Tensor:
    """uint8 images (n, c, h, w) to the network's logits (n, classes), float32; the network's mode is put back."""
    with evaluation_mode(net), torch.inference_mode():
        return torch.cat([net(preprocessing(batch)).float() for batch in images.split(BATCH)])

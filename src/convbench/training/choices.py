"""What "auto" in a recipe stands for, on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from convbench.training.precision import choose_precision
from convbench.training.recipe import Recipe


@dataclass(frozen=True)
class Choices:
    """How a training computes.

    device: "cpu", or the GPU's name
    precision: of products
    compiled: whether torch.compile makes the network's code
    processes: that train together
    """

    device: str
    precision: Literal["fp32", "bf16", "fp16"]
    compiled: bool
    processes: int

    def __str__(self) -> str:
        code = "compiled" if self.compiled else "eager"
        together = f"{self.processes} processes" if self.processes > 1 else "one process"
        return f"{self.precision} products, {code}, {together}, on {self.device}"


def choose_for(recipe: Recipe, device: torch.device, processes: int) -> Choices:
    """By what the device can do: bf16 or fp16 where their products are native, compiled code on GPUs.

    On processors, compiled training was not faster than eager in bf16 with our operators.
    """
    on_gpu = device.type == "cuda"
    return Choices(
        device=torch.cuda.get_device_name(device) if on_gpu else device.type,
        precision=choose_precision(recipe.precision, device),
        compiled=recipe.compile == "on" or (recipe.compile == "auto" and on_gpu),
        processes=processes,
    )

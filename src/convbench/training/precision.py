"""The numbers in which a training multiplies: fp32, bf16, or fp16 with its loss scaled."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from convbench.processor import has_bf16_products

Precision = Literal["auto", "fp32", "bf16", "fp16"]


def choose_precision(asked: Precision, device: torch.device) -> Literal["fp32", "bf16", "fp16"]:
    """What "auto" stands for on `device`: bf16 where its products are native, fp16 on older GPUs, else fp32.

    What is asked for by name is done everywhere: fp16 on a processor is slow, and shows what a GPU would compute.
    """
    if asked != "auto":
        return asked
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    return "bf16" if has_bf16_products() else "fp32"


class Arithmetic:
    """Autocast and, for fp16, the scaling of losses; the parameters themselves stay in fp32."""

    def __init__(self, precision: Literal["fp32", "bf16", "fp16"], device: torch.device) -> None:
        self.device, self.precision = device, precision
        self.dtype = torch.float16 if precision == "fp16" else torch.bfloat16
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, self.dtype, enabled=self.precision != "fp32")

    def backward(self, loss: Tensor) -> None:
        self.scaler.scale(loss).backward()

    def step(self, optimiser: torch.optim.Optimizer) -> None:
        self.scaler.step(optimiser)
        self.scaler.update()

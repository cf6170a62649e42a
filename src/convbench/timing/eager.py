"""torch itself as an engine: eager, channels-last, bf16, compiled; on the processor or a CUDA device."""

from __future__ import annotations

import copy
import os
import shutil
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from convbench.errors import ConvbenchError
from convbench.processor import has_bf16_products

COMPILES = 10_000  # by dynamo, of functions that networks share; it would give up silently after eight


@dataclass(frozen=True)
class TorchSession:
    """Runs a copy of a network in evaluation mode.

    bf16: convolutions and matrix products in bf16, all else as torch's autocast has it
    """

    run: Callable[[Tensor], object]
    device: str
    layout: torch.memory_format
    bf16: bool

    def __call__(self, images: Tensor) -> Tensor:
        scores = self.compute(images)
        assert isinstance(scores, Tensor)  # as preparation has seen
        return scores

    def compute(self, images: Tensor) -> object:
        """What the network gives; a tensor as float32, on the processor."""
        # On CUDA, convolutions would round to TF32 unless told otherwise; cpu() waits for what was computed.
        with (
            torch.inference_mode(),
            torch.autocast(self.device, torch.bfloat16, enabled=self.bf16),
            torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=False),
        ):
            scores = self.run(images.to(self.device, memory_format=self.layout))
            return scores.float().cpu() if isinstance(scores, Tensor) else scores


def prepare_torch(
    net: nn.Module,
    example: Tensor,
    *,
    device: str = "cpu",
    channels_last: bool = False,
    bf16: bool = False,
    compiled: bool = False,
) -> TorchSession:
    """A session that holds its own weights; `net` is left as it is.

    Raises ConvbenchError where the network cannot read the example or be compiled, or gives other than one tensor.
    """
    name, layout = type(net).__name__, torch.channels_last if channels_last else torch.contiguous_format
    own = copy.deepcopy(net).eval().requires_grad_(False).to(device).to(memory_format=layout)
    if bf16:  # once, here: autocast alone would convert the weights in each call
        for layer in own.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                layer.to(torch.bfloat16)
    run = torch.compile(own, dynamic=False, options={"freezing": True}) if compiled else own
    session = TorchSession(run, device, layout, bf16)
    try:
        with _many_compiled() if compiled else nullcontext():
            scores = session.compute(example)
    except RuntimeError as error:  # dynamo's and inductor's, too
        doing = "be compiled for" if compiled else "read"
        shape = "x".join(map(str, example.shape))
        raise ConvbenchError(f"{name} cannot {doing} {shape} images: {str(error).splitlines()[0][:200]}") from error
    if not isinstance(scores, Tensor):
        raise ConvbenchError(f"{name}: expected one tensor of scores, found a {type(scores).__name__}")
    return session


def missing_bf16() -> str | None:
    """Why torch would only imitate bf16 products here."""
    return None if has_bf16_products() else "this processor has no bf16 products"


def missing_compiler() -> str | None:
    """Why torch.compile has nothing to compile with."""
    compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    return None if shutil.which(compiler) else f"torch.compile needs a C++ compiler, found no {compiler}"


def missing_cuda(*, bf16: bool = False) -> str | None:
    """Why there is no CUDA device, or none that has bf16 products."""
    if not torch.cuda.is_available():
        return "no CUDA device"
    if bf16 and not torch.cuda.is_bf16_supported(including_emulation=False):
        return "this CUDA device has no bf16 products"
    return None


def _many_compiled() -> AbstractContextManager[None]:
    from torch._dynamo import config  # a second to import

    limits: AbstractContextManager[None] = config.patch(recompile_limit=COMPILES, accumulated_recompile_limit=COMPILES)
    return limits

"""Ways to run a network: what each is, why it may be missing here, and what it makes of a network.

An engine may reorder sums and drop digits, so none is believed: `fidelity` compares its answers with eager fp32's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from torch import Tensor, nn

from convbench.errors import RequestError, unknown
from convbench.timing.eager import missing_bf16, missing_compiler, missing_cuda, prepare_torch
from convbench.timing.onnxruntime import missing_onnxruntime, prepare_onnxruntime
from convbench.timing.openvino import missing_openvino, prepare_openvino


class Session(Protocol):
    """A network made ready by an engine, for batches of one shape."""

    def __call__(self, images: Tensor) -> Tensor:
        """float32 images (n, c, h, w), in the shape of the example, to float32 scores (n, outputs) on the processor."""
        ...


@dataclass(frozen=True)
class Engine:
    """A way to run inference.

    precision: of convolutions and matrix products: "fp32", "bf16" or "int8"
    library: the package that computes
    missing: why it cannot be used on this machine; None where it can
    make: (net, example, calibration) to a session
    """

    name: str
    title: str
    precision: str
    library: str
    missing: Callable[[], str | None]
    make: Callable[[nn.Module, Tensor, Tensor | None], Session]

    def prepare(self, net: nn.Module, example: Tensor, calibration: Tensor | None = None) -> Session:
        """A session that has its own copy of the weights; `net` keeps its mode, weights and layout.

        Args:
            net: computes as in evaluation mode
            example: float32 (n, c, h, w): the shape of all batches to come, and where tracing starts from
            calibration: images for int8, prepared as the network reads them; 100 are enough

        Raises RequestError where the engine is missing here, the example is no batch of images, or int8 has nothing to
        calibrate with; ConvbenchError where the network cannot be converted.
        """
        reason = self.missing()
        if reason is not None:
            raise RequestError(f"engine {self.name} is missing here: {reason}")
        if example.ndim != 4:
            raise RequestError(f"expected images (n, channels, height, width), found {tuple(example.shape)}")
        return self.make(net, example, calibration)


def _torch(**how: bool | str) -> Callable[[nn.Module, Tensor, Tensor | None], Session]:
    return lambda net, example, calibration: prepare_torch(net, example, **how)  # type: ignore[arg-type]


def _openvino(precision: str) -> Engine:
    return Engine(
        f"openvino-{precision}",
        f"OpenVINO, {precision}",
        precision,
        "openvino",
        partial(missing_openvino, precision),
        partial(prepare_openvino, precision=precision),
    )


def _nothing() -> None:
    return None


ENGINES = {
    engine.name: engine
    for engine in (
        Engine("eager", "torch, plain layout", "fp32", "torch", _nothing, _torch()),
        Engine("channels-last", "torch, channels last", "fp32", "torch", _nothing, _torch(channels_last=True)),
        Engine("bf16", "torch, bf16", "bf16", "torch", missing_bf16, _torch(channels_last=True, bf16=True)),
        Engine("compiled", "torch.compile", "fp32", "torch", missing_compiler, _torch(compiled=True)),
        Engine(
            "onnxruntime",
            "ONNX Runtime",
            "fp32",
            "onnxruntime",
            missing_onnxruntime,
            lambda net, example, calibration: prepare_onnxruntime(net, example),
        ),
        _openvino("fp32"),
        _openvino("bf16"),
        _openvino("int8"),
        Engine("cuda", "torch on CUDA", "fp32", "torch", missing_cuda, _torch(device="cuda")),
        Engine(
            "cuda-bf16",
            "torch on CUDA, bf16",
            "bf16",
            "torch",
            partial(missing_cuda, bf16=True),
            _torch(device="cuda", channels_last=True, bf16=True),
        ),
    )
}


def open_engine(name: str) -> Engine:
    """The engine of that name; RequestError names the nearest."""
    if name not in ENGINES:
        raise unknown("engine", name, ENGINES)
    return ENGINES[name]

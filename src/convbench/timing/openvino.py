"""OpenVINO as an engine, on the processor, in fp32, bf16 and int8."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from convbench.errors import ConvbenchError, RequestError
from convbench.timing.conversion import Shape, to_openvino
from convbench.timing.int8 import quantise

if TYPE_CHECKING:
    import openvino

INSTALL = "pip install 'convbench[engines]'"
HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}  # what is not quantised stays in fp32


class OpenVinoSession:
    """A compiled graph with one request; neither images nor graph inputs are copied."""

    def __init__(self, model: openvino.Model, precision: str) -> None:
        compiled = core().compile_model(model, "CPU", settings(precision))
        self.request = compiled.create_infer_request()

    def __call__(self, images: Tensor) -> Tensor:
        outputs = self.request.infer([images.numpy()], share_inputs=True, share_outputs=True)
        return torch.from_numpy(outputs[0].copy())  # the request writes its next answer to the same place


def prepare_openvino(net: nn.Module, example: Tensor, calibration: Tensor | None, *, precision: str) -> OpenVinoSession:
    """A session at "fp32", "bf16" or "int8"; see `to_openvino` and `quantise` for what they raise."""
    try:
        return OpenVinoSession(graph(net, example, calibration, precision=precision), precision)
    except RuntimeError as error:
        raise ConvbenchError(f"OpenVINO cannot compile {type(net).__name__}: {str(error).splitlines()[0]}") from error


def graph(net: nn.Module, example: Tensor, calibration: Tensor | None, *, precision: str) -> openvino.Model:
    """The graph that a session at `precision` compiles, for batches like `example`.

    Raises RequestError for int8 without images to calibrate with.
    """
    n, channels, height, width = example.shape
    shape: Shape = (n, channels, height, width)
    if precision != "int8":
        return to_openvino(net, shape)
    if calibration is None:
        raise RequestError("int8: expected images to calibrate with, found none")
    model = to_openvino(net, (1, channels, height, width))
    quantised = quantise(model, calibration)
    quantised.reshape(list(shape))
    return quantised


def settings(precision: str) -> dict[str, Any]:
    """How a graph is compiled: for the least latency, with as many threads as torch takes."""
    return {
        "INFERENCE_PRECISION_HINT": HINTS[precision],
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
    }


def missing_openvino(precision: str) -> str | None:
    """Why OpenVINO cannot compute at `precision` here."""
    if find_spec("openvino") is None:
        return f"OpenVINO is not installed: {INSTALL}"
    if precision == "int8" and find_spec("nncf") is None:
        return f"NNCF is not installed: {INSTALL}"
    if precision == "bf16" and "BF16" not in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        return "this processor has no bf16 products"
    return None


@cache
def core() -> openvino.Core:
    """The one core of this process: it loads the plugins."""
    import openvino

    return openvino.Core()

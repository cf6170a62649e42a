"""OpenVINO as an engine, on the processor, in fp32, bf16 and int8."""

from __future__ import annotations

import math
import time
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from convbench.errors import ConvbenchError, RequestError
from convbench.timing.conversion import to_openvino
from convbench.timing.int8 import quantise

if TYPE_CHECKING:
    import openvino

PIECES = (2, 4)  # images: of 1, 2, 4 and 8 the best on two cores, at batches of 8 and 64
TRIED_S = 0.5
INSTALL = "pip install 'convbench[engines]'"
HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}  # what is not quantised stays in fp32


class OpenVinoSession:
    """A compiled graph. A batch goes through it whole, by all threads together, or in pieces, one thread each.

    model: reads one piece
    pieces: of a batch, all of one size

    The images are not copied on their way in.
    """

    def __init__(self, model: openvino.Model, precision: str, pieces: int = 1) -> None:
        compiled = core().compile_model(model, "CPU", settings(precision, in_pieces=pieces > 1))
        self.requests = [compiled.create_infer_request() for _ in range(pieces)]

    def __call__(self, images: Tensor) -> Tensor:
        pieces = [piece.numpy() for piece in images.chunk(len(self.requests))]
        for request, piece in zip(self.requests, pieces, strict=True):
            request.start_async([piece], share_inputs=True)
        for request in self.requests:
            request.wait()
        # A copy: a request writes its next answer to the same place.
        return torch.from_numpy(np.concatenate([request.get_output_tensor().data for request in self.requests]))


def prepare_openvino(net: nn.Module, example: Tensor, calibration: Tensor | None, *, precision: str) -> OpenVinoSession:
    """A session at "fp32", "bf16" or "int8", in pieces where that is faster; see `to_openvino` and `quantise` for
    what they raise.

    What a piece passes from layer to layer stays in a core's cache, and no core waits for the others at the end of each
    layer; but each piece reads all the weights. Which of it weighs more is found by running `example`.
    """
    try:
        model = graph(net, example, calibration, precision=precision)
        sessions = [OpenVinoSession(piece, precision, n) for piece, n in divisions(model, len(example))]
    except RuntimeError as error:
        raise ConvbenchError(f"OpenVINO cannot compile {type(net).__name__}: {str(error).splitlines()[0]}") from error
    return fastest(sessions, example)


def divisions(model: openvino.Model, n: int) -> list[tuple[openvino.Model, int]]:
    """The graph for batches of n, whole, and for pieces of them that give work to every thread, with their number."""
    found = [(_of_batch(model, n), 1)]
    for size in PIECES:
        pieces, rest = divmod(n, size)
        if rest or pieces < max(2, torch.get_num_threads()):
            continue
        try:
            piece = _of_batch(model, size)
        except RuntimeError:  # the module's own code fixes the size of its batch
            continue
        if piece.output().shape[0] == size:
            found.append((piece, pieces))
    return found


def _of_batch(model: openvino.Model, n: int) -> openvino.Model:
    sized = model.clone()
    channels, height, width = (axis.get_length() for axis in list(model.input().partial_shape)[1:])
    sized.reshape([n, channels, height, width])
    return sized


def fastest(sessions: list[OpenVinoSession], example: Tensor) -> OpenVinoSession:
    """Of sessions that do the same, the one with the least time for a batch, tried in turn."""
    if len(sessions) == 1:
        return sessions[0]
    for session in sessions:
        session(example)
    least = [math.inf] * len(sessions)
    end = time.perf_counter() + TRIED_S
    while math.inf in least or time.perf_counter() < end:
        for index, session in enumerate(sessions):
            start = time.perf_counter()
            session(example)
            least[index] = min(least[index], time.perf_counter() - start)
    return sessions[least.index(min(least))]


def graph(net: nn.Module, example: Tensor, calibration: Tensor | None, *, precision: str) -> openvino.Model:
    """`net` at `precision`, for images like those of `example`, of any number unless that is a single one.

    Raises RequestError for int8 without images to calibrate with.
    """
    n, channels, height, width = example.shape
    model = to_openvino(net, (n, channels, height, width), any_batch=n > 1)
    if precision != "int8":
        return model
    if calibration is None:
        raise RequestError("int8: expected images to calibrate with, found none")
    return quantise(model, calibration)


def settings(precision: str, *, in_pieces: bool = False) -> dict[str, Any]:
    """How a graph is compiled: as many threads as torch takes, all for one request or each for one of its own."""
    threads = torch.get_num_threads()
    return {
        "INFERENCE_PRECISION_HINT": HINTS[precision],
        "PERFORMANCE_HINT": "THROUGHPUT" if in_pieces else "LATENCY",
        "NUM_STREAMS": threads if in_pieces else 1,
        "INFERENCE_NUM_THREADS": threads,
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

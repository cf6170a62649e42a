"""A module as an OpenVINO graph or an ONNX file, by tracing its evaluation; the module is left as it is."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from convbench.errors import ConvbenchError
from convbench.modes import evaluation_mode
from convbench.timing.rewrites import local_response_normalisation, rewrite

if TYPE_CHECKING:
    import openvino

OPSET = 20  # of ONNX: what onnxruntime 1.17 (January 2024) and all later ones run

Shape = tuple[int, int, int, int]


def to_openvino(net: nn.Module, shape: Shape, *, any_batch: bool = False) -> openvino.Model:
    """`net` as a graph that reads float32 images of `shape`, (n, channels, height, width), n of them at a time.

    any_batch: or any number of them; n is then an example, above 1

    Raises ConvbenchError where torch cannot trace the module or OpenVINO lacks one of its operators.
    """
    # The frontend itself: openvino.convert_model has no say over shared memory.
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    by_module, by_node = local_response_normalisation()
    with _tracing(net, "OpenVINO"), _attributes_put_back(net):
        frontend = FrontEndManager().load_by_framework("pytorch")
        frontend.add_extension(by_node)
        decoder = TorchScriptPythonDecoder(
            net,
            example_input=torch.zeros(shape),
            shared_memory=False,  # else the graph goes on reading the module's own biases
            module_extensions={nn.LocalResponseNorm: by_module},
        )
        model = frontend.convert(frontend.load(decoder))
        model.reshape([-1, *shape[1:]] if any_batch else list(shape))
        rewrite(model)
    return model


def to_onnx(net: nn.Module, shape: Shape, path: Path, *, any_batch: bool = True) -> None:
    """Write `net` at `path` as ONNX, for float32 images like `shape`, (n, channels, height, width).

    any_batch: of any n; the one in `shape` is then an example, above 1, as one image would be taken for a constant

    The input is called `images`, the output `scores`.

    Raises ConvbenchError where torch cannot trace or translate the module.
    """
    images = torch.zeros(max(2, shape[0]) if any_batch else shape[0], *shape[1:])
    with _tracing(net, "ONNX"):
        torch.onnx.export(
            *(net, (images,), path),
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("n")},) if any_batch else None,
            input_names=["images"],
            output_names=["scores"],
            external_data=False,
            opset_version=OPSET,
            verbose=False,
        )


@contextmanager
def _tracing(net: nn.Module, what: str) -> Iterator[None]:
    """Evaluation without gradients, warnings about what is constant in a trace, or remarks of the exporter."""
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        with evaluation_mode(net), torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except Exception as error:  # the frontends raise anything, from RuntimeError to their own
        raise ConvbenchError(f"cannot convert {type(net).__name__} to {what}: {_reason(error)}") from error
    finally:
        exporter.setLevel(level)


@contextmanager
def _attributes_put_back(net: nn.Module) -> Iterator[None]:
    """The frontend leaves a `forward` in the modules that an extension is for, which a copy would share, and the old
    one under a name by which it knows them for done: the next conversion would pass them over."""
    before = [(module, set(vars(module))) for module in net.modules()]
    try:
        yield
    finally:
        for module, names in before:
            for name in set(vars(module)) - names:
                delattr(module, name)


def _reason(error: Exception) -> str:
    """The line that says most: OpenVINO's summary of operators, else the first."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    summary = [line.removeprefix("-- ") for line in lines if line.startswith(("-- No conversion", "-- Conversion is"))]
    return ("; ".join(summary) or lines[0])[:200]

"""A network as a file of ONNX, OpenVINO or torch.export, and what such a file answers in its own library.

All three read float32 images of any batch size and carry notes, {key: JSON text}, where their format has a place for
them: ONNX in the model's metadata, OpenVINO under `convbench` in its runtime information, torch.export in the extra
file `convbench.json`.
"""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import torch
from torch import Tensor, nn

from convbench.errors import ConvbenchError, RequestError
from convbench.modes import evaluation_mode
from convbench.timing.conversion import to_onnx, to_openvino
from convbench.timing.int8 import quantise

INPUT, OUTPUT = "images", "scores"  # as `to_onnx` names them, too
NOTES = "convbench"

Shape = tuple[int, int, int, int]


@dataclass(frozen=True)
class Format:
    """What a network is exported to.

    suffixes: of its files; the last one's is the file that is named, and moved into place last
    library: the package that runs it; others: what else it takes to write it
    write: (net, shape, path, notes, calibration) writes the file at path and those beside it. shape: (n, c, h, w) of
        float32 images, of which n is an example, above 1; calibration: images, or None for fp32
    run: (path, batches) reads the file back and answers each batch: float32 (n, classes)
    """

    title: str
    suffixes: tuple[str, ...]
    library: str
    write: Callable[[nn.Module, Shape, Path, Mapping[str, str], Tensor | None], None]
    run: Callable[[Path, Iterable[Tensor]], list[Tensor]]
    others: tuple[str, ...] = ()

    def require(self) -> None:
        """RequestError unless what it needs is installed."""
        for package in (self.library, *self.others):
            try:
                import_module(package)
            except ImportError as error:
                raise RequestError(f"{self.title} needs {package}: pip install 'convbench[engines]'") from error


def write_model(
    to: str,
    net: nn.Module,
    input_shape: tuple[int, int, int],
    path: Path,
    notes: Mapping[str, str],
    calibration: Tensor | None = None,
) -> None:
    """Write `net`, as it computes in evaluation mode, at `path` in the format `to`; `net` is left as it is.

    calibration: for int8, which only OpenVINO has here; see `quantise`

    Raises ConvbenchError where the library cannot convert the network or write the file.
    """
    kind = FORMATS[to]
    with evaluation_mode(net), torch.no_grad():
        try:
            kind.write(net, (2, *input_shape), path, notes, calibration)
        except (OSError, RuntimeError, TypeError, ValueError) as error:
            raise ConvbenchError(f"cannot write {kind.title}: {_reason(error)}") from error


def run_model(to: str, path: Path, batches: Iterable[Tensor]) -> list[Tensor]:
    """What the file at `path` answers to each of `batches`, in the library of its format: float32 (n, classes).

    Raises ConvbenchError where the library cannot read or run it.
    """
    kind = FORMATS[to]
    try:
        return kind.run(path, batches)
    except (AssertionError, OSError, RuntimeError, ValueError) as error:
        raise ConvbenchError(f"{kind.library} cannot run what was written: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """The first line that says something: OpenVINO begins with the places in its source."""
    lines = [line.strip() for line in str(error).splitlines()]
    return next((line[:200] for line in lines if line and not line.startswith("Exception from")), type(error).__name__)


def _write_onnx(net: nn.Module, shape: Shape, path: Path, notes: Mapping[str, str], _: Tensor | None) -> None:
    import onnx

    to_onnx(net, shape, path)
    model = onnx.load(path)
    onnx.helper.set_model_props(model, dict(notes))
    onnx.save(model, path)


def _run_onnx(path: Path, batches: Iterable[Tensor]) -> list[Tensor]:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return [torch.from_numpy(session.run([OUTPUT], {INPUT: images.numpy()})[0]) for images in batches]


def _write_openvino(
    net: nn.Module, shape: Shape, path: Path, notes: Mapping[str, str], calibration: Tensor | None
) -> None:
    import openvino

    model = to_openvino(net, shape, any_batch=True)
    if calibration is not None:
        model = quantise(model, calibration)
    model.input(0).set_names({INPUT})
    model.output(0).set_names({OUTPUT})
    for key, value in notes.items():
        model.set_rt_info(value, [NOTES, key])
    openvino.save_model(model, path, compress_to_fp16=False)  # numbers as they are, so that answers are, too


def _run_openvino(path: Path, batches: Iterable[Tensor]) -> list[Tensor]:
    import openvino

    # Left to itself, OpenVINO computes in bfloat16 where the processor can.
    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return [torch.from_numpy(compiled({INPUT: images.numpy()})[OUTPUT].copy()) for images in batches]


def _write_torch(net: nn.Module, shape: Shape, path: Path, notes: Mapping[str, str], _: Tensor | None) -> None:
    batch = {0: torch.export.Dim("n")}
    program = torch.export.export(net, (torch.zeros(shape),), dynamic_shapes=(batch,))
    content = io.BytesIO()  # given a path, torch's writer ends the process where the disk is full
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="No complete tensor found")  # of views: they are written whole
        torch.export.save(program, content, extra_files={f"{NOTES}.json": json.dumps(dict(notes))})
    path.write_bytes(content.getbuffer())


def _run_torch(path: Path, batches: Iterable[Tensor]) -> list[Tensor]:
    net = torch.export.load(path).module()
    with torch.inference_mode():
        return [net(images) for images in batches]


FORMATS = {
    "onnx": Format("ONNX", (".onnx",), "onnxruntime", _write_onnx, _run_onnx, ("onnx", "onnxscript")),
    "openvino": Format("OpenVINO", (".bin", ".xml"), "openvino", _write_openvino, _run_openvino),
    "torch": Format("torch.export", (".pt2",), "torch", _write_torch, _run_torch),
}

"""ONNX Runtime as an engine, on the processor, in fp32."""

from __future__ import annotations

import tempfile
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from convbench.timing.conversion import to_onnx

NEEDS = ("onnxruntime", "onnx", "onnxscript")
ERRORS_ALONE = 3  # of ONNX Runtime's five levels of severity


class OnnxSession:
    """An ONNX file, read into memory."""

    def __init__(self, path: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = ERRORS_ALONE
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        (images,) = self.session.get_inputs()
        self.name, self.batch = images.name, images.shape[0]  # a number, or the name of any number

    def __call__(self, images: Tensor) -> Tensor:
        return torch.from_numpy(self.session.run(None, {self.name: images.numpy()})[0])


def prepare_onnxruntime(net: nn.Module, example: Tensor) -> OnnxSession:
    """A session for batches of any size, or where the module's own code fixes it, of the example's.

    Raises what `to_onnx` does.
    """
    n, channels, height, width = example.shape
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "net.onnx")
        to_onnx(net, (n, channels, height, width), path)
        session = OnnxSession(path)
        if not isinstance(session.batch, int) or session.batch == n:
            return session
        to_onnx(net, (n, channels, height, width), path, any_batch=False)
        return OnnxSession(path)


def missing_onnxruntime() -> str | None:
    """Which of its packages is not installed."""
    for package in NEEDS:
        if find_spec(package) is None:
            return f"{package} is not installed: pip install 'convbench[engines]'"
    return None

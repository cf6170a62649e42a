"""Read files of weights: safetensors, NumPy's .npz, PyTorch's checkpoints, Keras' HDF5. No code in them is executed."""

from __future__ import annotations

import io
import json
import pickle
import re
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from convbench.errors import ConvbenchError, RequestError

EXPECTED = "a .safetensors file, .npz, a PyTorch checkpoint or Keras' .h5"
NESTED = ("state_dict", "model", "net")  # where checkpoints keep the tensors; the last is of our own states
WRAPPERS = ("module.", "_orig_mod.")  # what DataParallel and torch.compile put before every name
SCALE, ZERO_POINT = "//scale", "//zero_point"  # beside a TFLite tensor: (number - zero point) * scale
DAMAGE = (  # what the readers raise for files that are cut or changed
    *(ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, MemoryError, OSError),
    *(RuntimeError, SyntaxError, TypeError, ValueError),
    *(pickle.UnpicklingError, struct.error, tokenize.TokenError, zipfile.BadZipFile, zlib.error),
)


@dataclass(frozen=True)
class WeightFile:
    """A file's tensors by their names, quantised ones as numbers again, and the metadata that convbench wrote."""

    path: Path
    tensors: dict[str, Tensor]
    metadata: dict[str, Any]


def read_weight_file(path: Path) -> WeightFile:
    """All tensors of the file at `path`, in whichever format its content is.

    Raises RequestError where there is no file, it needs a package that is not installed, or it holds code;
    ConvbenchError where it is damaged.
    """
    if not path.is_file():
        raise RequestError(f"no weights at {path}: expected {EXPECTED}")
    try:
        with path.open("rb") as file:
            head = file.read(9)
    except OSError as error:
        raise RequestError(f"cannot read {path}: {error.strerror}") from error
    metadata: dict[str, Any] = {}
    if head[8:] != b"{" and head.startswith(b"PK"):
        tensors = _read_zip(path)
    elif head[8:] != b"{" and head.startswith(b"\x89HDF"):
        tensors = _read_keras(path, path)
    elif head[8:] != b"{" and head.startswith(b"\x80"):  # a pickle, as PyTorch wrote before 1.6
        tensors = _read_torch(path)
    else:
        tensors, metadata = _read_safetensors(path)
    if not tensors:
        raise RequestError(f"{path} holds no tensors: expected {EXPECTED}")
    while wrapper := next((one for one in WRAPPERS if all(name.startswith(one) for name in tensors)), None):
        tensors = {name.removeprefix(wrapper): tensor for name, tensor in tensors.items()}
    return WeightFile(path, tensors, metadata)


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
            written = file.metadata() or {}
    except SafetensorError as error:
        raise ConvbenchError(f"{path} is not a whole safetensors file: {error}") from error
    try:
        return tensors, {key: json.loads(value) for key, value in written.items()}
    except json.JSONDecodeError:
        return tensors, {}  # safetensors of other programs carry free text


def _read_zip(path: Path) -> dict[str, Tensor]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
            if any(member.endswith(".npy") for member in members):
                return _read_npz(path)
            if "model.weights.h5" in members:
                return _read_keras(path, io.BytesIO(archive.read("model.weights.h5")))
    except DAMAGE as error:
        raise _damaged(path, "archive", error) from error
    return _read_torch(path)


def _read_npz(path: Path) -> dict[str, Tensor]:
    with np.load(path, allow_pickle=False) as archive:
        arrays: dict[str, Any] = {name.removesuffix(":0"): archive[name] for name in archive.files}
    for name in [name for name in arrays if name.endswith("_int8")]:
        bits = arrays.pop(f"{name.removesuffix('_int8')}_frac_bits")
        arrays[name.removesuffix("_int8")] = np.ldexp(arrays.pop(name).astype(np.float32), -bits.astype(np.int32))
    for name in [name.removesuffix(SCALE) for name in arrays if name.endswith(SCALE)]:
        scale, zero = arrays.pop(name + SCALE), arrays.pop(name + ZERO_POINT)
        arrays[name] = (arrays[name].astype(np.float32) - zero.astype(np.float32)) * scale
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def _read_torch(path: Path) -> dict[str, Tensor]:
    try:
        # Given a path, torch.load goes by the suffix; its warnings on odd pickles say nothing that the error does not.
        with path.open("rb") as file, warnings.catch_warnings(action="ignore"):
            content = torch.load(file, map_location="cpu", weights_only=True)
    except DAMAGE as error:
        found = re.search(r"GLOBAL (\S+)|Unsupported (?:class|operand) (\S+)", str(error))
        if found is None or not isinstance(error, pickle.UnpicklingError):
            raise _damaged(path, "PyTorch file", error) from error
        raise RequestError(
            f"{path} holds code ({found[1] or found[2]}), which was not executed: expected tensors alone"
        ) from error
    while isinstance(content, Mapping) and (inner := next((key for key in NESTED if _is_mapping(content, key)), None)):
        content = content[inner]
    named = content.items() if isinstance(content, Mapping) else ()
    return {str(name): value.detach() for name, value in named if _is_plain(value)}


def _is_mapping(content: Mapping[str, Any], key: str) -> bool:
    return isinstance(content.get(key), Mapping)


def _is_plain(value: Any) -> bool:
    """A tensor of numbers in memory: neither sparse nor quantised by torch nor on the meta device."""
    return (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and not value.is_quantized
    )


def _read_keras(path: Path, source: Path | BinaryIO) -> dict[str, Tensor]:
    """Keras' HDF5, by `layer/tensor`: the legacy layout, whose paths say so, and Keras 3's, which numbers variables."""
    try:
        h5py = import_module("h5py")
    except ImportError as error:
        raise RequestError(f"{path} is Keras' HDF5: pip install 'convbench[keras-files]' reads it") from error
    arrays: dict[str, Any] = {}

    def visit(name: str, item: Any) -> None:
        parts = name.split("/")
        if parts[0].startswith("optimizer"):
            return
        if parts[-1] == "vars" and len(item):
            values = [item[str(number)][()] for number in range(len(item))]
            layer = item.attrs.get("name", parts[-2])
            arrays.update(zip((f"{layer}/{own}" for own in _variables(values)), values, strict=True))
        elif isinstance(item, h5py.Dataset) and parts[-2:-1] != ["vars"]:
            arrays["/".join(parts[-2:]).removesuffix(":0")] = item[()]

    try:
        with h5py.File(source, "r") as file:
            file.visititems(visit)
        floating = {name: array for name, array in arrays.items() if array.dtype.kind == "f"}  # not dropouts' seeds
        return {name: torch.from_numpy(np.asarray(array)) for name, array in floating.items()}
    except DAMAGE as error:
        raise _damaged(path, "HDF5 file", error) from error


def _variables(values: list[Any]) -> list[str]:
    """The names of a Keras layer's variables, which Keras 3 stores as 0, 1, ...: known by their number and rank."""
    ranks = [value.ndim for value in values]
    names = ["depthwise_kernel", "pointwise_kernel", "bias"] if ranks[:2] == [4, 4] else ["kernel", "bias"]
    if ranks[0] == 1:
        names = ["gamma", "beta", "moving_mean", "moving_variance"][-len(ranks) :]
    return [*names, *(str(number) for number in range(len(names), len(ranks)))][: len(ranks)]


def _damaged(path: Path, kind: str, error: Exception) -> ConvbenchError:
    reason = " ".join(str(error).split())
    return ConvbenchError(f"{path} is not a whole {kind}: {reason[:120] or type(error).__name__}")

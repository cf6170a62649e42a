"""Weights in and out, as safetensors: never a pickle, so that loading cannot execute code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from convbench.errors import ConvbenchError, RequestError
from convbench.files import write_whole


def save_weights(net: nn.Module, path: Path, metadata: dict[str, Any]) -> None:
    """Write `net`'s state, whole, with `metadata` (plain values: network, preprocessing, classes, ...) beside it."""
    tensors = {name: tensor.contiguous() for name, tensor in net.state_dict().items()}
    write_whole(path, save(tensors, {key: json.dumps(value) for key, value in metadata.items()}))


def read_metadata(path: Path) -> dict[str, Any]:
    """What `save_weights` wrote beside the weights; empty for a file that carries none of ours."""
    try:
        with _open(path) as file:
            return {key: json.loads(value) for key, value in (file.metadata() or {}).items()}
    except json.JSONDecodeError:
        return {}  # safetensors of other programs carry free text


def load_weights(net: nn.Module, path: str | Path) -> dict[str, Any]:
    """Load the safetensors at `path` into `net` and return their metadata.

    Raises RequestError naming the tensors that differ, and how; ConvbenchError for a damaged file.
    """
    path = Path(path)
    with _open(path) as file:
        names = set(file.keys())
        found = {name: tuple(file.get_slice(name).get_shape()) for name in names}
        wanted = {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}
        differences = [
            *(f"{name} is missing" for name in sorted(wanted.keys() - names)),
            *(f"{name} is unknown" for name in sorted(names - wanted.keys())),
            *(
                f"{name} is {found[name]}, expected {wanted[name]}"
                for name in sorted(names & wanted.keys())
                if found[name] != wanted[name]
            ),
        ]
        if differences:
            more = f" and {len(differences) - 4} more" if len(differences) > 4 else ""
            raise RequestError(f"{path} does not fit {type(net).__name__}: {'; '.join(differences[:4])}{more}")
        net.load_state_dict({name: file.get_tensor(name) for name in names})
    return read_metadata(path)


def _open(path: Path) -> Any:
    if not path.is_file():
        raise RequestError(f"no weights at {path}: expected a .safetensors file")
    try:
        return safe_open(path, framework="pt")
    except SafetensorError as error:
        raise ConvbenchError(f"{path} is not a whole safetensors file: {error}") from error

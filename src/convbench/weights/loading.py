"""Weights in and out. Out as safetensors; in by our names or other libraries', and never by executing a pickle."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import nn

from convbench.errors import RequestError
from convbench.files import write_whole
from convbench.models.registry import FAMILIES, build
from convbench.weights.conventions import (
    apply_conventions,
    check_conventions,
    conventions_of,
    conventions_of_origin,
)
from convbench.weights.files import WeightFile, read_weight_file
from convbench.weights.folding import fold_batch_norm
from convbench.weights.matching import Match, match_tensors


def save_weights(
    net: nn.Module, path: Path, metadata: dict[str, Any], *, leave_out: Collection[str] = frozenset()
) -> None:
    """Write `net`'s state but for the tensors `leave_out`, whole, as safetensors.

    `metadata` (plain values: network, preprocessing, classes, ...) goes beside it, and so do the conventions that the
    network now computes by (`conventions`: see `conventions_of`), so that whoever loads the file computes the same.
    """
    tensors = {name: tensor.contiguous() for name, tensor in net.state_dict().items() if name not in leave_out}
    written = {**metadata, "conventions": conventions_of(net)}
    write_whole(path, save(tensors, {key: json.dumps(value) for key, value in written.items()}))


def read_metadata(path: Path) -> dict[str, Any]:
    """What `save_weights` wrote beside the weights; empty for a file that carries none of ours."""
    return read_weight_file(path).metadata


def load_weights(net: nn.Module, path: str | Path) -> dict[str, Any]:
    """Load the file at `path` into `net`, make `net` compute as the weights expect, and return what is known of them.

    net: as `build` made it; of what was changed since, only what the weights speak of is changed back

    Read are safetensors, .npz, PyTorch's checkpoints and Keras' HDF5, whichever the content is, with our own names or,
    for the families that have a file in `weights/foreign`, those of torchvision, timm, Keras, TF-slim and others;
    kernels are transposed, and rows of background classes dropped, as the library's layout asks. A file whose batch
    normalisation lies in biases folds that of `net` (see `fold_batch_norm`).

    Returns the metadata that convbench wrote into the file, or for a library's:
        library: in whose names it is
        preprocessing: fields of `Preprocessing` that its published weights expect
        conventions: what `net` was set to, see `conventions_of`
        licence: of the library's published weights, where known
        caution: what to know where the tensors fit a network that the library did not train
        missing: our names of optional tensors (auxiliary heads) that the file lacks; they keep their values
        folded: True where `net` was folded

    Raises RequestError naming the tensors that differ, and how; ConvbenchError for a damaged file. `net` is then
    unchanged.
    """
    return load_file(net, read_weight_file(Path(path)))


def load_file(net: nn.Module, file: WeightFile) -> dict[str, Any]:
    """`load_weights` of a file that has been read."""
    match = match_tensors(net, file.tensors)
    if match.differences:
        raise RequestError(f"{file.path} does not fit {type(net).__name__}: {_explain(net, file, match)}")
    origin = match.origin
    conventions = file.metadata.get("conventions", conventions_of_origin(origin))
    check_conventions(conventions)
    if match.folded:
        fold_batch_norm(net)
    net.load_state_dict(match.state, strict=False)
    apply_conventions(net, conventions)
    known = {
        "library": origin.library if origin.library != "convbench" else "",
        "preprocessing": dict(origin.preprocessing),
        "licence": f"{origin.licence}, if these are {origin.library}'s published weights" if origin.licence else "",
        "caution": "" if match.folded else origin.caution(net),
        "missing": list(match.missing),
        "folded": match.folded,
        "conventions": conventions_of(net),
    }
    return {key: value for key, value in known.items() if value} | file.metadata


def _explain(net: nn.Module, file: WeightFile, match: Match) -> str:
    """The first four differences, how many more there are, and which network of the family the file fits."""
    more = f" and {len(match.differences) - 4} more" if len(match.differences) > 4 else ""
    fitting = " or ".join(_fitting(net, file, match))
    return "; ".join(match.differences[:4]) + more + (f"; it fits {fitting}" if fitting else "")


def _fitting(net: nn.Module, file: WeightFile, match: Match) -> Iterator[str]:
    """The networks of the family of `net` into which the file would go without a difference."""
    family = type(net).__module__.rpartition(".")[2]
    for name in FAMILIES.get(family, ()):
        with torch.device("meta"):
            try:
                other = build(name, num_classes=match.num_classes)
            except RequestError:
                continue
        if not match_tensors(other, file.tensors).differences:
            yield name if match.num_classes is None else f"{name} with {match.num_classes} classes"

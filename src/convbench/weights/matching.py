"""Match the tensors of a file with a network's: in whose names they are, which differ, and what they are as ours."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import NamedTuple, TypeGuard

import torch
from torch import Tensor, nn

from convbench.weights.folding import foldable
from convbench.weights.foreign.origin import Origin

FOREIGN = "convbench.weights.foreign"
NAMES = {  # layout -> our tensor -> what a library calls it; in torch's layout the names are ours
    "keras": {"weight": ("kernel", "depthwise_kernel"), "bias": ("bias",)},
    "slim": {"weight": ("weights", "depthwise_weights"), "bias": ("biases",)},
    "tflite": {
        "weight": ("weights_quant/FakeQuantWithMinMaxVars",),
        "bias": ("Conv2D_Fold_bias", "depthwise_Fold_bias", "Conv2D_bias"),
    },
}
NORMALISATION = {
    "weight": ("gamma",),
    "bias": ("beta",),
    "running_mean": ("moving_mean",),
    "running_var": ("moving_variance",),
}
KERNEL = re.compile(r"/\w*(kernel|weights)$")  # of a path that names the tensor itself
AUTOMATIC = re.compile(r"((?:depthwise_|separable_)?conv2d|batch_normalization|dense)(?:_(\d+))?/(\w+)")


@dataclass(frozen=True)
class Match:
    """How a file fits a network.

    origin: the library in whose names the tensors are
    folded: batch normalisation lies in the convolutions' kernels and biases
    found: how many tensors of the network the file has names for
    state: by our names, in our layout
    missing: our names of optional tensors that the file lacks
    differences: what does not fit, a clause for each tensor; empty where all does
    num_classes: outputs of the file's head, without the library's background; None where there is no head
    """

    origin: Origin
    folded: bool
    found: int
    state: dict[str, Tensor]
    missing: tuple[str, ...]
    differences: tuple[str, ...]
    num_classes: int | None


def match_tensors(net: nn.Module, tensors: Mapping[str, Tensor]) -> Match:
    """The match without differences, or that finds most of its names, by our own and by those of other libraries."""
    best: Match | None = None
    for origin in (_ours(net), *_origins(net)):
        for folded in (False, True) if foldable(net) else (False,):
            match = _match(net, tensors, origin, folded)
            if not match.differences:
                return match
            if best is None or match.found > best.found:
                best = match
    assert best is not None
    return best


def _ours(net: nn.Module) -> Origin:
    """Our own names; auxiliary heads may be missing."""
    paths = {path: path for path, _ in net.named_modules()}
    return Origin("convbench", lambda _: paths, optional=tuple(getattr(net, "auxiliary", ())))


def _origins(net: nn.Module) -> tuple[Origin, ...]:
    """The libraries whose names for the family of `net` are known; none for a network that is not convbench's."""
    home, _, family = type(net).__module__.rpartition(".")
    if home not in ("convbench.models", "convbench.detection") or find_spec(f"{FOREIGN}.{family}") is None:
        return ()
    origins: tuple[Origin, ...] = import_module(f"{FOREIGN}.{family}").ORIGINS
    return origins


class _Wanted(NamedTuple):
    """A tensor of ours: its name, itself and its layer; what a library may call it; its value where that keeps none."""

    name: str
    tensor: Tensor
    layer: nn.Module
    theirs: tuple[str, ...]
    default: float | None


def _match(net: nn.Module, tensors: Mapping[str, Tensor], origin: Origin, folded: bool) -> Match:
    if origin.layout == "keras":
        tensors = _renumbered(tensors)
    tensors = {name: tensor for name, tensor in tensors.items() if not any(part in name for part in origin.ignored)}
    no_gammas = origin.layout != "torch" and not any(name.endswith("/gamma") for name in tensors)
    head, num_classes = _head(net), None
    state, found, lacking, misfits = dict[str, Tensor](), dict[str, str](), dict[str, str](), list[str]()
    everything = list(_wanted(net, origin, folded))
    for wanted in everything:
        name = next((name for name in wanted.theirs if name in tensors), None)
        if name is not None:
            found[wanted.name], tensor = name, tensors[name]
            if wanted.name.startswith(f"{head}.") and tensor.ndim:
                num_classes = tensor.shape[0 if origin.layout == "torch" else -1] - origin.classes_offset
            converted = _as_ours(tensor, wanted, origin)
            if tensor.is_floating_point() != wanted.tensor.is_floating_point():
                misfits.append(f"{name} is {tensor.dtype}, expected {wanted.tensor.dtype}")
            elif converted is None:
                misfits.append(f"{name} is {tuple(tensor.shape)}, expected {_shape_there(wanted, origin)}")
            else:
                state[wanted.name] = converted
        elif wanted.default is not None and (no_gammas or not wanted.theirs):
            state[wanted.name] = torch.full(wanted.tensor.shape, wanted.default)
        elif not wanted.name.endswith("num_batches_tracked"):
            lacking[wanted.name] = wanted.theirs[0] if wanted.theirs else wanted.name
    optional = (f"{prefix}." for prefix in origin.optional)
    absent = tuple(prefix for prefix in optional if not any(name.startswith(prefix) for name in found))
    differences = (
        *(f"{name} is missing" for ours, name in sorted(lacking.items()) if not ours.startswith(absent)),
        *(f"{name} is unknown" for name in sorted(tensors.keys() - set(found.values()))),
        *sorted(misfits),
    )
    missing = tuple(sorted(wanted.name for wanted in everything if wanted.name.startswith(absent)))
    state = {name: tensor for name, tensor in state.items() if not name.startswith(absent)}
    return Match(origin, folded, len(found), state, missing, differences, num_classes)


def _wanted(net: nn.Module, origin: Origin, folded: bool) -> Iterator[_Wanted]:
    """Every tensor of `net`, as it is or with its batch normalisations folded."""
    layers, modules = origin.layers(net), dict(net.named_modules())
    pairs = foldable(net) if folded else {}
    gone = set(pairs.values())
    ours = {name: tensor for name, tensor in net.state_dict().items() if name.rpartition(".")[0] not in gone}
    ours |= {f"{path}.bias": ours[f"{path}.weight"][:, 0, 0, 0] for path in pairs}
    for name, tensor in ours.items():
        path, _, own = name.rpartition(".")
        theirs, default = _there(layers[path], own, modules[path], origin) if path in layers else ((), None)
        yield _Wanted(name, tensor, modules[path], theirs, default)


def _there(layer: str, own: str, module: nn.Module, origin: Origin) -> tuple[tuple[str, ...], float | None]:
    """What a library may call a tensor of a layer, and its value where the library does without."""
    if origin.layout == "torch":
        return (f"{layer}.{own}" if layer else own,), None
    if not isinstance(module, nn.BatchNorm2d):
        names = NAMES[origin.layout].get(own, ())
        named = own == "weight" and KERNEL.search(layer)
        return (layer,) if named else tuple(f"{KERNEL.sub('', layer)}/{name}" for name in names), None
    if layer.endswith("/biases"):  # a bias alone: normalisation by nothing
        neutral = {"weight": 1.0, "running_mean": 0.0, "running_var": 1.0 - (origin.bn_eps or module.eps)}
        return (layer,) if own == "bias" else (), neutral.get(own)
    return tuple(f"{layer}/{name}" for name in NORMALISATION.get(own, ())), 1.0 if own == "weight" else None


def _as_ours(tensor: Tensor, wanted: _Wanted, origin: Origin) -> Tensor | None:
    """`tensor` in our layout and without background classes; None where its shape does not fit."""
    shape, flattened = wanted.tensor.shape, origin.flattened.get(wanted.name.removesuffix(".weight"))
    if origin.layout == "tflite":
        tensor = _from_tflite(tensor, _is_depthwise(wanted.layer))
        order = origin.reordered.get(wanted.name.rpartition(".")[0])
        if order and len(tensor) % len(order) == 0:
            tensor = tensor.unflatten(0, (-1, len(order)))[:, list(order)].flatten(0, 1)
        return tensor if tensor.shape == shape else None
    if origin.layout != "torch" and _is_depthwise(wanted.layer):
        if tuple(tensor.shape) != _shape_there(wanted, origin):
            return None
        tensor = tensor.permute(2, 3, 0, 1).reshape(shape) if tensor.ndim == 4 else tensor
    elif origin.layout != "torch" and tensor.ndim == 4:
        tensor = tensor.permute(3, 2, 0, 1)
    elif origin.layout != "torch" and tensor.ndim == 2:
        side = math.isqrt(len(tensor) // flattened) if flattened else 0
        if flattened and len(tensor) == flattened * side**2:
            tensor = tensor.reshape(side, side, flattened, -1).permute(3, 2, 0, 1)
        else:
            tensor = tensor.T
    if origin.classes_offset and shape and tensor.shape[:1] == (shape[0] + origin.classes_offset,):
        tensor = tensor[origin.classes_offset :]
    if tensor.shape == shape:
        return tensor
    # A convolution that spans what it reads computes a linear layer.
    one_position = shape[2:] == (1, 1) if tensor.ndim == 2 else len(shape) == 2
    same_units = {tensor.ndim, len(shape)} == {2, 4} and tensor.shape[0] == shape[0] and tensor.numel() == shape.numel()
    return tensor.reshape(shape) if one_position and same_units else None


def _from_tflite(tensor: Tensor, is_depthwise: bool) -> Tensor:
    """A kernel (out, rows, columns, in), or of a depthwise convolution (1, rows, columns, out), as ours."""
    if tensor.ndim != 4:
        return tensor
    return tensor.permute(3, 0, 1, 2) if is_depthwise else tensor.permute(0, 3, 1, 2)


def _shape_there(wanted: _Wanted, origin: Origin) -> tuple[int, ...]:
    """The shape that the library gives to a tensor of ours."""
    shape = tuple(wanted.tensor.shape)
    if origin.layout == "torch" or len(shape) < 2:
        return shape
    if len(shape) == 2:
        return shape[::-1]
    out, each, rows, columns = shape
    if origin.layout == "tflite":
        return (1, rows, columns, out) if _is_depthwise(wanted.layer) else (out, rows, columns, each)
    if _is_depthwise(wanted.layer):
        return rows, columns, wanted.layer.groups, out // wanted.layer.groups
    return rows, columns, each, out


def _is_depthwise(layer: nn.Module) -> TypeGuard[nn.Conv2d]:
    return isinstance(layer, nn.Conv2d) and layer.groups == layer.in_channels


def _head(net: nn.Module) -> str:
    """The path of the last layer with a weight for each class."""
    auxiliary = tuple(f"{name}." for name in getattr(net, "auxiliary", ()))
    layers = [path for path, module in net.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    return next((path for path in reversed(layers) if not path.startswith(auxiliary)), "")


def _renumbered(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Keras counts its automatic names through a whole program: here each prefix counts from 0."""
    numbers = defaultdict[str, set[int]](set)
    for name in tensors:
        if found := AUTOMATIC.fullmatch(name):
            numbers[found[1]].add(int(found[2] or 0))
    ranks = {(prefix, number): rank for prefix, all_ in numbers.items() for rank, number in enumerate(sorted(all_))}

    def renumber(found: re.Match[str]) -> str:
        return f"{found[1]}_{ranks[found[1], int(found[2] or 0)]}/{found[3]}"

    return {AUTOMATIC.sub(renumber, name) if AUTOMATIC.fullmatch(name) else name: tensors[name] for name in tensors}

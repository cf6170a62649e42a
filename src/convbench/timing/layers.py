"""Where the time goes inside: seconds of each layer, by hooks in eager, by the engine's own profile in OpenVINO."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from convbench.modes import evaluation_mode
from convbench.timing.clock import median
from convbench.timing.conversion import to_openvino
from convbench.timing.engines import Engine
from convbench.timing.int8 import quantise
from convbench.timing.openvino import core, settings

PASSES = 7  # of which the medians are taken
WARM_UP = 2
OTHER = "(other)"
PRODUCTS = ("Convolution", "GroupConvolution", "MatMul")
ORIGIN = "originalLayersNames"  # kept by OpenVINO where it folds; other nodes have none, so that none takes its place


def time_layers(engine: Engine, net: nn.Module, images: Tensor, calibration: Tensor | None) -> dict[str, float]:
    """Seconds of each layer by its name in `net`, in the order of execution; empty where the engine cannot tell."""
    if engine.name == "eager":
        return time_modules(net, images)
    if engine.library == "openvino":
        return time_openvino_layers(net, images, calibration, precision=engine.precision)
    return {}


def time_modules(net: nn.Module, images: Tensor, *, clock: Callable[[], float] = time.perf_counter) -> dict[str, float]:
    """Seconds of each module without children, the medians of seven passes in eager fp32; `net` is left as it was.

    Modules are timed one by one, so what the network computes between them (additions, concatenations) is in none of
    them, and hooks add some microseconds to each. A module that runs twice in a pass has both times together.
    """
    names = {module: name or "(net)" for name, module in net.named_modules() if not any(module.children())}
    passes: list[dict[str, float]] = []
    started: dict[nn.Module, float] = {}

    def start(module: nn.Module, _: Any) -> None:
        started[module] = clock()

    def end(module: nn.Module, *_: Any) -> None:
        passes[-1][names[module]] += clock() - started[module]

    hooks = [hook for m in names for hook in (m.register_forward_pre_hook(start), m.register_forward_hook(end))]
    try:
        with evaluation_mode(net), torch.inference_mode():
            for _ in range(WARM_UP + PASSES):
                passes.append(defaultdict(float))
                net(images)
    finally:
        for hook in hooks:
            hook.remove()
    return _medians(passes[WARM_UP:])


def time_openvino_layers(
    net: nn.Module, images: Tensor, calibration: Tensor | None, *, precision: str
) -> dict[str, float]:
    """Seconds of each layer by OpenVINO's engine of `precision`, the medians of seven passes.

    OpenVINO fuses layers: the time of a normalisation, an addition or an activation is that of the convolution before
    it. What stems from no layer of `net`, such as reordering the input, is under "(other)".
    """
    n, channels, height, width = images.shape
    model = to_openvino(net, (n, channels, height, width))
    for node in model.get_ordered_ops():
        if node.get_type_name() in PRODUCTS:
            node.get_rt_info()[ORIGIN] = node.get_friendly_name()
    if precision == "int8" and calibration is not None:
        model = quantise(model, calibration)
    compiled = core().compile_model(model, "CPU", {**settings(precision), "PERF_COUNT": True})
    names = {name for name, _ in net.named_modules() if name}
    layers = {
        (name := node.get_friendly_name()): layer_of(f"{node.get_rt_info()[ORIGIN].astype(str)},{name}", names)
        for node in compiled.get_runtime_model().get_ordered_ops()
    }
    request = compiled.create_infer_request()
    passes = []
    for _ in range(WARM_UP + PASSES):
        request.infer([images.numpy()], share_inputs=True)
        took: dict[str, float] = defaultdict(float)
        for node in request.profiling_info:
            if node.real_time.total_seconds() > 0:
                took[layers.get(node.node_name, OTHER)] += node.real_time.total_seconds()
        passes.append(took)
    return _medians(passes[WARM_UP:])


def layer_of(origins: str, names: set[str]) -> str:
    """The first layer among those that an OpenVINO node stems from: "__module.stem.conv/aten::..." is "stem.conv".

    >>> layer_of("Multiply_7,__module.stem.conv/aten::_convolution/Convolution", {"stem", "stem.conv"})
    'stem.conv'
    """
    paths = (origin.split("/", 1)[0].removeprefix("__module.") for origin in origins.split(","))
    return next((path for path in paths if path in names), OTHER)


def _medians(passes: list[dict[str, float]]) -> dict[str, float]:
    return {name: median([one.get(name, 0.0) for one in passes]) for name in passes[0]}

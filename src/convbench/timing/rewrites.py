"""Rewrites of an OpenVINO graph: the same values by nodes for which the CPU has faster kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    import openvino


def rewrite(model: openvino.Model) -> None:
    """Apply every rewrite to `model`, in place; its spatial sizes must be fixed, its batch need not.

    Max pooling: torch's is a node that also returns indices and rounds up in a way of its own; both keep it from the
    plain kernel, which costs a reorder each time. What torch computes is a plain pooling with some padding at the far
    sides. Padding with minus infinity in front of it (asymmetric SAME) is that pooling's own padding, too.
    """
    from openvino.passes import ConstantFolding, Manager

    folding = Manager()
    folding.register_pass(ConstantFolding())  # of widths of padding, which the tracer leaves as graphs
    folding.run_passes(model)
    for node in model.get_ordered_ops():
        if node.get_type_name() == "MaxPool" and not node.output(1).get_target_inputs():
            _make_plain(node)
    model.validate_nodes_and_infer_types()


def local_response_normalisation() -> tuple[Any, Any]:
    """Extensions of the conversion from torch, for modules and nodes, by which it becomes OpenVINO's own node.

    Traced, it is a dozen nodes, the power among them the slowest of AlexNet: half of its time.
    """
    from openvino.frontend.pytorch import ConversionExtension, ModuleExtension

    def settings(layer: nn.LocalResponseNorm) -> list[Tensor]:  # attributes cross over to the graph as constants only
        return [torch.tensor(float(value)) for value in (layer.size, layer.alpha, layer.beta, layer.k)]

    return (
        ModuleExtension(
            nn.LocalResponseNorm,
            "convbench::local_response_norm",
            evaluate=lambda layer, x, *_: layer(x),
            convert=lambda layer, node, x: node(x, *settings(layer)),
            condition=lambda layer: layer.size % 2 == 1 and layer.k > 0,  # of even ones the kernel sums other channels
        ),
        ConversionExtension("convbench::local_response_norm", _normalise),
    )


def _normalise(context: Any) -> Any:
    from openvino import opset1

    size, alpha, beta, k = (float(np.ravel(context.get_values_from_const_input(index))[0]) for index in range(1, 5))
    across_channels = opset1.constant(np.array([1]))
    if k.is_integer():
        return opset1.lrn(context.get_input(0), across_channels, alpha, beta, k, int(size)).outputs()
    # The kernel takes k for a whole number; (k + a) ** -beta is k ** -beta (1 + a / k) ** -beta.
    normalised = opset1.lrn(context.get_input(0), across_channels, alpha / k, beta, 1.0, int(size))
    return opset1.multiply(normalised, opset1.constant(np.float32(k**-beta))).outputs()


def _make_plain(pooling: Any) -> None:
    from openvino import opset1

    settings = pooling.get_attributes()
    kernel, strides = settings["kernel"], settings["strides"]
    before, source = list(settings["pads_begin"]), pooling.input_value(0)
    if any(step != 1 for step in settings["dilations"]):
        return
    padding = source.get_node()
    if padding.get_type_name() == "Pad" and _pads_nothing_but_minus_infinity(padding):
        before = [a + int(b) for a, b in zip(before, _constant(padding, 1)[2:], strict=True)]
        source = padding.input_value(0)
    sizes = [source.partial_shape[axis].get_length() for axis in (2, 3)]
    wanted = [pooling.output(0).partial_shape[axis].get_length() for axis in (2, 3)]
    after = [
        max(0, (out - 1) * stride + cells - size - pad)
        for out, stride, cells, size, pad in zip(wanted, strides, kernel, sizes, before, strict=True)
    ]
    plain = opset1.max_pool(source, strides, before, after, kernel, "floor")
    plain.set_friendly_name(pooling.get_friendly_name())
    pooling.output(0).replace(plain.output(0))


def _pads_nothing_but_minus_infinity(padding: Any) -> bool:
    if padding.get_attributes()["pad_mode"] != "constant" or padding.get_input_size() < 4:
        return False
    begins, ends, value = (_constant(padding, index) for index in (1, 2, 3))
    if begins is None or ends is None or value is None:
        return False
    spatial_alone = not np.any(begins[:2]) and not np.any(ends[:2]) and min(begins.min(), ends.min()) >= 0
    return bool(spatial_alone and np.isneginf(value).all())


def _constant(node: Any, index: int) -> Any:
    """The value of a constant input, None where it is computed."""
    source = node.input_value(index).get_node()
    return source.data if source.get_type_name() == "Constant" else None

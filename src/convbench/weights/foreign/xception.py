"""Xception in Keras, in which its author published it, and as PyTorch ports name it.

The ports (timm's legacy_xception, Cadene's) took Keras' weights over with other batch normalisation and pooling: what
was trained with epsilon 0.001 and SAME padding they run with 0.00001 and symmetric padding.
"""

from __future__ import annotations

from functools import partial

from convbench.weights.foreign.origin import Origin, renamed

SHORTCUTS = ("block2", "block3", "block4", "block13")  # in the order in which Keras numbers their layers
PREPROCESSING = {"shorter": 333, "crop": 299, "low": -1.0, "high": 1.0}


def keras_name(ours: str) -> str:
    """
    >>> keras_name("block13.residual.sepconv2.depthwise"), keras_name("block13.shortcut.bn")
    ('block13_sepconv2/depthwise_kernel', 'batch_normalization_3')
    """
    match ours.split("."):
        case [block, "shortcut", "conv"]:
            return f"conv2d_{SHORTCUTS.index(block)}"
        case [block, "shortcut", "bn"]:
            return f"batch_normalization_{SHORTCUTS.index(block)}"
        case [block, *_, layer, "conv"]:
            return f"{block}_{layer}"
        case [block, *_, layer, "bn"]:
            return f"{block}_{layer}_bn"
        case [block, *_, layer, kind]:
            return f"{block}_{layer}/{kind}_kernel"
    return "predictions"


def timm_name(ours: str) -> str:
    """
    >>> timm_name("block13.residual.sepconv2.depthwise"), timm_name("block13.shortcut.bn")
    ('block12.rep.4.conv1', 'block12.skipbn')
    """
    kinds = {"depthwise": "conv1", "pointwise": "pointwise"}
    match ours.split("."):
        case ["block1", layer, kind]:
            return f"{kind}{number(layer)}"
        case ["block14", layer, "bn"]:
            return f"bn{number(layer) + 2}"
        case ["block14", layer, kind]:
            return f"conv{number(layer) + 2}.{kinds[kind]}"
        case [block, "shortcut", kind]:
            return f"block{number(block) - 1}.skip{'bn' if kind == 'bn' else ''}"
        case [block, "residual", layer, kind]:
            place = 3 * (number(layer) - 1) + (block != "block2")  # each is ReLU, convolution, BN; block2 lacks a ReLU
            theirs = f"{place + 1}" if kind == "bn" else f"{place}.{kinds[kind]}"
            return f"block{number(block) - 1}.rep.{theirs}"
    return ours


def cadene_name(ours: str) -> str:
    return "last_linear" if ours == "fc" else timm_name(ours)


def number(layer: str) -> int:
    return int("".join(filter(str.isdigit, layer)))


ORIGINS = (
    Origin(
        "Keras",
        partial(renamed, keras_name),
        layout="keras",
        bn_eps=1e-3,
        same_padding=True,
        preprocessing=PREPROCESSING,
    ),
    *(
        Origin(
            library,
            partial(renamed, rename),
            bn_eps=1e-5,
            same_padding=False,
            preprocessing=PREPROCESSING,
            licence="Apache-2.0",
        )
        for library, rename in (("timm", timm_name), ("pretrained-models.pytorch", cadene_name))
    ),
)

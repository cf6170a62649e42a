"""Inference with engine="auto" beside torchvision's and timm's eager fp32, the same networks with the same weights.

    python benchmarks/engines.py [--networks vgg16 ...] [--batches 1 8] [--precisions bf16 int8] [--seconds 2]

Prints one JSON line a network and batch size, and one of geometric means. Contestants run in turn, in ten rounds: a
ratio is the median over the rounds of the peer's time over ours in the same round. The network's own multiply-adds are
compared with this machine's limit in bf16, the fastest of some matrix products and 3x3 convolutions: `limit` takes what
these sustain, their p50 in the same rounds as the network's, `limit_of_best` their fastest single call.
Weights are the peer's initial ones. `refused` are engines that the choice left out, with the reason.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any

import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

from convbench.counting import trace
from convbench.data import Preprocessing
from convbench.data.samples import sample_photographs
from convbench.models import build, published_input
from convbench.timing.choice import Choice, choose
from convbench.timing.clock import time_side_by_side
from convbench.timing.engines import ENGINES
from convbench.timing.fidelity import compare_outputs
from convbench.timing.load import watch_load
from convbench.timing.machine import candidates, describe_machine, measure_limits
from convbench.weights import load_weights

PEERS: dict[str, tuple[str, str]] = {  # ours -> library and its name for the same network
    "alexnet_owt": ("torchvision", "alexnet"),
    "vgg16": ("torchvision", "vgg16"),
    "googlenet_bn": ("torchvision", "googlenet"),
    "inception_v3": ("torchvision", "inception_v3"),
    "resnet50_v1_5": ("torchvision", "resnet50"),
    "resnext50_32x4d": ("torchvision", "resnext50_32x4d"),
    "xception": ("timm", "legacy_xception"),
    "mobilenet_v1": ("timm", "mobilenetv1_100"),
}
CHECKED = 32  # photographs on which answers are compared, and int8 is calibrated


def peer_of(name: str) -> nn.Module:
    """The library's network, as its constructor initialises it."""
    library, theirs = PEERS[name]
    if library == "timm":
        return timm.create_model(theirs, pretrained=False).eval()
    arguments = {"init_weights": True} if theirs in {"inception_v3", "googlenet"} else {}
    return torchvision.models.get_model(theirs, weights=None, **arguments).eval()


def photographs(name: str, n: int) -> Tensor:
    """Prepared as ImageNet's are."""
    channels, side, _ = published_input(name)
    scaled = Preprocessing(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    return scaled(sample_photographs(n, channels, side))


def ours_with_weights_of(peer: nn.Module, name: str) -> nn.Module:
    """Our network, holding the peer's weights by way of its own file."""
    net = build(name)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "peer.safetensors")
        save_file({key: tensor.contiguous() for key, tensor in peer.state_dict().items()}, path)
        load_weights(net, path)
    return net.eval()


def compare(name: str, batch: int, precisions: list[str], seconds: float) -> dict[str, Any]:
    """One network and batch size; the peer's answers must be ours before anything is timed."""
    torch.manual_seed(0)
    peer = peer_of(name)
    net, checked = ours_with_weights_of(peer, name), photographs(name, CHECKED)
    images = checked[:batch]
    with torch.inference_mode():
        reference = peer(images)
        assert compare_outputs(reference, net(images), "fp32").passed, f"{name}: other logits than {PEERS[name]}"
        chosen = {
            precision: choose(net, images, checked=checked, precision=precision)
            for precision in precisions
            if precision != "int8"
        }
        if "int8" in precisions:  # not chosen: whether it may be is a question to trained weights (docs/measuring.md)
            chosen["int8"] = Choice("openvino-int8", ENGINES["openvino-int8"].prepare(net, images, checked), batch)
        works = {"peer": partial(peer, images), **{key: partial(one, images) for key, one in chosen.items()}}
        best = measure_limits().matrix_bf16
        products = {f"product {number}": one for number, one in enumerate(candidates("bf16"))} if best else {}
        with watch_load() as load:
            timed = time_side_by_side(works | {key: call for key, (_, call) in products.items()}, seconds=seconds)
    done = dict.fromkeys(works, trace(net, published_input(name)).flops * batch)
    done |= {key: operations for key, (operations, _) in products.items()}
    reached = {key: operations / timed.timings[key].p50 / 1e6 for key, operations in done.items()}
    sustained = max((reached[key] for key in products), default=None)
    return {
        "benchmark": "engines",
        "network": name,
        "peer": " ".join(PEERS[name]),
        "batch": batch,
        "engine": {precision: one.engine for precision, one in chosen.items()},
        "refused": {precision: dict(one.refused) for precision, one in chosen.items() if one.refused},
        "p50_ms": {key: round(timed.timings[key].p50, 2) for key in works},
        "ratio": {key: round(timed.ratios[key].value, 2) for key in chosen},
        "interval": {key: timed.ratios[key].interval for key in chosen},
        "gflop_per_s": {key: round(reached[key]) for key in works},
        "matrix_bf16_gflop_per_s": {"sustained": sustained, "best": best},
        "limit": round(reached["bf16"] / sustained, 3) if "bf16" in reached and sustained else None,
        "limit_of_best": round(reached["bf16"] / best, 3) if "bf16" in reached and best else None,
        "other_load_percent": load.other,
        "threads": torch.get_num_threads(),
        "machine": describe_machine(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=list(PEERS), choices=list(PEERS))
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--precisions", nargs="+", default=["bf16", "int8"], choices=["fp32", "bf16", "int8"])
    parser.add_argument("--seconds", type=float, default=2.0, help="for each contestant")
    wanted = parser.parse_args()
    ratios: dict[tuple[str, int], list[float]] = defaultdict(list)
    for name in wanted.networks:
        for batch in wanted.batches:
            row = compare(name, batch, wanted.precisions, wanted.seconds)
            print(json.dumps(row), flush=True)
            for precision, ratio in row["ratio"].items():
                ratios[precision, batch].append(ratio)
    means = {
        f"{precision}, batch {batch}": math.prod(all_) ** (1 / len(all_)) for (precision, batch), all_ in ratios.items()
    }
    least = {f"{precision}, batch {batch}": min(all_) for (precision, batch), all_ in ratios.items()}
    print(json.dumps({"benchmark": "engines", "geometric_mean": means, "least": least}))


if __name__ == "__main__":
    main()

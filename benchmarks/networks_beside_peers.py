"""Eager forward and training step of our networks beside torchvision's and timm's of the same architecture.

    python benchmarks/networks_beside_peers.py [--networks vgg16 ...] [--repeats 15] [--batch 8] [--threads 2]

Prints one JSON line a network. Ours holds the first peer's weights, loaded from its own file through `load_weights`,
and their logits must agree; contestants run in turn, so that a slow minute of the machine hits all of them.
The peers run as they are built, and once more after a user has put them into channels last, which ours are from the
start. `ratio` is the median over the repeats of the peer's time over ours in that repeat: above 1, ours is faster.
A training step is forward, cross-entropy (auxiliary heads included), backward and SGD with momentum.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from convbench.bench.store import describe_versions
from convbench.models import build, published_input
from convbench.timing.machine import describe_machine
from convbench.weights import load_weights

PEERS: dict[str, tuple[str | None, str | None]] = {  # ours -> torchvision's name, timm's name
    "vgg16": ("vgg16", "vgg16"),
    "resnet50_v1_5": ("resnet50", "resnet50"),
    "resnext50_32x4d": ("resnext50_32x4d", "resnext50_32x4d"),
    "inception_v3": ("inception_v3", None),  # timm's has no auxiliary head to train
    "mobilenet_v1": (None, "mobilenetv1_100"),
}


def contestants(name: str) -> dict[str, nn.Module]:
    """Ours and the peers', ours with the weights of the first peer."""
    theirs, timms = PEERS[name]
    peers: dict[str, nn.Module] = {}
    if theirs is not None:
        arguments = {"init_weights": False} if theirs == "inception_v3" else {}
        peers["torchvision"] = torchvision.models.get_model(theirs, weights=None, **arguments)
    if timms is not None:
        peers["timm"] = timm.create_model(timms, pretrained=False)
    ours = build(name)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "peer.safetensors")
        state = next(iter(peers.values())).state_dict()
        save_file({key: tensor.contiguous() for key, tensor in state.items()}, path)
        load_weights(ours, path)
    layouts = {f"{key}, channels last": copy.deepcopy(net) for key, net in peers.items()}
    layouts = {key: net.to(memory_format=torch.channels_last) for key, net in layouts.items()}
    return {"convbench": ours, **peers, **layouts}


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def forward(net: nn.Module, images: Tensor) -> Tensor:
    with torch.inference_mode():
        return net(images)


def training_step(net: nn.Module, optimiser: torch.optim.Optimizer, images: Tensor, labels: Tensor) -> None:
    optimiser.zero_grad(set_to_none=True)
    output = net(images)
    parts = output if isinstance(output, tuple) else (output,)
    logits = [part for part in parts if isinstance(part, Tensor)]
    logits += [one for part in parts if isinstance(part, tuple) for one in part]
    torch.stack([F.cross_entropy(one, labels) for one in logits]).sum().backward()
    optimiser.step()


def compare(works: dict[str, Callable[[], object]], repeats: int) -> dict[str, object]:
    """Medians in seconds, and the median ratio of each peer's time to ours in the same repeat."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for repeat in range(repeats + 1):
        order = list(works) if repeat % 2 else list(reversed(works))
        for name in order:
            times[name].append(seconds(works[name]))
    kept = {name: values[1:] for name, values in times.items()}  # the first warms up
    ratios = {
        name: statistics.median(peer / ours for peer, ours in zip(values, kept["convbench"], strict=True))
        for name, values in kept.items()
        if name != "convbench"
    }
    return {
        "median_ms": {name: round(1000 * statistics.median(values), 1) for name, values in kept.items()},
        "ratio": {name: round(value, 3) for name, value in ratios.items()},
    }


def measure(name: str, repeats: int, batch: int) -> dict[str, object]:
    """Both comparisons of one network; nothing is compared unless the contestants are the same function."""
    torch.manual_seed(0)
    nets = contestants(name)
    images, labels = torch.randn(batch, *published_input(name)), torch.randint(1000, (batch,))
    ours, theirs, *_ = (forward(net.eval(), images) for net in nets.values())
    difference = float((ours - theirs).abs().max() / theirs.abs().max())
    assert difference <= 1e-4, f"{name}: logits differ by {difference:.2g}"
    forwards = {key: partial(forward, net, images) for key, net in nets.items()}
    inference = compare(forwards, repeats)
    steps = {
        key: partial(training_step, net, torch.optim.SGD(net.train().parameters(), 1e-4, momentum=0.9), images, labels)
        for key, net in nets.items()
    }
    return {
        "benchmark": "networks_beside_peers",
        "network": name,
        "batch": batch,
        "image": published_input(name),
        "relative_difference": difference,
        "forward": inference,
        "training_step": compare(steps, repeats),
        "repeats": repeats,
        "threads": torch.get_num_threads(),
        "machine": describe_machine(),
        "versions": describe_versions(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=list(PEERS), choices=list(PEERS))
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    wanted = parser.parse_args()
    torch.set_num_threads(wanted.threads)
    for name in wanted.networks:
        print(json.dumps(measure(name, wanted.repeats, wanted.batch)), flush=True)


if __name__ == "__main__":
    main()

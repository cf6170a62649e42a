"""The memory that is predicted beside what is measured: six networks, inference and training, two batch sizes.

    python benchmarks/memory.py [--networks resnet50 ...] [--batches 2 8] [--threads 2]

Prints one JSON line a network. Each measurement is a fresh process, which does the work once (kernels are compiled,
code is read in), frees everything, notes its resident memory, builds the network anew and does the work again: the
peak of resident memory (VmHWM) above that is the figure, weights included. glibc keeps freed blocks of up to 32 MiB,
scattered as they are; what a process holds is what its tensors take only where it is told to give them back
(MALLOC_MMAP_THRESHOLD_). `measured` is with it, `measured_as_is` without. `allocated` is the peak of PyTorch's own
allocator, by torch.profiler.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from itertools import accumulate
from typing import Any

import torch
from torch._C._profiler import _EventType
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile
from torch.utils._pytree import tree_leaves

from convbench.bench.store import describe_versions
from convbench.counting.memory import predict_memory
from convbench.models import build, published_input
from convbench.timing.machine import describe_machine
from convbench.timing.memory import peak_above, settle

NETWORKS = ("alexnet", "vgg16", "googlenet", "resnet50", "inception_v3", "mobilenet_v1")
GIVE_BACK = {"MALLOC_MMAP_THRESHOLD_": "65536"}


def prepare(name: str, batch: int, training: bool) -> tuple[Callable[[], None], int]:
    """The work, inference twice or two steps of SGD with momentum, and the bytes of its network and images."""
    net, images = build(name).train(training), torch.randn(batch, *published_input(name))
    labels = torch.zeros(batch, dtype=torch.int64)
    optimiser = torch.optim.SGD(net.parameters(), 1e-4, momentum=0.9)

    def infer() -> None:
        with torch.inference_mode():
            net(images)

    def step() -> None:
        optimiser.zero_grad()
        outputs = [one for one in tree_leaves(net(images)) if isinstance(one, torch.Tensor)]
        torch.stack([F.cross_entropy(one, labels) for one in outputs]).sum().backward()
        optimiser.step()

    def work() -> None:
        for _ in range(2):
            step() if training else infer()

    return work, sum(one.nbytes for one in (*net.parameters(), *net.buffers(), images))


def measure_here(name: str, batch: int, training: bool) -> int:
    """Peak of this process's resident memory during the work, above what it had before the network was built."""
    prepare(name, batch, training)[0]()
    before = settle()
    work, _ = prepare(name, batch, training)
    settle()  # drawing the weights takes more than they do
    work()
    peak = peak_above(before)
    assert peak is not None, "needs /proc/self/clear_refs, which Linux has"
    return peak


def allocate_here(name: str, batch: int, training: bool) -> int:
    """Peak of what PyTorch's allocator had given out during the work, network and images included."""
    work, standing = prepare(name, batch, training)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
        work()
    assert watched.profiler is not None
    nodes, allocations = list(watched.profiler.kineto_results.experimental_event_tree()), []
    while nodes:
        node = nodes.pop()
        nodes += node.children
        if node.tag == _EventType.Allocation:
            allocations.append((node.start_time_ns, node.extra_fields.alloc_size))
    allocations.sort(key=lambda one: one[0])
    return standing + max(accumulate(size for _, size in allocations))


def in_a_child(what: str, name: str, batch: int, training: bool, threads: int, settings: dict[str, str]) -> int:
    command = [sys.executable, __file__, "--here", what, name, str(batch), str(int(training)), str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | settings, check=True)
    return int(done.stdout.splitlines()[-1])


def compare(name: str, batch: int, training: bool, threads: int) -> dict[str, Any]:
    """Predicted and measured bytes of one case."""
    with torch.device("meta"):
        net = build(name)
    predicted = predict_memory(net, published_input(name), batch, training=training)
    case = (name, batch, training, threads)
    allocated = in_a_child("allocate", *case, {})
    measured, as_is = in_a_child("measure", *case, GIVE_BACK), in_a_child("measure", *case, {})
    return {
        "batch": batch,
        "training": training,
        "predicted": predicted.peak,
        "at_peak": predicted.at_peak,
        "allocated": allocated,
        "measured": measured,
        "measured_as_is": as_is,
        "predicted_over_measured": round(predicted.peak / measured, 4),
        "as_is_over_predicted": round(as_is / predicted.peak, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS))
    parser.add_argument("--batches", nargs="+", type=int, default=[2, 8])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--here", nargs=5, help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.here:
        what, name, batch, training, threads = wanted.here
        torch.set_num_threads(int(threads))
        take = allocate_here if what == "allocate" else measure_here
        print(take(name, int(batch), training == "1"))
        return
    torch.set_num_threads(wanted.threads)
    for name in wanted.networks:
        cases = [
            compare(name, batch, training, wanted.threads) for batch in wanted.batches for training in (False, True)
        ]
        result = {"benchmark": "memory", "network": name, "cases": cases, "threads": wanted.threads}
        result |= {"machine": describe_machine(), "versions": describe_versions()}
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()

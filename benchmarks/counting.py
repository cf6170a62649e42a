"""How long a whole cost table takes, beside what torchinfo needs for its own.

    python benchmarks/counting.py [--repeats 15]

Prints one JSON line. For each network: the trace alone, of a network already built (on `meta` and in memory), and
building on `meta` with it; its limit is 50 ms for networks of about 100 layers. For vgg16 beside torchinfo: it builds
the network in memory and runs an image through it, as its users do; `ratio` is the median over the repeats of its time
over ours in that repeat, ours built on `meta` with it. The counts of both must agree.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch
import torchinfo
import torchvision
from torch import nn

from convbench.bench.cost import open_on_meta
from convbench.bench.store import describe_versions
from convbench.counting import Cost, trace
from convbench.timing.machine import describe_machine

NETWORKS = ("vgg16", "googlenet", "inception_v3", "resnet50", "resnet101", "resnet110", "mobilenet_v1")
CALLABLES = ("torchvision.models:densenet121", "torchvision.models:resnet101")


def milliseconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - started)


def of_built(name: str, repeats: int) -> dict[str, object]:
    """Medians of the trace alone and with the building; the first repeat warms up."""
    opened = open_on_meta(name)
    alone = [milliseconds(lambda: whole_table(opened.net, opened.input_shape)) for _ in range(repeats + 1)]
    built = [milliseconds(lambda: built_and_traced(name)) for _ in range(repeats + 1)]
    rows = len(trace(opened.net, opened.input_shape).rows)
    return {
        "rows": rows,
        "trace_ms": round(statistics.median(alone[1:]), 1),
        "build_and_trace_ms": round(statistics.median(built[1:]), 1),
    }


def whole_table(net: nn.Module, input_shape: tuple[int, ...]) -> dict[str, object]:
    """Every row with every column."""
    return trace(net, input_shape).to_dict()


def built_and_traced(name: str) -> Cost:
    opened = open_on_meta(name)
    return trace(opened.net, opened.input_shape)


def by_torchinfo() -> torchinfo.ModelStatistics:
    return torchinfo.summary(torchvision.models.vgg16(weights=None), (1, 3, 224, 224), verbose=0)


def beside_torchinfo(repeats: int) -> dict[str, object]:
    ours, theirs = built_and_traced("vgg16"), by_torchinfo()
    assert ours.params == theirs.total_params, (ours.params, theirs.total_params)
    pairs = [
        (milliseconds(lambda: built_and_traced("vgg16").to_dict()), milliseconds(by_torchinfo)) for _ in range(repeats)
    ]
    return {
        "network": "vgg16",
        "ours_ms": round(statistics.median(mine for mine, _ in pairs), 1),
        "torchinfo_ms": round(statistics.median(other for _, other in pairs), 1),
        "ratio": round(statistics.median(other / mine for mine, other in pairs), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    repeats = parser.parse_args().repeats
    torch.manual_seed(0)
    print(
        json.dumps(
            {
                "benchmark": "counting",
                "tables": {name: of_built(name, repeats) for name in (*NETWORKS, *CALLABLES)},
                "torchinfo": beside_torchinfo(min(repeats, 5)),
                "threads": torch.get_num_threads(),
                "machine": describe_machine(),
                "versions": describe_versions(),
            }
        )
    )


if __name__ == "__main__":
    main()

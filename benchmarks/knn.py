"""Exact nearest neighbours of MNIST's 10,000 test images among its 60,000 training images, beside
scikit-learn.

    python benchmarks/knn.py [--repeats 5] [--queries 10000] [--threads 2] [--data-dir DIR]

Prints one JSON line. Each repeat runs all contestants once, in turn, so that a slow minute of the machine
hits all of them; a time is that of the search alone, stored vectors being indexed before (`index_s`).
scikit-learn runs on float32 and on float64 pixels 0 .. 255, whose squared distances it too computes without
rounding, and the faster one counts. `same_answers`: equal distances everywhere, and equal neighbours
wherever the k + 1 nearest distances of an image differ; between equal distances scikit-learn's choice is
unspecified, ours is the one stored first.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import sklearn
import torch
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

from convbench.data import open_dataset
from convbench.rivals.search import ExactSearch

K = 3


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--data-dir", type=Path)
    wanted = parser.parse_args()
    torch.set_num_threads(wanted.threads)
    stored = open_dataset("mnist", "train", data_dir=wanted.data_dir).images.flatten(1)
    queries = open_dataset("mnist", "test", data_dir=wanted.data_dir).images.flatten(1)[: wanted.queries]

    pixels = queries.float() / 255
    start = time.perf_counter()
    search = ExactSearch(stored.float() / 255)
    search(pixels[:1], K)  # the index is made at first use
    index_s = time.perf_counter() - start
    peers = {
        f"sklearn_{name}": (
            NearestNeighbors(n_neighbors=K, algorithm="brute").fit(stored.numpy().astype(kind)),
            queries.numpy().astype(kind),
        )
        for name, kind in {"float32": np.float32, "float64": np.float64}.items()
    }
    contestants: dict[str, Callable[[], object]] = {"convbench": lambda: search(pixels, K)}
    for name, (peer, numbers) in peers.items():
        contestants[name] = lambda peer=peer, numbers=numbers: peer.kneighbors(numbers)
    with threadpool_limits(wanted.threads):
        times = {name: [] for name in contestants}
        for _ in range(wanted.repeats):
            for name, work in contestants.items():
                times[name].append(seconds(work))
        peer, numbers = peers["sklearn_float64"]
        distances, indices = peer.kneighbors(numbers, K + 1)

    squared, found = search(pixels, K + 1)
    whole = np.rint(distances**2)
    decided = (np.diff(whole, axis=1) > 0).all(1)
    same = np.array_equal(whole, np.rint(squared.numpy() * 255**2))
    same &= np.array_equal(indices[decided, :K], found.numpy()[decided, :K])
    medians = {name: statistics.median(values) for name, values in times.items()}
    fastest = min(medians[name] for name in peers)
    result = {
        "benchmark": "knn",
        "stored": len(stored),
        "queries": len(queries),
        "dimensions": stored.shape[1],
        "k": K,
        "repeats": wanted.repeats,
        "median_s": {name: round(value, 3) for name, value in medians.items()},
        "all_s": {name: [round(value, 3) for value in values] for name, values in times.items()},
        "index_s": round(index_s, 3),
        "ratio": round(fastest / medians["convbench"], 2),
        "ratio_with_index": round(fastest / (medians["convbench"] + index_s), 2),
        "same_answers": bool(same),
        "images_with_equal_distances": int((~decided).sum()),
        "threads": wanted.threads,
        "machine": {"processor": torch.cpu.get_capabilities().get("cpu_name") or platform.processor()},
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "scikit-learn": sklearn.__version__,
        },
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()

"""Photographs to random windows of 224 x 224 pixels, uint8, on one core: ours, torchvision's fast path, and Pillow.

    OMP_NUM_THREADS=1 taskset -c 1 python benchmarks/loader.py FOLDER [--count 64] [--rounds 15] [--quality 92]

FOLDER holds photographs, at any depth. The first `count` in which 4:3 fits are cut and resized to 500 x 375, ImageNet's
most common size, and stored as JPEG of `quality`, colours at half the resolution; with --as-they-are, JPEG files are
taken as they lie there. All are in memory before anything is timed.

A window has 0.08 to 1 of the pixels and sides within 3/4 to 4/3, drawn by each contestant's own means. Every result is
copied into a batch: ours has the channels last, as the pixels come out; `convbench_planes` has them first, as
torchvision's and Pillow's batches do. torchvision is handed tensors of bytes, which a loader would first have to make.

Prints one JSON line. In a round every contestant does all photographs, in blocks of eight by turns, another one first
each time. Seconds are of processor time, so that other processes on the core do not count; a ratio is the other's over
ours in the same round: above 1, ours is faster. `interval` is the 95 % one of the median.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import time
from collections import deque
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import torch
from PIL import Image, ImageOps
from torchvision.io import ImageReadMode, decode_jpeg
from torchvision.transforms import v2

from convbench.bench.store import describe_versions
from convbench.data.decoding import decode_window
from convbench.data.folder import image_files
from convbench.data.photographs import opened
from convbench.data.views import View
from convbench.timing.clock import median_interval
from convbench.timing.machine import describe_machine

SIZE, PHOTOGRAPH, BLOCK = 224, (500, 375), 8


def read_contents(folder: Path, count: int, quality: int, as_they_are: bool) -> list[bytes]:
    """JPEG files' contents."""
    contents = list[bytes]()
    for name in image_files(folder, "."):
        if len(contents) == count:
            break
        with opened(folder / name) as image:
            if as_they_are and image.format == "JPEG":
                contents.append((folder / name).read_bytes())
            elif not as_they_are and image.width >= PHOTOGRAPH[0] and image.height >= PHOTOGRAPH[1]:
                stored = io.BytesIO()
                fitted = ImageOps.fit(image.convert("RGB"), PHOTOGRAPH, Image.Resampling.LANCZOS)
                fitted.save(stored, "JPEG", quality=quality, subsampling="4:2:0")
                contents.append(stored.getvalue())
    return contents


def contestants(contents: list[bytes]) -> dict[str, Callable[[int], torch.Tensor]]:
    """What each does with photograph i."""
    view, generator = View(crop="area", size=SIZE), torch.Generator().manual_seed(0)
    cut = v2.RandomResizedCrop(SIZE, antialias=True)
    tensors = [torch.frombuffer(bytearray(content), dtype=torch.uint8) for content in contents]
    planes = torch.empty(BLOCK, 3, SIZE, SIZE, dtype=torch.uint8)
    channels_last = torch.empty_like(planes, memory_format=torch.channels_last)

    def ours(i: int) -> torch.Tensor:
        return decode_window(contents[i], lambda height, width: view.window(height, width, generator), SIZE)

    def torchvision(i: int) -> torch.Tensor:
        return cut(decode_jpeg(tensors[i], ImageReadMode.RGB))

    def pillow(i: int) -> torch.Tensor:
        return v2.functional.pil_to_tensor(cut(Image.open(io.BytesIO(contents[i])).convert("RGB")))

    def collated(make: Callable[[int], torch.Tensor], batch: torch.Tensor) -> Callable[[int], torch.Tensor]:
        return lambda i: batch[i % BLOCK].copy_(make(i))

    return {
        "convbench": collated(ours, channels_last),
        "convbench_planes": collated(ours, planes),
        "torchvision": collated(torchvision, planes),
        "pillow": collated(pillow, planes),
    }


def rounded(interval: tuple[float, float] | None) -> list[float] | None:
    return interval and [round(end, 3) for end in interval]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--quality", type=int, default=92)
    parser.add_argument("--as-they-are", action="store_true")
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    contents = read_contents(wanted.folder, wanted.count, wanted.quality, wanted.as_they_are)
    if not contents:
        parser.error(
            f"{wanted.folder}: expected photographs of at least {PHOTOGRAPH} pixels, or JPEG files as they are"
        )
    work = contestants(contents)
    seconds: dict[str, list[float]] = {name: [] for name in work}
    order = deque(work)
    for _ in range(wanted.rounds + 1):  # the first warms up
        spent = dict.fromkeys(work, 0.0)
        for first in range(0, len(contents), BLOCK):
            order.rotate()  # who comes first finds the files' bytes in no cache
            for name in order:
                do, started = work[name], time.process_time()
                for i in range(first, min(first + BLOCK, len(contents))):
                    do(i)
                spent[name] += time.process_time() - started
        for name, one in spent.items():
            seconds[name].append(one)
    seconds = {name: values[1:] for name, values in seconds.items()}
    ratios = {
        name: [other / mine for mine, other in zip(seconds["convbench"], values, strict=True)]
        for name, values in seconds.items()
        if name != "convbench"
    }
    result = {
        "benchmark": "loader",
        "photographs": len(contents),
        "mean_kib": round(statistics.mean(map(len, contents)) / 1024, 1),
        "stored": "as they are" if wanted.as_they_are else f"{PHOTOGRAPH}, quality {wanted.quality}, 4:2:0",
        "rounds": wanted.rounds,
        "images_per_s": {name: round(len(contents) / statistics.median(values), 1) for name, values in seconds.items()},
        "ratio": {name: round(statistics.median(values), 3) for name, values in ratios.items()},
        "interval": {name: rounded(median_interval(values)) for name, values in ratios.items()},
        "threads": 1,
        "machine": describe_machine(),
        "versions": describe_versions() | {name: version(name) for name in ("torchvision", "pillow", "simplejpeg")},
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()

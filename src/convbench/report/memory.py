"""What the memory answers look like on the terminal: the parts of the peak, and the largest batch that fits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from convbench.counting.memory import Memory

PARTS = {
    "weights": "parameters and buffers",
    "inputs": "the batch itself",
    "gradients": "of the parameters, those there are by then",
    "optimiser_state": "of the optimiser",
    "activations": "kept for the backward pass, or on their way",
    "workspace": "copies that the kernel at work makes",
}
BESIDE = (
    "Beside it stand Python and PyTorch themselves, and freed blocks that the C library keeps: with glibc a few\n"
    "percent to two thirds more, most for small tensors, unless MALLOC_MMAP_THRESHOLD_=65536 is set in the environment."
)


def print_memory(memory: Memory) -> None:
    """The peak, where it stands, and what stands in memory then, a line a part."""
    work = "inference" if memory.optimiser is None else f"training with {memory.optimiser}"
    print(f"{memory.network}, {work}, {_batch(memory)}: {size(memory.peak)} at most")
    print(f"reached in {_place(memory)}\n")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("part")
    table.add_column("size", justify="right")
    table.add_column("share", justify="right")
    table.add_column("")
    for part, what in PARTS.items():
        if bytes_ := getattr(memory, part):
            if memory.optimiser is None and part == "activations":
                what = "results on their way"
            table.add_row(part.replace("_", " "), size(bytes_), f"{100 * bytes_ / memory.peak:.1f} %", what)
    Console().print(table)
    print(f"\n{BESIDE}")


def print_fits(limit_bytes: int, batch_size: int, memory: Memory) -> None:
    """The answer to --fits.

    Args:
        batch_size: the largest that fits, 0 for none
        memory: of that batch, or where there is none of one image
    """
    work = "inference" if memory.optimiser is None else f"training with {memory.optimiser}"
    if batch_size:
        images = "1 image" if batch_size == 1 else f"{batch_size:,} images"
        print(f"{memory.network}, {work}: at most {images} at a time fit in {size(limit_bytes)}\n")
    else:
        print(f"{memory.network}, {work}: not even one image fits in {size(limit_bytes)}\n")
    print_memory(memory)


def size(bytes_: int) -> str:
    """
    >>> size(1_000), size(131_900_000), size(8 * 2**30)
    ('1.0 KiB', '125.8 MiB', '8.00 GiB')
    """
    if bytes_ < 2**20:
        return f"{bytes_ / 2**10:,.1f} KiB"
    return f"{bytes_ / 2**20:,.1f} MiB" if bytes_ < 2**30 else f"{bytes_ / 2**30:,.2f} GiB"


def _batch(memory: Memory) -> str:
    shape = "x".join(map(str, memory.input_shape))
    return f"one {shape} image" if memory.batch_size == 1 else f"{memory.batch_size:,} {shape} images at a time"


def _place(memory: Memory) -> str:
    if memory.phase == "optimiser step":
        return "the optimiser's step"
    layer = f"layer {memory.at_peak}" if memory.at_peak not in ("", "(net)") else "the network's own code"
    return f"the {memory.phase} pass of {layer}"

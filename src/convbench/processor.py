"""What this processor can do."""

from __future__ import annotations

from pathlib import Path

BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}  # of x86 and Arm processors with bf16 products
INT8_FLAGS = {"avx512_vnni", "avx_vnni", "amx_int8", "asimddp"}  # of those that add products of int8 in 32 bits


def has_bf16_products() -> bool:
    """Whether this processor multiplies bf16 itself: imitated, it is slower than fp32."""
    return bool(processor_flags() & BF16_FLAGS)


def has_int8_products() -> bool:
    """Whether this processor adds up products of int8 in 32 bits: in 16, as older ones do, they overflow."""
    return bool(processor_flags() & INT8_FLAGS)


def processor_flags() -> set[str]:
    """The kernel's words for what the processor has; none where it does not say."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    named = (line.partition(":")[2] for line in lines if line.startswith(("flags", "Features")))
    return set(next(named, "").split())

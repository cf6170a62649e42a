"""The machine: what it is, and the most that it can do."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import openvino

SECONDS = 0.25  # for each candidate
LIBRARIES = ("torch", "openvino", "onnxruntime", "nncf")  # that engines are made of
PRECISIONS = ("fp32", "bf16", "int8")
LARGE, SMALL = 2**28, (2**19, 2**21, 2**23)  # bytes copied: beyond all caches, and within them


@dataclass(frozen=True)
class Limits:
    """The most that was seen here, each the best of many repeats.

    matrix_fp32, matrix_bf16, matrix_int8: operations of matrix products and convolutions, in GFLOP/s (a multiply-add
        is two); None where no library here computes in that precision
    copy_gib_per_s: to and from memory, what is read and what is written both counted
    cache_gib_per_s: the same where it stays in the caches
    """

    matrix_fp32: float | None
    matrix_bf16: float | None
    matrix_int8: float | None
    copy_gib_per_s: float
    cache_gib_per_s: float

    def matrix(self, precision: str) -> float | None:
        """GFLOP/s at "fp32", "bf16" or "int8"."""
        return {"fp32": self.matrix_fp32, "bf16": self.matrix_bf16, "int8": self.matrix_int8}[precision]


@cache
def describe_machine() -> dict[str, Any]:
    """The processor, its cores, the memory and the operating system."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 2**30, 1),
        "os": f"{platform.system()} {platform.release()}",
    }


@cache
def library_versions() -> dict[str, str]:
    """Of the libraries that are installed among those that engines are made of."""
    installed = [name for name in LIBRARIES if importlib.util.find_spec(name) is not None]
    return {name: importlib.metadata.version(name) for name in installed}


@cache
def cache_bytes() -> int:
    """The largest cache of the first core; 32 MiB where the system does not say."""
    sizes = [file.read_text().strip() for file in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size")]
    return max((int(size.removesuffix("K")) * 1024 for size in sizes), default=2**25)


@cache
def measure_limits() -> Limits:
    """Measure them, in about 5 s; a process does it once.

    For each precision the best of the candidates counts: torch's matrix product, and OpenVINO's matrix product and
    3x3 convolutions where it is installed. They take less than a millisecond each, so that on a busy machine some
    repeats run undisturbed, and are large enough that each weight is used hundreds of times.
    """
    fp32, bf16, int8 = (max((rate(*one) for one in candidates(p)), default=None) for p in PRECISIONS)
    return Limits(
        matrix_fp32=fp32,
        matrix_bf16=bf16,
        matrix_int8=int8,
        copy_gib_per_s=_copy_rate(LARGE),
        cache_gib_per_s=max(_copy_rate(size) for size in SMALL),
    )


def rate(operations: int, call: Callable[[], object], seconds: float = SECONDS) -> float:
    """Billions of operations a second in the fastest call of `seconds`; two calls before it do not count."""
    call(), call()
    fastest, end = float("inf"), time.perf_counter() + seconds
    while (start := time.perf_counter()) < end:
        call()
        fastest = min(fastest, time.perf_counter() - start)
    return operations / fastest / 1e9


def candidates(precision: str) -> Iterator[tuple[int, Callable[[], object]]]:
    """(operations, call) of each way to compute in `precision` here."""
    yield from _torch_products(precision)
    if importlib.util.find_spec("openvino") is not None:
        yield from _openvino_products(precision)


def _torch_products(precision: str) -> Iterator[tuple[int, Callable[[], object]]]:
    import torch

    side = 1024
    if precision == "int8":
        a = torch.ones(side, side, dtype=torch.int8)
        yield 2 * side**3, lambda: torch._int_mm(a, a)
        return
    b = torch.rand(side, side, dtype=torch.float32 if precision == "fp32" else torch.bfloat16)
    yield 2 * side**3, lambda: torch.mm(b, b)


def _openvino_products(precision: str) -> Iterator[tuple[int, Callable[[], object]]]:
    import numpy as np
    import openvino

    core, name = openvino.Core(), {"fp32": "f32", "bf16": "bf16", "int8": "f32"}[precision]
    if precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        return
    settings = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": name}
    for operations, model in (_product(512, precision), _convolutions(256, 28, precision)):
        request = core.compile_model(model, "CPU", settings).create_infer_request()
        shape = list(model.input().shape)
        request.set_input_tensor(openvino.Tensor(np.random.default_rng(0).random(shape, dtype=np.float32)))
        yield operations, request.infer


def _product(side: int, precision: str) -> tuple[int, openvino.Model]:
    """x @ w, both side x side."""
    import numpy as np
    import openvino
    from openvino import opset13 as ops

    x = ops.parameter([side, side], np.float32)
    w = np.random.default_rng(1).random((side, side), dtype=np.float32)
    product = ops.matmul(_rounded(x, precision), _rounded(ops.constant(w), precision), False, False)
    return 2 * side**3, openvino.Model([product], [x])


def _convolutions(channels: int, side: int, precision: str, layers: int = 3) -> tuple[int, openvino.Model]:
    """`layers` convolutions 3x3 of one image, channels x side x side, one after the other."""
    import numpy as np
    import openvino
    from openvino import opset13 as ops

    x = ops.parameter([1, channels, side, side], np.float32)
    w = np.random.default_rng(1).random((channels, channels, 3, 3), dtype=np.float32) / (9 * channels)
    out: Any = x
    for _ in range(layers):
        weights = _rounded(ops.constant(w), precision)
        out = ops.convolution(_rounded(out, precision), weights, [1, 1], [1, 1], [1, 1], [1, 1])
    return 2 * layers * side**2 * channels**2 * 9, openvino.Model([out], [x])


def _rounded(node: Any, precision: str) -> Any:
    """The node's values on 255 levels between -1 and 1 where `precision` is int8: OpenVINO then computes in int8."""
    if precision != "int8":
        return node
    import numpy as np
    from openvino import opset13 as ops

    low, high = (ops.constant(np.float32(value)) for value in (-1, 1))
    return ops.fake_quantize(node, low, high, low, high, 255)


def _copy_rate(size: int) -> float:
    """GiB read and written a second when `size` bytes are copied."""
    import torch

    source = torch.zeros(size // 4)
    target = torch.empty_like(source)
    return rate(2 * size, lambda: target.copy_(source)) * 1e9 / 2**30


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()

"""Placement under the limits, worked by hand."""

from __future__ import annotations

import pytest

from convbench.counting import trace
from convbench.models import build
from convbench.timing import roofline
from convbench.timing.machine import Limits
from convbench.timing.roofline import Work, place, place_layers, work_of

GIB = 2**30
LIMITS = Limits(matrix_fp32=100, matrix_bf16=200, matrix_int8=None, copy_gib_per_s=10, cache_gib_per_s=50)


@pytest.fixture(autouse=True)
def _cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roofline, "cache_bytes", lambda: 2**20)


def test_arithmetic_bounds_what_does_many_operations_a_byte() -> None:
    placed = place(1e9, 1000, seconds=0.02, limits=LIMITS)
    assert placed is not None
    assert (placed.attained_gflops, placed.limit_gflops, placed.percent) == pytest.approx((50, 100, 50))
    assert (placed.bound_by, placed.memory_percent, placed.intensity) == ("arithmetic", 0, 1e6)


def test_memory_bounds_what_does_few() -> None:
    placed = place(1e6, 10 * GIB, seconds=4, limits=LIMITS)  # a second's worth of memory
    assert placed is not None
    assert (placed.bound_by, placed.memory_percent) == ("memory", 100)
    assert placed.percent == pytest.approx(25)
    assert placed.limit_gflops == pytest.approx(1e-3)
    assert placed.percent_of_matrix == pytest.approx(100 * 1e6 / 4 / 100e9)


def test_what_fits_the_caches_moves_faster() -> None:
    small = place(0, 2**20, seconds=1, limits=LIMITS)
    large = place(0, 2**20 + 1, seconds=1, limits=LIMITS)
    assert small is not None
    assert large is not None
    assert large.percent == pytest.approx(5 * small.percent, rel=1e-5)


def test_layers_run_one_after_the_other() -> None:
    """One of 1 s by arithmetic, one of 3 s by memory: no roof of the whole program would find 4 s."""
    layers = [Work(100e9, 0, 0), Work(0, 0, 30 * GIB)]
    placed = place_layers(layers, 8, LIMITS)
    assert placed is not None
    assert (placed.percent, placed.memory_percent) == pytest.approx((50, 75))
    assert placed.bound_by == "memory"


def test_weights_come_from_memory_when_all_together_exceed_the_caches() -> None:
    one = Work(0, 0.75 * 2**20, 0)
    alone, twice = place_layers([one], 1, LIMITS), place_layers([one, one], 1, LIMITS)
    assert alone is not None
    assert twice is not None
    assert twice.percent == pytest.approx(2 * 5 * alone.percent)


def test_precision_decides_the_limit() -> None:
    fp32, bf16 = (place(1e9, 0, 0.01, LIMITS, precision) for precision in ("fp32", "bf16"))
    assert fp32 is not None
    assert bf16 is not None
    assert fp32.percent == pytest.approx(2 * bf16.percent)
    assert place(1e9, 0, 0.01, LIMITS, "int8") is None


def test_the_work_of_a_layer_of_vgg16() -> None:
    """conv1_2, by hand: 64 maps of 224 x 224 in and out, 64 x 64 x 3 x 3 weights and 64 biases."""
    rows = [row for row in trace(build("vgg16"), (3, 224, 224)).rows if row.kind == "Conv2d"]
    values, weights = 64 * 224 * 224, 64 * 64 * 9 + 64
    for batch_size, precision, size in ((1, "fp32", 4), (8, "bf16", 2)):
        work = work_of(rows[1], batch_size, precision)
        assert work.operations == batch_size * 2 * 64 * 9 * values
        assert work.weight_bytes == size * weights
        assert work.tensor_bytes == size * batch_size * 2 * values


def test_elementwise_layers_cost_nothing_of_their_own() -> None:
    rows = trace(build("resnet18", num_classes=10), (3, 64, 64)).rows
    free = {row.kind for row in rows if work_of(row, 1, "fp32") == Work(0, 0, 0)}
    assert {"BatchNorm2d", "ReLU"} <= free
    assert "Conv2d" not in free

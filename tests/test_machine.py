"""What the machine is, what it can do, and what else it does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from convbench.timing import load, machine
from convbench.timing.load import Moment, compare, read_moment, watch_load
from convbench.timing.machine import describe_machine, rate
from convbench.timing.memory import peak_above, settle

BEFORE = Moment(clock=100, ours=10, busy=50, steal=1, waiting=5, cores=2)


def test_the_machine_is_described() -> None:
    described = describe_machine()
    assert described["cores"] == os.cpu_count()
    assert described["memory_gib"] > 0.5
    assert described["cpu"]


def test_other_work_is_what_is_busy_and_not_ours() -> None:
    """In 10 s of two cores 12 s were busy, 8 of them ours, 1 the hypervisor's; someone waited for 3 s."""
    after = Moment(clock=110, ours=18, busy=62, steal=2, waiting=8, cores=2)
    assert compare(BEFORE, after) == pytest.approx((20, 5, 30))


def test_an_idle_machine_is_not_busy_with_other_work() -> None:
    after = Moment(clock=110, ours=30.5, busy=70, steal=1, waiting=None, cores=2)  # ticks are coarser than ours
    assert compare(BEFORE, after) == (0, 0, None)


def test_the_counters_are_read_as_proc_5_orders_them(tmp_path: Path) -> None:
    ticks = os.sysconf("SC_CLK_TCK")
    fields = [ticks * seconds for seconds in (1, 2, 4, 1000, 1000, 8, 16, 32, 1000, 1000)]
    (tmp_path / "stat").write_text("cpu  " + " ".join(map(str, fields)) + "\ncpu0 1 2 3\n")
    assert (tmp_path / "pressure").mkdir() is None
    (tmp_path / "pressure" / "cpu").write_text("some avg10=0.00 avg60=0.00 avg300=0.00 total=2500000\nfull total=1\n")
    moment = read_moment(tmp_path)
    assert moment is not None
    assert (moment.busy, moment.steal, moment.waiting) == (1 + 2 + 4 + 8 + 16 + 32, 32, 2.5)
    assert read_moment(tmp_path / "none") is None


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="no /proc")
def test_another_process_is_noticed_and_our_own_work_is_not() -> None:
    """Relative to each other: other tests may run beside this one."""

    def work(seconds: float) -> None:
        end = load.time.monotonic() + seconds
        while load.time.monotonic() < end:
            pass

    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        before = read_moment()
        with watch_load() as seen:
            work(1.0)
        after = read_moment()
    finally:
        busy.kill()
        busy.wait()
    assert before is not None
    assert after is not None
    assert seen.other is not None
    ours = 100 * (after.ours - before.ours) / (after.clock - before.clock) / after.cores
    everything = 100 * (after.busy - before.busy) / (after.clock - before.clock) / after.cores
    assert seen.other == pytest.approx(everything - ours, abs=5)
    assert seen.other > 10


def test_the_rate_is_that_of_the_fastest_call(monkeypatch: pytest.MonkeyPatch) -> None:
    now, took = [0.0], iter([5.0, 5.0, 0.4, 0.1, 0.3, 0.3])

    def call() -> None:
        now[0] += next(took)

    monkeypatch.setattr(machine.time, "perf_counter", lambda: now[0])
    assert rate(10**9, call, seconds=1) == pytest.approx(10)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_the_limits_count_what_they_compute(precision: str) -> None:
    """The operations of each candidate, from the shapes of what it computes."""
    found = [operations for operations, _ in machine.candidates(precision)]
    assert found[0] == 2 * 1024**3
    assert set(found[1:]) <= {2 * 512**3, 2 * 3 * 28 * 28 * 256 * 256 * 9}


def test_openvinos_int8_limit_computes_in_int8() -> None:
    openvino = pytest.importorskip("openvino")
    _, model = machine._convolutions(32, 8, "int8", layers=2)
    compiled = openvino.Core().compile_model(model, "CPU", {"PERF_COUNT": True})
    request = compiled.create_infer_request()
    request.infer([np.ones((1, 32, 8, 8), np.float32)])
    kinds = [node.exec_type for node in request.profiling_info if node.node_type == "Convolution"]
    assert kinds
    assert all("I8" in kind.upper() for kind in kinds), kinds


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux only")
def test_the_peak_of_memory_is_what_was_taken_and_given_back() -> None:
    before = settle()
    torch.ones(2**26 // 4).sum()  # 64 MiB
    assert peak_above(before) == pytest.approx(2**26, rel=0.1)
    before = settle()
    torch.ones(2**20 // 4).sum()
    assert (peak_above(before) or 0) < 2**23

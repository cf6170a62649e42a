"""Measure networks on this machine: every engine checked against eager fp32 first, then timed beside it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from convbench.bench.measured_network import INITIAL, Subject, open_subject
from convbench.bench.measurement import LayerTime, Measurement, Measurements
from convbench.errors import ConvbenchError, RequestError
from convbench.progress import Progress, progress
from convbench.timing.choice import choose
from convbench.timing.clock import ROUNDS, time_side_by_side
from convbench.timing.engines import ENGINES, Engine, Session, open_engine
from convbench.timing.fidelity import compare_outputs
from convbench.timing.int8 import check_int8
from convbench.timing.layers import time_layers
from convbench.timing.load import watch_load
from convbench.timing.machine import Limits, measure_limits
from convbench.timing.memory import peak_above, settle
from convbench.timing.roofline import Placement, place_layers, work_of

SECONDS = 2.0  # of timing for each engine and batch size
AUTO = "auto"


def measure(
    net: nn.Module | str,
    input_shape: tuple[int, int, int, int] | None = None,
    *,
    engine: str = AUTO,
    seconds: float = SECONDS,
) -> Measurement:
    """Measure one network by one engine, beside eager fp32.

    Args:
        net: a module, a network's name, or `package.module:callable`
        input_shape: (n, channels, height, width); by default one image of the size published for a name
        engine: its name, or "auto" for the fastest that answers as eager does
        seconds: of timing, apart from preparation and warm-up

    Raises RequestError for unknown names, a shape that does not fit, and an engine that is missing on this machine;
    ConvbenchError for one that cannot run the network or answers otherwise.

    >>> measure("lenet5_relu", (8, 1, 32, 32), engine="channels-last", seconds=0.1).latency_ms.p50 < 1000
    True
    """
    batch_size, shape = (input_shape[0], input_shape[1:]) if input_shape else (1, None)
    measured = measure_networks([net], shape, engines=(engine,), batch_sizes=(batch_size,), seconds=seconds)
    (result,) = measured.results
    if result.status == "missing":
        raise RequestError(f"engine {result.engine} is missing here: {result.reason}")
    if result.status == "failed":
        raise ConvbenchError(f"engine {result.engine} failed with {result.network}: {result.reason}")
    return result


def measure_networks(
    nets: Sequence[nn.Module | str | Subject],
    input_shape: tuple[int, int, int] | None = None,
    *,
    image_size: int | None = None,
    engines: Sequence[str] = (),
    batch_sizes: Sequence[int] = (1,),
    weights: Path | None = None,
    layers: bool = False,
    seconds: float = SECONDS,
) -> Measurements:
    """Measure networks by several engines, side by side with eager fp32; progress goes to stderr.

    Args:
        nets: modules, networks' names, `package.module:callable`s, or subjects with their own photographs
        input_shape: (channels, height, width) of all; by default as published, but a module needs it
        image_size: rows and columns, where input_shape is not given
        engines: their names, "auto" among them; by default all
        weights: a file for the one network that is named; else it is as initialised, which changes no time
        layers: time each layer, too, where the engine can tell
        seconds: of timing for each engine and batch size, apart from preparation and warm-up

    Outputs are compared on photographs that scikit-learn ships. An engine whose answers are not eager's is "failed",
    one that is not on this machine "missing"; neither is timed.

    Raises RequestError for unknown names, and for shapes, weights or numbers that do not fit.
    """
    for name in engines:
        if name != AUTO:
            open_engine(name)
    if min(batch_sizes, default=0) < 1:
        raise RequestError(f"expected batch sizes of 1 image or more, found {list(batch_sizes)}")
    if not seconds > 0:
        raise RequestError(f"expected more than 0 seconds of timing, found {seconds:g}")
    if weights is not None and (len(nets) != 1 or not isinstance(nets[0], str) or ":" in nets[0]):
        raise RequestError(f"{weights} is for one network by name, found {', '.join(map(str, nets))}")
    names, started = tuple(engines) or tuple(ENGINES), time.monotonic()
    results, subjects = list[Measurement](), list[Subject]()
    steps = 1 + len(nets) * len(batch_sizes) * (1 + len(names) + ROUNDS)
    with watch_load() as load, progress("measuring", steps, "steps") as bar:
        bar.note("the machine's limits")
        limits = measure_limits()
        bar.advance()
        for net in nets:
            if isinstance(net, Subject):
                subject = net
            else:
                subject = open_subject(net, input_shape=input_shape, image_size=image_size, weights=weights)
            subjects.append(subject)
            for batch_size in batch_sizes:
                results += _Bench(subject, batch_size, limits, bar, bool(engines)).run(names, seconds, layers)
    described = tuple(subject.to_dict() for subject in subjects)
    return Measurements(described, tuple(results), limits, load, round(time.monotonic() - started, 1))


@dataclass(frozen=True)
class _Ready:
    """An engine that answers as eager does, and what is known of it so far."""

    measurement: Measurement
    session: Session
    answers: Tensor


class _Bench:
    """One network at one batch size."""

    def __init__(self, subject: Subject, batch_size: int, limits: Limits, bar: Progress, by_name: bool) -> None:
        self.subject, self.limits, self.bar, self.by_name = subject, limits, bar, by_name
        self.blank = Measurement(subject.name, "", "", batch_size, subject.cost.input_shape)
        repeats = -(-batch_size // len(subject.checked))  # of the photographs, where a batch is larger than all
        self.images = subject.checked.repeat(repeats, 1, 1, 1)
        self.batch = self.images[:batch_size]

    def run(self, names: Sequence[str], seconds: float, layers: bool) -> list[Measurement]:
        """A result for each engine, in the order of names; those that answer as eager does are timed beside it."""
        self.note(AUTO if AUTO in names else "eager")
        chosen = [self.choose() if name == AUTO else name for name in names]
        eager = self.prepare(open_engine("eager"), None)
        assert isinstance(eager, _Ready)
        self.bar.advance()
        tried: dict[str, _Ready | Measurement] = {"eager": eager}
        for name in chosen:
            self.note(name)
            if name not in tried:
                tried[name] = self.prepare(ENGINES[name], eager.answers)
            self.bar.advance()
        ready = {name: one for name, one in tried.items() if isinstance(one, _Ready)}
        self.note(f"timing {len(ready)} engines")
        timed = time_side_by_side(
            {name: self.call(one.session) for name, one in ready.items()},
            seconds=seconds,
            after_round=self.bar.advance,
        )
        results = {name: one for name, one in tried.items() if isinstance(one, Measurement)}
        for name, one in ready.items():
            timing, engine = timed.timings[name], ENGINES[name]
            results[name] = replace(
                one.measurement,
                latency_ms=timing,
                ratio_to_eager=timed.ratios[name],
                roofline=self.place(timing.p50 / 1000, engine.precision),
                layers=self.time_layers(engine) if layers else (),
            )
        return [results[name] for name in dict.fromkeys(chosen)]

    def note(self, doing: str) -> None:
        self.bar.note(f"{self.subject.name}, batch of {self.blank.batch_size}: {doing}")

    def choose(self) -> str:
        """The name of the fastest faithful engine."""
        return choose(self.subject.net, self.batch, checked=self.images).engine

    def prepare(self, engine: Engine, reference: Tensor | None) -> _Ready | Measurement:
        """The engine ready to be timed, or why it is not; `reference` are eager's answers, None for eager itself."""
        blank = replace(self.blank, engine=engine.name, precision=engine.precision)
        missing = engine.missing()
        if missing is None and engine.precision == "int8" and self.subject.weights == INITIAL and not self.by_name:
            missing = "its answers are judged on trained weights: give --weights, or name the engine"
        if missing is not None:
            return replace(blank, status="missing", reason=missing)
        before, start = settle(), time.monotonic()
        try:
            session = engine.prepare(self.subject.net, self.batch, self.subject.calibration)
            blank = replace(blank, prepare_s=time.monotonic() - start)
            settle()  # conversion may need far more than what it leaves
            outputs = self.answers(session)
            if engine.precision == "int8" and reference is not None and self.subject.weights != INITIAL:
                check_int8(reference, outputs)
        except ConvbenchError as error:
            if reference is None:
                raise
            return replace(blank, status="failed", reason=str(error))
        peak = peak_above(before)
        blank = replace(blank, peak_memory_mib=peak / 2**20 if peak is not None else None)
        fidelity = compare_outputs(outputs if reference is None else reference, outputs, engine.precision)
        if not fidelity.passed:
            return replace(blank, status="failed", reason=fidelity.why, fidelity=fidelity)
        return _Ready(replace(blank, fidelity=fidelity), session, outputs)

    def answers(self, session: Session) -> Tensor:
        """The outputs for all photographs that fill whole batches."""
        batches = self.images.split(self.blank.batch_size)
        return torch.cat([session(images) for images in batches if len(images) == len(self.batch)])

    def call(self, session: Session) -> Callable[[], object]:
        finish = self.subject.finish
        if finish is None:
            return lambda: session(self.batch)
        return lambda: finish(session(self.batch))

    def place(self, seconds: float, precision: str) -> Placement | None:
        works = [work_of(row, self.blank.batch_size, precision) for row in self.subject.cost.rows]
        return place_layers(works, seconds, self.limits, precision)

    def time_layers(self, engine: Engine) -> tuple[LayerTime, ...]:
        """Each layer's time in the order of execution; none where the engine cannot tell."""
        rows = {row.name: row for row in self.subject.cost.rows}
        took = time_layers(engine, self.subject.net, self.batch, self.subject.calibration)
        whole = sum(took.values())
        found = []
        for name, seconds in took.items():
            row = rows.get(name)
            work = [work_of(row, self.blank.batch_size, engine.precision)] if row and row.is_stored else []
            placed = place_layers(work, seconds, self.limits, engine.precision) if work and seconds else None
            share = 100 * seconds / whole
            found.append(LayerTime(name, row.kind if row else "", 1000 * seconds, share, placed))
        return tuple(found)

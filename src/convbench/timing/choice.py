"""engine="auto": the fastest engine that answers as eager fp32 does, found once per machine and remembered."""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from convbench.data.content import cache_folder
from convbench.errors import ConvbenchError, RequestError, unknown
from convbench.files import make_folder, write_json
from convbench.timing.clock import race
from convbench.timing.engines import ENGINES, Session, open_engine
from convbench.timing.fidelity import compare_outputs
from convbench.timing.int8 import check_int8
from convbench.timing.machine import describe_machine, library_versions

PRECISIONS = ("fp32", "bf16", "int8")  # each allows those before it
AUTO = "auto"
WORTH_S = 20.0  # of eager's work from which on a choice, or its compilation, pays
WORTH_BATCHES = 16  # likewise: a choice calls each engine three times at least


@dataclass(frozen=True)
class Choice:
    """An engine and the network prepared for it, which answers batches of up to the example's number of images.

    engine: its name
    latency_ms: the median call of every engine that was timed, when the choice was made; empty where nothing was timed
    refused: why the others were not taken
    remembered: whether it was taken over from an earlier choice; its outputs were compared all the same
    """

    engine: str
    session: Session
    images: int
    latency_ms: Mapping[str, float] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    remembered: bool = False

    def __call__(self, images: Tensor) -> Tensor:
        """float32 (n, c, h, w), n at most the example's, to float32 outputs (n, ...)."""
        missing = self.images - len(images)
        if missing == 0:
            return self.session(images)
        filled = torch.cat([images, images.new_zeros(missing, *images.shape[1:])])
        return self.session(filled)[: len(images)]


def choose(
    net: nn.Module,
    images: Tensor,
    *,
    checked: Tensor | None = None,
    engine: str = AUTO,
    precision: str = "bf16",
    calibration: Tensor | None = None,
    batches: float = math.inf,
    widths: Sequence[int] = (),
    memory: Path | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Choice:
    """The fastest faithful engine for batches like `images`, or the one that is asked for, if it is faithful.

    Args:
        net: left as it is
        images: float32 (n, c, h, w), a batch like those to come
        checked: real images, prepared as the network reads them, on which outputs are compared, in whole batches; eight
            or more tell most. By default `images`
        engine: a name, or "auto"
        precision: the lowest that "auto" may take: "fp32", "bf16" or "int8"
        calibration: float32 images for int8, a hundred; without any, "auto" leaves int8 out
        batches: that are to come; where eager does them in less than `WORTH_S`, or nothing is remembered and there are
            less than `WORTH_BATCHES`, "auto" is eager
        widths: of the outputs' parts along axis 1 where they are not all scores of the same scale: each is compared by
            itself
        memory: the file of choices made before; by default engines.json in the user's cache
        say: gets the name of an engine when it is tried

    A choice is remembered for this machine, these libraries' versions, this structure of the network and this shape of
    the batch; but an engine's outputs are compared with eager's each time before it is used.

    Raises RequestError for an unknown engine or precision, and an engine that is missing here; ConvbenchError for one
    that cannot run the network, or answers otherwise than eager.
    """
    if precision not in PRECISIONS:
        raise unknown("precision", precision, PRECISIONS)
    trial = _Trial(net, images, checked if checked is not None else images, calibration, widths, say)
    if engine != AUTO:
        if reason := open_engine(engine).missing():
            raise RequestError(f"engine {engine} is missing here: {reason}")
        if not trial.attempt(engine):
            raise ConvbenchError(f"engine {engine}: {trial.refused[engine]}")
        return Choice(engine, trial.sessions[engine], len(images))
    if batches * trial.seconds < WORTH_S:
        return Choice("eager", trial.sessions["eager"], len(images))
    file, names = memory or cache_folder() / "engines.json", _candidates(precision, calibration)
    key, known = fingerprint(net, images, names), read_choices(file)
    before = known.get(key, {"engine": None, "latency_ms": {}})
    if before["engine"] in names and trial.attempt(before["engine"]):
        name = before["engine"]
        return Choice(name, trial.sessions[name], len(images), before["latency_ms"], remembered=True)
    if batches < WORTH_BATCHES:
        return Choice("eager", trial.sessions["eager"], len(images))
    for name in names:
        trial.attempt(name)
    say("timing")
    latency = race({name: _bind(session, images) for name, session in trial.sessions.items()}, seconds=0.5)
    fastest = min(latency, key=lambda name: latency[name])
    remember(file, key, {"engine": fastest, "latency_ms": latency, "network": type(net).__name__})
    return Choice(fastest, trial.sessions[fastest], len(images), latency, trial.refused)


class _Trial:
    """Engines prepared and compared with eager, each once; `seconds` is what eager takes for a batch."""

    def __init__(
        self,
        net: nn.Module,
        images: Tensor,
        checked: Tensor,
        calibration: Tensor | None,
        widths: Sequence[int],
        say: Callable[[str], None],
    ) -> None:
        self.net, self.images, self.calibration, self.widths, self.say = net, images, calibration, widths, say
        self.batches = [batch for batch in checked.split(len(images)) if len(batch) == len(images)]
        if not self.batches:
            raise RequestError(f"expected at least {len(images)} images to check on, one batch, found {len(checked)}")
        eager = ENGINES["eager"].prepare(net, images)
        self.sessions = {"eager": eager}
        self.refused: dict[str, str] = {}
        start = time.perf_counter()
        eager(images)
        self.seconds = time.perf_counter() - start

    @cached_property
    def reference(self) -> Tensor:
        return self.answers(self.sessions["eager"])

    def answers(self, session: Session) -> Tensor:
        return torch.cat([session(batch) for batch in self.batches])

    def parts(self, answers: Tensor) -> list[tuple[Tensor, ...]]:
        """Of the reference and of `answers`, side by side; whole where the shapes differ, which is an answer, too."""
        both = self.reference, answers
        if not self.widths or answers.shape != self.reference.shape:
            return [both]
        return list(zip(*(one.split(list(self.widths), 1) for one in both), strict=True))

    def attempt(self, name: str) -> bool:
        """Whether the engine may be used; then its session is there, else the reason."""
        if name in self.sessions or name in self.refused:
            return name in self.sessions
        self.say(name)
        engine = ENGINES[name]
        try:
            if reason := engine.missing():
                raise RequestError(reason)
            session = engine.prepare(self.net, self.images, self.calibration)
            for reference, answers in self.parts(self.answers(session)):
                fidelity = compare_outputs(reference, answers, engine.precision)
                if not fidelity.passed:
                    raise ConvbenchError(fidelity.why)
                if engine.precision == "int8":
                    check_int8(reference, answers)
        except ConvbenchError as error:
            self.refused[name] = str(error)
            return False
        self.sessions[name] = session
        return True


def _candidates(precision: str, calibration: Tensor | None) -> list[str]:
    """Engines of the precisions allowed. torch.compile takes half a minute and was half as fast as OpenVINO in
    fp32 on ResNet-50 and MobileNet: it is tried where there is no OpenVINO."""
    allowed = PRECISIONS[: PRECISIONS.index(precision) + 1]
    names = [name for name, engine in ENGINES.items() if engine.precision in allowed]
    if calibration is None:
        names = [name for name in names if ENGINES[name].precision != "int8"]
    if ENGINES["openvino-fp32"].missing() is None:
        names.remove("compiled")
    return names


def fingerprint(net: nn.Module, images: Tensor, names: list[str]) -> str:
    """What a choice depends on: machine, threads, versions, engines allowed, the network's structure, the batch."""
    structure = [(name, tuple(parameter.shape)) for name, parameter in net.named_parameters()]
    about = [
        *(describe_machine(), torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS")),
        *(library_versions(), names),
        *(str(net), structure, tuple(images.shape)),
    ]
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:24]


def read_choices(file: Path) -> dict[str, Any]:
    """The choices made before; none where there is no such file.

    Raises RequestError where the file is not one of ours, or damaged.
    """
    try:
        choices: dict[str, Any] = json.loads(file.read_text())
    except FileNotFoundError:
        return {}
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise RequestError(f"{file} is not a file of chosen engines ({error}): delete it to choose anew") from error
    return choices


def remember(file: Path, key: str, choice: dict[str, Any]) -> None:
    """Add a choice to the file, whole; of two processes at the same moment, one's choice is made again later."""
    make_folder(file.parent)
    write_json(file, read_choices(file) | {key: choice})


def _bind(session: Session, images: Tensor) -> Callable[[], Tensor]:
    return lambda: session(images)

"""What other counters say of a network, and which operators make each difference to the count here."""

from __future__ import annotations

import io
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from convbench.counting.referees import flop_counter_mode, fvcore, ptflops, thop, torchinfo
from convbench.counting.referees.calls import PRODUCTS, Call, Counts, on_meta, one_value, record_calls, stand_in
from convbench.counting.rows import Cost
from convbench.counting.trace import trace
from convbench.errors import RequestError, unknown

FAILURES = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True)
class Referee:
    """Another counter.

    run: runs it on a copy of the network that it may spoil, and a batch of one image
    count: its rule as told here: what it counts of one call; multiply-adds as `PRODUCTS`
    weight: what it counts for a multiply-add
    needs_values: whether `meta` tensors will not do: fvcore traces real ones alone, and ptflops would count torch's
        own Python code for `meta`, too
    """

    name: str
    package: str
    rule: str
    run: Callable[[nn.Module, Tensor], int | None]
    count: Callable[[Call], Counts]
    weight: int = 1
    needs_values: bool = False


REFEREES = {
    referee.name: referee
    for referee in (
        Referee("torchinfo", "torchinfo", "parameters by the positions they meet", torchinfo.run, torchinfo.count),
        Referee("fvcore", "fvcore", "operators of a traced graph", fvcore.run, fvcore.count, needs_values=True),
        Referee(
            *("ptflops", "ptflops", "layers of torch's own classes, and functions", ptflops.run, ptflops.count),
            needs_values=True,
        ),
        Referee("thop", "thop", "layers of torch's own classes", thop.run, thop.count),
        Referee(
            *("FlopCounterMode", "torch", "2 for each multiply-add", flop_counter_mode.run, flop_counter_mode.count),
            weight=2,
        ),
    )
}


@dataclass(frozen=True)
class Difference:
    """What a referee counts, or leaves out (negative), unlike the count here: `amount` in `calls` of an operator
    (in as many layers, of multiply-adds)."""

    operator: str
    what: str
    calls: int
    amount: int


@dataclass(frozen=True)
class Opinion:
    """What one referee says.

    unit: "multiply-adds" or "FLOPs"
    total: None where it fails on this network, and `failed` says how
    ours: the multiply-adds counted here, in the referee's unit
    differences: largest first; with `unexplained` they sum to `total - ours`
    unexplained: what its rule as told here does not account for; None where there is no total
    """

    referee: str
    version: str
    rule: str
    unit: str
    total: int | None
    ours: int
    differences: tuple[Difference, ...] = ()
    unexplained: int | None = None
    failed: str = ""


@dataclass(frozen=True)
class Comparison:
    """Of one network; published: figures of papers by what they are."""

    network: str
    input_shape: tuple[int, ...]
    params: int
    macs: int
    opinions: tuple[Opinion, ...]
    published: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def compare(
    net: nn.Module,
    input_shape: tuple[int, ...],
    name: str = "",
    published: Mapping[str, str] | None = None,
    *,
    referees: Iterable[str] = tuple(REFEREES),
) -> Comparison:
    """Run referees on one image in evaluation, and name what makes its total differ from the count here.

    Args:
        input_shape: (channels, height, width)
        published: figures to stand beside them, such as {"table 1 (macs)": "3.8G"}
        referees: names of `REFEREES`; all of them by default

    `net` is left as it was and may be on any device: the referees get copies without values.

    Raises RequestError for an unknown referee or one that is not installed, or where the network cannot read that
    shape.
    """
    asked = [_open(referee) for referee in referees]
    kind = next((p.dtype for p in net.parameters() if p.is_floating_point()), None)
    images = torch.empty(1, *input_shape, dtype=kind, device="meta")
    cost = trace(net, input_shape, name)
    calls = record_calls(stand_in(net, on_meta), images)
    opinions = tuple(_ask(referee, net, images, cost, calls) for referee in asked)
    return Comparison(cost.network, input_shape, cost.params, cost.macs, opinions, published or {})


def _open(name: str) -> Referee:
    if name not in REFEREES:
        raise unknown("referee", name, REFEREES)
    referee = REFEREES[name]
    if find_spec(referee.package) is None:
        raise RequestError(f"expected {referee.package} installed, found none: pip install 'convbench[referees]'")
    return referee


def _ask(referee: Referee, net: nn.Module, images: Tensor, cost: Cost, calls: list[Call]) -> Opinion:
    total, failed = _run(referee, net, images)
    ours = referee.weight * cost.macs
    differences = () if total is None else explain(referee, cost, calls)
    return Opinion(
        referee=referee.name,
        version=version(referee.package),
        rule=referee.rule,
        unit="multiply-adds" if referee.weight == 1 else "FLOPs",
        total=total,
        ours=ours,
        differences=differences,
        unexplained=None if total is None else total - ours - sum(one.amount for one in differences),
        failed=failed,
    )


def _run(referee: Referee, net: nn.Module, images: Tensor) -> tuple[int | None, str]:
    """The referee's total and no word of what it prints; or None, and why."""
    if referee.needs_values:
        net, images = stand_in(net, one_value), one_value(images)
    else:
        net = stand_in(net, on_meta)
    said = io.StringIO()
    with warnings.catch_warnings(), redirect_stdout(said), redirect_stderr(said):
        warnings.simplefilter("ignore")
        try:
            total = referee.run(net, images)
        except FAILURES as error:
            return None, f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
    return total, "" if total is not None else _last_line(said.getvalue())


def explain(referee: Referee, cost: Cost, calls: list[Call]) -> tuple[Difference, ...]:
    """What the referee's rule gives beside, or instead of, the multiply-adds of `cost`, largest amount first."""
    amounts: Counter[tuple[str, str]] = Counter()
    times: Counter[tuple[str, str]] = Counter()
    products: Counter[str] = Counter()
    for call in calls:
        for what, amount in referee.count(call).items():
            if what == PRODUCTS:
                products[call.layer] += amount
            elif amount:
                amounts[call.operator, what] += amount
                times[call.operator, what] += 1
    kinds: dict[str, dict[str, None]] = {}  # of a layer's rows, each once
    for row in cost.rows:
        if row.macs:
            kinds.setdefault(row.name, {})[row.kind] = None
            products[row.name] -= referee.weight * row.macs
    classes = {call.layer: {type(call.module).__name__: None} for call in calls}
    for layer, gap in products.items():
        operator = ", ".join(kinds.get(layer) or classes[layer])
        key = operator, "multiply-adds left out" if gap < 0 else "multiply-adds that are not done"
        amounts[key] += gap
        times[key] += gap != 0
    differences = (Difference(*key, times[key], amount) for key, amount in amounts.items() if amount)
    return tuple(sorted(differences, key=lambda one: -abs(one.amount)))


def _last_line(text: str) -> str:
    lines = text.split("\n")
    return next((line for line in reversed(lines) if line.strip()), "it gives no reason")

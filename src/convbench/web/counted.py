"""What the networks' pages count. Counts follow from the package alone: what was counted once stays right."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from convbench.bench.cost import cost
from convbench.claims import ClaimResult, check_claims
from convbench.claims.ledger import read_claims
from convbench.claims.quantities import counted
from convbench.counting import CONVENTIONS, Cost, open_convention
from convbench.web.once import Once
from convbench.web.workshop import Made, Workshop

FORWARD = tuple(name for name, one in CONVENTIONS.items() if one.part == "forward")  # all that a detector has


async def count(once: Once, network: str, convention: str) -> Cost:
    """A network's or a detector's cost in a convention; RequestError as of `convbench.bench.cost`."""
    chosen = open_convention(convention)
    if chosen.part == "forward":  # all these share one trace, and that with the claims
        traced, _ = await once.do(("forward", network), lambda: counted(network, None, None))
    else:
        traced = await once.do(("backward", network), lambda: cost(network, convention=chosen))
    return replace(traced, convention=chosen)


async def judge(audit: Workshop, network: str) -> Made[list[ClaimResult]]:
    """The deck's claims on the network, none for one that it does not mention: checked behind the page, as they may
    compare it with a network of a thousand layers."""
    if not any(network in claim.networks for claim in read_claims()):
        return Made([], whole=True)
    return await audit.get(("network", network), None, partial(check_claims, network=network))

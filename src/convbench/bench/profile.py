"""Do one run of a comparison: count a network, measure it on this machine, and set the deck's figures beside both."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from convbench.bench.cost import cost as count_cost
from convbench.bench.measure import measure_networks
from convbench.bench.record import new_record, recording
from convbench.bench.store import RunFolder
from convbench.bench.suite import Compared, NetworkSpec, Suite, read_errors
from convbench.claims import check_claims
from convbench.claims.ledger import Reading, read_claims
from convbench.claims.quantities import compute
from convbench.counting.split import split_by_layer
from convbench.models import published_input

SLIDE = "Summary"  # of the deck: the table that a comparison corrects
COLUMNS = {  # a reading's (quantity or metric, part) -> the column of that table
    ("conv_depth", ""): "conv_layers",
    ("fc_layers", ""): "full_layers",
    ("kernel_sizes", ""): "kernels",
    ("params", ""): "params",
    ("params", "conv"): "conv_params",
    ("params", "fc"): "full_params",
    ("macs", ""): "macs",
    ("macs", "conv"): "conv_macs",
    ("macs", "fc"): "full_macs",
    ("top1_error", ""): "top1_error",
    ("top5_error", ""): "top5_error",
}


def profile(
    suite_name: str, suite: Suite, spec: NetworkSpec, folder: RunFolder, *, seed: int, command: str
) -> dict[str, Any]:
    """Count and measure the network of `spec`; the record is returned and lies in `folder`.

    Its weights are as initialised: they change no count and no time.
    """
    assert suite.measuring is not None
    record = new_record(
        *(suite_name, spec.name, spec.title),
        subject={"kind": "network", "name": spec.network, "arguments": {}},
        spec=full_spec(suite, spec),
        seed=seed,
        command=command,
    )
    counts = count(spec.network)
    record |= {
        "published": read_errors(spec),
        "cost": {
            **{"params": counts["params"], "macs": counts["macs"]},
            "layers": [asdict(layer) for layer in split_by_layer(count_cost(spec.network))],
        },
    }
    with recording(record, folder):
        measured = measure_networks([spec.network], **asdict(suite.measuring)).to_dict()
        record["versions"] |= measured["machine"]["versions"]
        record["profile"] = {"counts": counts, "deck": deck_cells(spec.network), "measurements": measured}
    return record


def full_spec(suite: Suite, spec: Compared) -> dict[str, Any]:
    """All that decides what the run measures, as its record holds it."""
    assert suite.measuring is not None
    return {**asdict(spec), "measuring": asdict(suite.measuring)}


def count(network: str) -> dict[str, Any]:
    """The network's row of the deck's table: depth, layers, kernel sizes, and both costs in all and by kind of layer.

    Depth and layers are counted along the longest path from image to scores, as the networks' names count them.
    """
    counts = {
        column: compute(Reading(quantity=quantity, part=part, network=network))  # type: ignore[arg-type]
        for (quantity, part), column in COLUMNS.items()
        if not quantity.endswith("error")
    }
    depth = compute(Reading(quantity="depth", network=network))
    return {"input_shape": list(published_input(network)), "depth": depth, **counts}


def deck_cells(network: str) -> list[dict[str, Any]]:
    """What the deck's table says of the network: column, number, truth, verdict, reason.

    own: whether the number stands in the network's own row; by mistake some of its numbers stand in another's
    """
    about = {claim.id: claim for claim in read_claims() if claim.slide == SLIDE and network in claim.networks}
    cells = []
    for result in check_claims(slide=SLIDE, network=network) if about else ():
        claim = about[result.id]
        own = any(one.network == network for one in claim.recompute) or not claim.recompute
        reading = next(one for one in (*claim.recompute, *claim.really) if one.network == network)
        column = COLUMNS.get((reading.metric or reading.quantity, reading.part))
        if column is not None:
            truth = result.published if column.endswith("error") else result.counted
            cell = {"column": column, "own": own, "says": result.says, "deck": result.deck, "truth": truth}
            cells.append(cell | {"verdict": result.verdict, "reason": result.reason})
    return cells


def describe_profile(profile: dict[str, Any]) -> str:
    """A line for people: the operations, and the fastest engine's latency for one image."""
    return describe_speed(profile["counts"]["macs"], profile["measurements"]["results"])


def describe_speed(macs: int, results: list[dict[str, Any]]) -> str:
    """Multiply-adds, and the fastest of the results at the smallest batch."""
    gigamacs = macs / 1e9
    done = [one for one in results if one["status"] == "ok"]
    if not done:
        return f"{gigamacs:.2f}G multiply-adds; no engine gave its answers"
    first = min(one["batch_size"] for one in done)
    fastest = min((one for one in done if one["batch_size"] == first), key=lambda one: one["latency_ms"]["p50"])
    latency = fastest["latency_ms"]["p50"]
    return f"{gigamacs:.2f}G multiply-adds; {latency:.1f} ms for a batch of {first} by {fastest['engine']}"

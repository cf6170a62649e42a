"""Do one run of a comparison of detectors: count its parts, measure it here, and set the deck's figures beside both."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from convbench.bench.measured_detector import measure_detector
from convbench.bench.profile import describe_speed, full_spec
from convbench.bench.record import new_record, recording
from convbench.bench.store import RunFolder
from convbench.bench.suite import DetectorSpec, Suite, read_precision
from convbench.claims import check_claims
from convbench.claims.ledger import read_claims
from convbench.counting import Cost
from convbench.detection.parts import detector_cost, open_on_meta, split_cost
from convbench.detection.registry import backbone_of, family_of


def profile_detector(
    suite_name: str, suite: Suite, spec: DetectorSpec, folder: RunFolder, *, seed: int, command: str
) -> dict[str, Any]:
    """Count and measure the detector of `spec`; the record is returned and lies in `folder`."""
    assert suite.measuring is not None
    record, cost = counted_record(suite_name, suite, spec, seed=seed, command=command)
    with recording(record, folder):
        measured, finds = measure_detector(spec.detector, spec.arguments, cost, **asdict(suite.measuring))
        record["versions"] |= measured["machine"]["versions"]
        record["detector"] |= {"measurements": measured, "finds": finds}
    return record


def counted_record(
    suite_name: str, suite: Suite, spec: DetectorSpec, *, seed: int = 0, command: str = ""
) -> tuple[dict[str, Any], Cost]:
    """(a record of what is known before anything is measured, the detector's cost).

    Its `ap` is ours, of weights that were trained here: None, as a comparison trains nothing.
    """
    record = new_record(
        *(suite_name, spec.name, spec.title),
        subject={"kind": "detector", "name": spec.detector, "arguments": spec.arguments},
        spec=full_spec(suite, spec),
        seed=seed,
        command=command,
    )
    net = open_on_meta(spec.detector, **spec.arguments)
    cost = detector_cost(net, spec.detector)
    record |= {"published": read_precision(spec), "cost": {"params": cost.params, "macs": cost.macs}}
    record["detector"] = {
        "family": family_of(spec.detector),
        "backbone": backbone_of(spec.detector),
        "side": net.side,
        "num_classes": net.num_classes,
        "parts": [asdict(part) for part in split_cost(cost)],
        "deck": deck_figures(spec),
        "ap": None,
        "measurements": None,
        "finds": None,
    }
    return record, cost


def deck_figures(spec: DetectorSpec) -> list[dict[str, Any]]:
    """What the deck's table says of the detector: metric, number, what is published and counted, verdict, reason."""
    about = {claim.id: claim for claim in read_claims() if spec.row in claim.networks}
    return [
        {
            "metric": next(one.metric for one in about[result.id].recompute if one.network == spec.row),
            **{key: getattr(result, key) for key in ("says", "deck", "published", "counted", "verdict", "reason")},
        }
        for result in (check_claims(network=spec.row) if about else ())
    ]


def describe_detector(profile: dict[str, Any]) -> str:
    """A line for people: the operations, and the fastest engine's latency for one image."""
    return describe_speed(sum(part["macs"] for part in profile["parts"]), profile["measurements"]["results"])

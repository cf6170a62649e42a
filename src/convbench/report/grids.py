"""The report's tables as plain values, for Markdown, CSV and programs.

A column's name begins with where its numbers come from: `published` (the paper or release in `source`), `counted` (from
the network as it is built here) or `measured` (by the run in `run`, on its `machine`, with its `weights`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import mean
from typing import Any

from convbench.report.comparison import Entry, compare
from convbench.report.efficiency import deck_cells
from convbench.report.findings import verdict
from convbench.report.layers import layer_rows
from convbench.report.matrix import matrix
from convbench.report.profiles import Timed
from convbench.report.records import Record, Suite, measured
from convbench.report.results import Published
from convbench.report.seeds import methods, middle_runs, title_of
from convbench.report.tables import weights_of

Row = dict[str, Any]  # str, int, float, bool, or None where nothing is known


@dataclass(frozen=True)
class Grid:
    """One table: its rows all have the same columns, which are the rows' keys."""

    name: str
    title: str
    rows: tuple[Row, ...]


def grids(suite: Suite) -> list[Grid]:
    """Every table of the suite that has a row, in the page's order."""
    networks = compare(suite.profiled)
    found = {
        "networks": ("Networks by efficiency", map(_network, networks)),
        "deck": ("The lecture deck’s Summary beside what is so", _deck(suite.profiled)),
        "engines": ("Every engine at every batch size", _engines((*suite.profiled, *suite.detectors))),
        "detectors": ("Detectors beside the lecture deck’s table", _detectors(suite.detectors)),
        "found": ("What the detectors found", _found(suite)),
        "decisions": ("What the seeds decide", _decisions(suite)),
        "seeds": ("Errors over the seeds", _seeds(suite)),
        "results": ("Published beside measured", _results(suite)),
        "classes": ("Error within each class", _classes(suite)),
        "layers": ("Layer by layer", _layers(suite)),
        "challenge": ("The ImageNet challenge, year by year", _challenge(suite)),
        "unfinished": ("Without a result", _unfinished(suite)),
    }
    made = [Grid(name, title, tuple(rows)) for name, (title, rows) in found.items()]
    return [grid for grid in made if grid.rows]


def _source(published: Published | None) -> Row:
    keys = ("protocol", "source", "url")
    return {key: getattr(published, key) if published else None for key in keys}


def _here(record: Record) -> Row:
    """Where what a run measured comes from."""
    machine = record.machine
    return {
        "weights": weights_of(record),
        "run": f"{record.suite}/{record.name}",
        "machine": f"{machine.cpu}, {machine.cores} cores" if machine else None,
        "commit": record.commit,
    }


def _results(suite: Suite) -> Iterable[Row]:
    for run in suite.done:
        record, result = run.record, measured(run)
        assert record is not None
        published, cost, seconds = record.published, record.cost, record.seconds
        yield {
            "method": title_of(run),
            "kind": record.subject.kind,
            "published_error": published.error if published else None,
            "measured_error": result.top1_error,
            "measured_error_low": result.interval[0],
            "measured_error_high": result.interval[1],
            "verdict": verdict(result, published),
            "n": result.n,
            "counted_params": cost.params if cost else None,
            "counted_macs": cost.macs if cost else None,
            "published_rejection": published.rejection if published else None,
            "measured_rejection": result.rejection.rejected if result.rejection else None,
            "measured_train_seconds": seconds.train if seconds else None,
            **_source(published),
            "data": f"{record.data.test.name} {record.data.test.split}" if record.data else None,
            **_here(record),
        }


def _seeds(suite: Suite) -> Iterable[Row]:
    for method in methods(suite.done):
        first = method.runs[0].record
        published = first.published if first else None
        yield {
            "method": method.title,
            "published_error": published.error if published else None,
            "measured_mean_error": mean(method.errors),
            "measured_lowest_error": min(method.errors),
            "measured_highest_error": max(method.errors),
            "seeds": len(method.runs),
            **_source(published),
            "runs": " ".join(f"{suite.name}/{run.name}" for run in method.runs),
        }


def _decisions(suite: Suite) -> Iterable[Row]:
    for one in suite.decisions:
        yield {
            "statement": one.says,
            "verdict": one.verdict,
            "metric": one.metric,
            "measured_better": mean(one.better),
            "measured_worse": mean(one.worse),
            "measured_difference": one.difference,
            "measured_difference_low": one.low,
            "measured_difference_high": one.high,
            "seeds": min(len(one.better), len(one.worse)),
        }


def _network(one: Entry) -> Row:
    fastest, batched = one.fastest, one.batched
    latency, ratio = (fastest.latency_ms, fastest.ratio_to_eager) if fastest else (None, None)
    eager = one.eager.latency_ms if one.eager else None
    return {
        "network": one.title,
        "rank": one.rank,
        "front_by_latency": one.fast_front,
        "counted_params": one.params,
        "counted_macs": one.macs,
        "published_top1_error": one.error,
        "published_top5_error": one.published.top5_error,
        "measured_eager_ms": eager.p50 if eager else None,
        "measured_fastest_ms": latency.p50 if latency else None,
        "measured_fastest_ms_low": latency.interval[0] if latency else None,
        "measured_fastest_ms_high": latency.interval[1] if latency else None,
        "engine": fastest.engine if fastest else None,
        "measured_times_as_fast": ratio.value if ratio else None,
        "measured_images_per_s": batched.images_per_s if batched else None,
        **_source(one.published),
        **_here(one.record),
    }


def _deck(records: Sequence[Record]) -> Iterable[Row]:
    entries = {one.record.name: one for one in compare(records)}
    for record in records:
        for column, cell in deck_cells(entries[record.name]).items():
            origin = "published" if column.endswith("error") else "counted"
            yield {
                "network": record.title,
                "what": column,
                "value": None if cell.text == "–" else cell.text,
                "origin": origin,
                "deck": cell.deck or None,
                "verdict": cell.verdict or None,
                "reason": cell.reason or None,
                **(_source(record.published) if origin == "published" else _source(None)),
                "run": f"{record.suite}/{record.name}",
            }


def _engines(records: Iterable[Record]) -> Iterable[Row]:
    for record in records:
        profile = record.profile or record.detector
        for timed in profile.measurements.results if profile and profile.measurements else ():
            yield {"network": record.title, **_timed(timed), **_here(record)}


def _timed(timed: Timed) -> Row:
    latency, ratio = timed.latency_ms, timed.ratio_to_eager
    return {
        "engine": timed.engine,
        "batch_size": timed.batch_size,
        "status": timed.status,
        "measured_ms": latency.p50 if latency else None,
        "measured_ms_low": latency.interval[0] if latency else None,
        "measured_ms_high": latency.interval[1] if latency else None,
        "measured_ms_p95": latency.p95 if latency else None,
        "measured_images_per_s": timed.images_per_s,
        "measured_times_as_fast": ratio.value if ratio else None,
        "reason": timed.reason or None,
    }


def _detectors(records: Sequence[Record]) -> Iterable[Row]:
    for one in matrix(records):
        profile, fastest = one.profile, one.profile.measurements.fastest(1) if one.profile.measurements else None
        deck = {metric: profile.deck_figure(metric) for metric in ("params", "macs")}
        yield {
            "detector": one.title,
            "counted_params": profile.params,
            "counted_macs": profile.macs,
            **{f"deck_{metric}": said.deck if said else None for metric, said in deck.items()},
            **{f"deck_{metric}_verdict": said.verdict if said else None for metric, said in deck.items()},
            "published_ap": one.ap,
            "measured_ap": profile.ap,
            "measured_eager_ms": one.latency_ms,
            "measured_finding_ms": profile.finds.ms if profile.finds else None,
            "measured_fastest_ms": fastest.latency_ms.p50 if fastest and fastest.latency_ms else None,
            "engine": fastest.engine if fastest else None,
            **_source(one.record.published),
            **_here(one.record),
        }


def _found(suite: Suite) -> Iterable[Row]:
    for run in suite.learnt_to_find:
        record = run.record
        assert record is not None and record.detected is not None
        found = record.detected
        known = [value for value in found.voc.area.values() if value is not None]
        yield {
            "detector": title_of(run),
            **{f"measured_{name}": 100 * getattr(found, name) for name in ("ap", "ap50", "ap75")},
            "measured_voc_map": 100 * mean(known) if known else None,
            "n": found.n,
            **_here(record),
        }


def _classes(suite: Suite) -> Iterable[Row]:
    for run in suite.done:
        for one in measured(run).per_class:
            counted = {"n": one.n, "measured_errors": one.errors, "measured_error": one.error}
            yield {"method": title_of(run), "class": one.name, **counted, "run": f"{suite.name}/{run.name}"}


def _layers(suite: Suite) -> Iterable[Row]:
    learnt = [run.record for run in middle_runs(suite.done) if run.record]
    for row in layer_rows([*learnt, *suite.profiled, *suite.detectors]):
        layer = row.layer
        yield {
            "network": row.network,
            "place": row.place,
            "layer": layer.name,
            "output": row.shape or None,
            "counted_macs": layer.macs,
            "counted_params": layer.params,
            "counted_stored_values": layer.values if "values" in row.shares else None,
            "run": f"{suite.name}/{row.run}",
        }


def _challenge(suite: Suite) -> Iterable[Row]:
    for one in suite.challenge:
        entry = asdict(one)
        entry["published_top5_error"] = entry.pop("top5_error")
        yield {key: entry[key] for key in ("year", "name", "kind", "won", "published_top5_error")} | {
            key: entry[key] for key in ("protocol", "source", "url", "confidence")
        }


def _unfinished(suite: Suite) -> Iterable[Row]:
    for run in suite.runs:
        if run.record is None or run.record.status != "done":
            status = run.record.status if run.record else "missing"
            yield {"run": f"{suite.name}/{run.name}", "status": status, "reason": run.record and run.record.error}

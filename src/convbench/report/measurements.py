"""What `convbench measure` prints: a block for each network and batch size, the fastest engine first."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from convbench.report.comparison import BUSY

WIDE = 100  # columns from which on all figures are shown
STRIKING = 1.3  # times by which speed falls short of what the operations promise, from which on it is explained
SLOWER_CLOCK = 0.95
SMALL = 0.5  # percent of the time, below which layers are shown in one line
HEADINGS = {  # of a network's table -> whether the column is words
    "ms": False,
    "p95": False,
    "images/s": False,
    "x eager": False,
    "interval": True,
    "same": False,
    "MiB": False,
    "% of": False,
    "limit": True,
}
LEGEND = Text(
    "ms: of a batch, the median call. x eager: times faster, timed side by side. same: photographs with eager's "
    "answer, compared before timing. % of limit: how near to the least time that arithmetic or memory allow here.",
    "dim",
)
WIDE_ALONE = ("p95", "MiB")

Values = dict[str, Any]


def print_measurements(measured: Values, console: Console | None = None) -> None:
    """All of it: the machine, the networks, what to make of them, what disturbed, what was missing.

    measured: as `Measurements.to_dict` gives it
    """
    console = console or Console()
    _say(console, _machine_line(measured["machine"]))
    _say(console, LEGEND)
    for network, results in _blocks(measured):
        console.print()
        _print_block(console, network, results)
    lines = [explain(measured), *disturbances(measured), missing(measured["results"])]
    if any(lines):
        console.print()
    for line in filter(None, lines):
        _say(console, line)


def conclude(results: list[Values]) -> str:
    """One line on a network at one batch size: the fastest engine, how much it gains, how faithful, what is left."""
    done = _fastest_first(results)
    if not done:
        return "no engine gives eager's answers"
    first = done[0]
    if first["engine"] == "eager":
        said = "eager is fastest"
    else:
        times, interval = (first["ratio_to_eager"][key] for key in ("value", "interval"))
        sure = "" if interval and interval[0] > 1 else " (not surely)"
        said = (
            f"{first['engine']} is fastest: {times:.1f} times eager{sure}, same answers on {_same(first['fidelity'])}"
        )
        said += " photographs"
    placed = first["roofline"]
    return f"{said}, {placed['percent']:.0f} % of what this machine can do" if placed else said


def explain(measured: Values) -> str:
    """Why a network with fewer multiply-adds is slower, or less faster than they promise: the most striking pair.

    "" where every network is about as much faster as its multiply-adds are fewer.
    """
    networks = {one["network"]: one for one in measured["networks"]}
    pairs = [
        (_gap(networks, small, large), small, large)
        for small in measured["results"]
        for large in measured["results"]
        if _comparable(small, large) and networks[small["network"]]["macs"] < networks[large["network"]]["macs"]
    ]
    if not pairs or max(pairs, key=_first)[0] < STRIKING:
        return ""
    _, small, large = max(pairs, key=_first)
    one, other = (networks[result["network"]] for result in (small, large))
    here, there = small["roofline"], large["roofline"]
    faster = large["latency_ms"]["p50"] / small["latency_ms"]["p50"]
    speed = f"only {faster:.1f} times faster" if faster >= 1 else f"{1 / faster:.1f} times slower"
    return (
        f"Why {one['network']} is {speed} than {other['network']} with {other['macs'] / one['macs']:.1f} times fewer "
        f"multiply-adds ({small['engine']}, batch of {small['batch_size']}): it does {here['intensity']:.0f} "
        f"operations for each byte that it moves ({other['network']} {there['intensity']:.0f}), so memory sets "
        f"{here['memory_percent']:.0f} % of the least time that it could take ({there['memory_percent']:.0f} %); its "
        f"work is in {one['product_layers']} layers ({other['product_layers']}), and it gets "
        f"{here['percent_of_matrix']:.0f} % out of the arithmetic limit ({there['percent_of_matrix']:.0f} %)."
    )


def disturbances(measured: Values) -> list[str]:
    """Lines on what may have spoilt the times: other work, a slower clock, drift, a warm-up that did not end."""
    machine, done = measured["machine"], _fastest_first(measured["results"])
    load, lines = machine["load"], []
    if load["other"] is not None and load["other"] > BUSY:
        longer = load["stalled"] if load["stalled"] is not None else min(100, load["other"] * machine["cores"])
        lines.append(
            f"The machine was {load['other']:.0f} % busy with other work"
            + (f" ({load['steal']:.0f} % outside of it)" if load["steal"] >= 1 else "")
            + f"; ratios are paired and hold, milliseconds may be up to {longer:.0f} % too long, and limits too low."
        )
    drifts = [one["latency_ms"]["drift"] for one in done]
    if drifts and sum(drift > 0 for drift in drifts) > len(drifts) / 2:
        slower = median(drift for drift in drifts if drift > 0)
        before, after = load["mhz"] or (0, 0)
        cause = f": its clock fell from {before:,.0f} to {after:,.0f} MHz" if after < SLOWER_CLOCK * before else ""
        lines.append(f"The machine slowed down by {slower:.0f} % while it was measured{cause}.")
    else:
        lines += _named("drifted from the first third of its calls to the last", done, lambda one: one["drift"] != 0)
    return lines + _named("still got faster when its warm-up ended", done, lambda one: not one["warm"])


def missing(results: list[Values]) -> str:
    """The engines that are not on this machine, each with its reason, once."""
    reasons = {one["engine"]: one["reason"] for one in results if one["status"] == "missing"}
    return "Not here: " + "; ".join(f"{name} ({reason})" for name, reason in reasons.items()) if reasons else ""


def _machine_line(machine: Values) -> str:
    limits = machine["limits"]
    matrix = ", ".join(
        f"{name} {limits[f'matrix_{name}']:,.0f}" for name in ("fp32", "bf16", "int8") if limits[f"matrix_{name}"]
    )
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']:g} GiB. Its limits: {matrix} GFLOP/s; "
        f"memory {limits['copy_gib_per_s']:,.0f}, caches {limits['cache_gib_per_s']:,.0f} GiB/s"
    )


def _blocks(measured: Values) -> Iterable[tuple[Values, list[Values]]]:
    """(network, its results at one batch size), in the order measured."""
    for network in measured["networks"]:
        own = [one for one in measured["results"] if one["network"] == network["network"]]
        for batch_size in dict.fromkeys(one["batch_size"] for one in own):
            yield network, [one for one in own if one["batch_size"] == batch_size]


def _print_block(console: Console, network: Values, results: list[Values]) -> None:
    shape = "x".join(map(str, network["input_shape"]))
    about = f"{network['params'] / 1e6:.3g} M parameters, {network['macs'] / 1e9:.3g} G multiply-adds"
    title = Text(f"{network['network']}, batch of {results[0]['batch_size']}", "bold")
    _say(console, title.append(f": {shape}, {about}, {network['weights']} weights", "not bold"))
    _say(console, Text(conclude(results), "green"))
    done = _fastest_first(results)
    if done:
        console.print(_table(done, wide=console.width >= WIDE))
    for one in results:
        if one["status"] == "failed":
            _say(console, Text(f"{one['engine']} failed: {one['reason']}", "red"))
    for one in done:
        if one["layers"]:
            console.print()
            console.print(_layer_table(one, wide=console.width >= WIDE))


def _table(done: list[Values], *, wide: bool) -> Table:
    table = _plain_table()
    table.add_column("engine", no_wrap=True)
    for heading, left in HEADINGS.items():
        if wide or heading not in WIDE_ALONE:
            table.add_column(heading, justify="left" if left else "right", no_wrap=True)
    digits = 3 if done[0]["latency_ms"]["p50"] < 1 else 2 if done[0]["latency_ms"]["p50"] < 10 else 1
    for one in done:
        timing, ratio, placed, memory = (
            one[key] for key in ("latency_ms", "ratio_to_eager", "roofline", "peak_memory_mib")
        )
        interval = (
            "" if one["engine"] == "eager" or not ratio["interval"] else "{:.3g}-{:.3g}".format(*ratio["interval"])
        )
        cells = (
            f"{timing['p50']:,.{digits}f}",
            f"{timing['p95']:,.{digits}f}",
            f"{one['images_per_s']:,.{1 if one['images_per_s'] < 100 else 0}f}",
            f"{ratio['value']:.3g}",
            interval,
            _same(one["fidelity"]),
            f"{memory:,.0f}" if memory is not None else "",
            f"{placed['percent']:.0f}" if placed else "",
            placed["bound_by"] if placed else "",
        )
        shown = [cell for cell, heading in zip(cells, HEADINGS, strict=True) if wide or heading not in WIDE_ALONE]
        table.add_row(one["engine"], *shown)
    return table


def _layer_table(one: Values, *, wide: bool) -> Table:
    table = _plain_table()
    table.title, table.title_justify = f"{one['engine']}, layer by layer", "left"
    table.add_column("layer", overflow="fold")
    for heading in ("ms", "share %", "GFLOP/s", "ops/byte", "% of"):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in ("limit", "kind") if wide else ("limit",):
        table.add_column(heading, no_wrap=True)
    small = [layer for layer in one["layers"] if layer["share"] < SMALL]
    for layer in one["layers"]:
        if layer["share"] >= SMALL:
            table.add_row(layer["name"], *_layer_cells(layer), *([layer["kind"]] if wide else []))
    if small:
        ms, share = (sum(layer[key] for layer in small) for key in ("ms", "share"))
        table.add_row(f"{len(small)} smaller ones", f"{ms:.3f}", f"{share:.1f}")
    return table


def _layer_cells(layer: Values) -> tuple[str, ...]:
    cells, placed = (f"{layer['ms']:.3f}", f"{layer['share']:.1f}"), layer["roofline"]
    if not placed:
        return *cells, "", "", "", ""
    figures = (placed["attained_gflops"], placed["intensity"], placed["percent"])
    return *cells, *(f"{value:,.0f}" for value in figures), placed["bound_by"]


def _plain_table() -> Table:
    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")


def _fastest_first(results: list[Values]) -> list[Values]:
    return sorted((one for one in results if one["status"] == "ok"), key=lambda one: one["latency_ms"]["p50"])


def _comparable(small: Values, large: Values) -> bool:
    both = (small, large)
    same = all(small[key] == large[key] for key in ("engine", "batch_size"))
    return same and all(one["status"] == "ok" and one["roofline"] for one in both)


def _first(pair: tuple[float, Values, Values]) -> float:
    return pair[0]


def _gap(networks: Values, small: Values, large: Values) -> float:
    fewer = networks[large["network"]]["macs"] / networks[small["network"]]["macs"]
    return float(fewer * small["latency_ms"]["p50"] / large["latency_ms"]["p50"])


def _named(what: str, done: list[Values], chosen: Any) -> list[str]:
    named = [
        f"{one['network']} by {one['engine']}, batch of {one['batch_size']}"
        for one in done
        if chosen(one["latency_ms"])
    ]
    return [f"{'; '.join(named)}: {what}."] if named else []


def _same(fidelity: Values) -> str:
    return f"{round(fidelity['top1_agreement'] * fidelity['n'] / 100)} of {fidelity['n']}"


def _say(console: Console, text: str | Text) -> None:
    console.print(text, soft_wrap=False, highlight=False, markup=False)

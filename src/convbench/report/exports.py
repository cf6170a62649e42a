"""What `convbench export` prints: the file, how it was checked, what it reads and says, and how to load it."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

LOADING = {  # how to load the file, answer a batch, and read what it says of itself
    "onnx": """import onnxruntime
session = onnxruntime.InferenceSession({file!r})
scores = session.run(None, {{"images": images}})[0]
notes = session.get_modelmeta().custom_metadata_map""",
    "openvino": """import openvino
model = openvino.Core().read_model({file!r})
scores = openvino.compile_model(model, "CPU", {{"INFERENCE_PRECISION_HINT": "f32"}})(images)["scores"]
notes = model.get_rt_info("convbench").value""",
    "torch": """import torch
notes = {{"convbench.json": ""}}
net = torch.export.load({file!r}, extra_files=notes).module()
scores = net(images)""",
}


def print_export(exported: dict[str, Any]) -> None:
    """One screen of an `Exported` as plain values; the first line names the files."""
    files, notes, to = exported["files"], exported["notes"], exported["format"]
    print(f"wrote {' and '.join(files)}, {_megabytes(exported['bytes'])}")
    shape, classes = "x".join(map(str, exported["input_shape"])), notes["classes"]
    rows = {
        "checked": checked(exported),
        "images": f"float32, n x {shape}, any n",
        "prepared": notes["preparation"],
        "scores": f"float32, n x {exported['outputs']}, as the network gives them",
        "classes": f"{len(classes):,}: {', '.join(classes[:3])}, ..." if classes else "not known",
        "caution": notes.get("caution", ""),
        "notes": "the file itself says all of this, as JSON",
    }
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows.items():
        if value:
            table.add_row(Text(name, "bold"), Text(value))
    Console().print(table)
    print(f"\n{LOADING[to].format(file=files[0])}")


def checked(exported: dict[str, Any]) -> str:
    """What was compared with what, and how it came out, in a sentence."""
    library, check = exported["library"], exported["check"]
    if exported["precision"] != "int8":
        return (
            f"{library} gives eager's answer on {check['top1_agreement']:.0f} % of {check['n']} photographs, "
            f"its scores within {check['max_relative_error']:.1e} of their spread"
        )
    low, high = check["interval"]
    loss = f"{library}: {check['loss']:z.1f} points of top-1 lost (95 %: {low:z.1f} to {high:z.1f})"
    if check["top1"] is None:
        return f"{loss} on {check['n']} crops of photographs, by fp32's own probabilities"
    return f"{loss} on {check['n']:,} images: {check['top1']:.1f} % beside {check['top1_fp32']:.1f} %"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB" if size >= 1e5 else f"{size / 1e3:,.1f} kB"

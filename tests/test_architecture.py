"""Imports point one way, and torch is loaded only when something computes."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import convbench

ROOT = Path(convbench.__file__).parent
FOUNDATION = {
    "errors",
    "files",
    "modes",
    "notebook",
    "processor",
    "progress",
    "randomness",
    "schema",
    "standing",
    "workers",
    "classifier",
}  # single files that anyone may import

ALLOWED = {  # part -> the parts that it may import, at any depth of its code
    "errors": set[str](),
    "files": {"errors"},
    "modes": set[str](),
    "notebook": set[str](),
    "progress": set[str](),
    "processor": set[str](),
    "randomness": set[str](),
    "schema": {"errors"},
    "standing": {"errors", "files"},
    "workers": set[str](),
    "classifier": {"data"},
    "layers": {"errors"},
    "activations": {"errors"},
    "data": FOUNDATION - {"classifier"},
    "models": {"errors", "layers"},
    "weights": {"errors", "files", "layers", "models"},
    "counting": FOUNDATION | {"activations"},
    "timing": FOUNDATION | {"counting", "data"},
    "evaluation": FOUNDATION | {"activations", "data"},
    "training": FOUNDATION | {"data", "evaluation", "layers"},
    "explain": FOUNDATION | {"activations", "counting", "data", "evaluation", "timing"},
    "detection": FOUNDATION | {"counting", "data", "evaluation", "layers", "models", "training"},
    "rivals": FOUNDATION | {"data"},
    "claims": FOUNDATION | {"models", "counting", "detection"},
    "bench": FOUNDATION
    | {"models", "weights", "counting", "claims", "timing", "data", "evaluation", "training", "rivals", "explain"}
    | {"detection"},
    "report": FOUNDATION - {"classifier", "modes"},
    "web": FOUNDATION
    | {
        "models",
        "counting",
        "claims",
        "data",
        "explain",
        "rivals",
        "detection",
        "bench",
        "report",
    },  # calls the library
}

COMMAND_LINE = {"cli", "cli_detect", "cli_explain", "cli_options", "completion"}


def parts() -> list[str]:
    """The packages and modules of convbench, one level deep."""
    return sorted(path.stem for path in ROOT.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists())


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def imports_below(node: ast.AST, *, functions: bool) -> Iterator[str]:
    """Modules imported below `node`, in functions too where asked for; what only type checkers see is left out."""
    for child in ast.iter_child_nodes(node):
        if is_type_checking(child):
            continue
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and not functions:
            continue
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, "imports are absolute"
            assert child.module is not None
            yield child.module
            yield from (f"{child.module}.{alias.name}" for alias in child.names if child.module == "convbench")
        else:
            yield from imports_below(child, functions=functions)


def imported_by(part: str, *, functions: bool) -> dict[Path, set[str]]:
    """For each file of a part, the modules that it imports."""
    place = ROOT / part
    files = sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]
    assert files
    return {file: set(imports_below(ast.parse(file.read_text()), functions=functions)) for file in files}


def parts_imported_by(part: str, *, functions: bool = True) -> dict[str, str]:
    """Each other part of convbench that `part` imports, with a file that does."""
    return {
        module.split(".")[1]: str(file.relative_to(ROOT))
        for file, modules in imported_by(part, functions=functions).items()
        for module in modules
        if module.startswith("convbench.") and module.split(".")[1] != part
    }


@pytest.mark.parametrize("part", ALLOWED)
def test_imports_point_one_way(part: str) -> None:
    allowed = ALLOWED[part]
    if part == "report":  # a listing describes the data sets when asked to
        assert "data" not in parts_imported_by(part, functions=False)
        allowed = allowed | {"data"}
    wrong = {other: file for other, file in parts_imported_by(part).items() if other not in allowed}
    assert not wrong, f"{part} may import {sorted(allowed)} only"


def test_every_part_has_its_rule() -> None:
    assert set(parts()) == {*ALLOWED, "__init__", "__main__", *COMMAND_LINE}


def test_the_rules_have_no_circle() -> None:
    order, left = list[str](), {part: set(allowed) for part, allowed in ALLOWED.items()}
    left["data"] -= {"classifier"}
    while left:
        ready = [part for part, allowed in left.items() if allowed <= set(order)]
        assert ready, f"a circle among {sorted(left)}"
        order += ready
        left = {part: allowed for part, allowed in left.items() if part not in ready}


def test_report_reads_the_catalogue_alone() -> None:
    found = {module for modules in imported_by("report", functions=True).values() for module in modules}
    assert {module for module in found if module.startswith("convbench.data")} <= {
        "convbench.data",
        "convbench.data.catalogue",
    }
    assert not {module for module in found if module.split(".")[0] in {"torch", "sklearn", "torchvision"}}


def test_the_command_line_imports_errors_alone_before_a_command_runs() -> None:
    for part in COMMAND_LINE:
        assert set(parts_imported_by(part, functions=False)) <= {*COMMAND_LINE, "errors"}
    assert not parts_imported_by("completion")
    modules = set().union(*(imported_by(one, functions=False).popitem()[1] for one in COMMAND_LINE))
    assert not {module for module in modules if module.split(".")[0] in {"torch", "numpy", "pydantic", "altair"}}


def loaded_after(code: str) -> set[str]:
    """The modules in sys.modules of a fresh interpreter after `code`."""
    check = "import sys; print('LOADED', *sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{check}"], capture_output=True, text=True, check=True)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("LOADED ")]
    return set(line.split()[1:])


COMMAND = """
import sys
from convbench.cli import main
sys.argv = ["convbench", {arguments}]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
"""


@pytest.mark.parametrize(
    "code",
    [
        "import convbench; assert 'build' in dir(convbench)",
        "import convbench.models; convbench.models.names()",
        COMMAND.format(arguments="'--help'"),
        COMMAND.format(arguments="'models'"),
        COMMAND.format(arguments="'models', '--json'"),
        COMMAND.format(arguments="'train', '--help'"),
    ],
    ids=["import", "names", "--help", "models", "models --json", "train --help"],
)
def test_torch_is_not_loaded_for(code: str) -> None:
    heavy = {"torch", "torchvision", "sklearn", "scipy", "numpy", "altair", "pandas"}
    assert not heavy & loaded_after(code)


def test_public_names_are_where_the_package_says() -> None:
    for name in convbench.__all__:
        assert getattr(convbench, name).__name__.removeprefix("convbench.") == name
    with pytest.raises(AttributeError, match="has no attribute 'bild'"):
        _ = convbench.bild

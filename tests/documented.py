"""The documents' blocks and commands, and the real command line that understands them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import typer

from convbench.cli import app

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = (README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))


def blocks(text: str) -> list[tuple[str, str]]:
    """(kind, content) of each fenced block."""
    return re.findall(r"^```(\w+)\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def section(page: Path, title: str) -> str:
    """The text below a heading of the second level."""
    text = page.read_text().partition(f"## {title}\n")[2].partition("\n## ")[0]
    assert text, title
    return text


def commands(text: str) -> list[str]:
    """The lines that a reader types: those after a prompt, in blocks of a console."""
    return [line[2:] for kind, block in blocks(text) if kind == "console" for line in block.splitlines() if line]


def understand(line: str) -> tuple[str, dict[str, Any]]:
    """("detect train", its arguments and options by name) of a line that begins with convbench.

    What the command line does not understand raises what it raises there.
    """
    program, *said = shlex.split(line)
    assert program == "convbench", line
    command: Any = typer.main.get_command(app)
    context = command.make_context("convbench", said, resilient_parsing=False)
    names = list[str]()
    while hasattr(command, "resolve_command"):
        name, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        context = command.make_context(name, rest, parent=context)
        names.append(name)
    return " ".join(names), dict(context.params)

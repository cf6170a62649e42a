"""The networks: one paper, one file."""

from convbench.models.registry import build, names

__all__ = ["build", "names"]

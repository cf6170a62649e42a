"""The networks: one paper, one file."""

from convbench.models.registry import build, names, published_input

__all__ = ["build", "names", "published_input"]

"""Randomness as a function of the seed and the place where it is used, so that none of it has to be saved.

A training that was stopped anywhere goes on with the same random numbers, and so does one on more processes.
"""

from __future__ import annotations

import hashlib

import torch


def number(seed: int, *place: str | int) -> int:
    """63 random bits for a place, such as ("order", epoch): the same each time, independent of all other places'.

    >>> number(0, "order", 1) == number(0, "order", 1) != number(0, "order", 2)
    True
    """
    digest = hashlib.sha256(repr((seed, *place)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(seed: int, *place: str | int) -> torch.Generator:
    """A fresh generator for a place."""
    return torch.Generator().manual_seed(number(seed, *place))

"""Errors meant for the person at the keyboard: one line, what was expected, what was found, the nearest choice."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ConvbenchError(Exception):
    """The work failed (exit code 1): a corrupt file, a full disk, a training that diverged."""

    exit_code = 1


class RequestError(ConvbenchError):
    """The request was wrong (exit code 2): an unknown name, a value out of range, a folder that is not there."""

    exit_code = 2


def reason_of(error: ConvbenchError) -> str:
    """What an error on an image says, for where the file that it lies in is named instead.

    >>> reason_of(RequestError("the image: expected RGB, found audio"))
    'expected RGB, found audio'
    """
    return str(error).removeprefix("the image: ")


def unknown(what: str, name: str, valid: Iterable[str]) -> RequestError:
    """The error for a name that is not among `valid`: it names the nearest ones, or all when there are few.

    >>> str(unknown("network", "lenet6", ["lenet1", "lenet4", "lenet5", "mlp_300"]))
    "unknown network 'lenet6': nearest are lenet5, lenet4, lenet1"
    """
    names = sorted(valid)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if near:
        hint = f"nearest {'is' if len(near) == 1 else 'are'} {', '.join(near)}"
    elif len(names) <= 12:
        hint = f"valid {'is' if len(names) == 1 else 'are'} {', '.join(names) or 'none'}"
    else:
        hint = f"there are {len(names)}, such as {', '.join(names[:6])}"
    return RequestError(f"unknown {what} '{name}': {hint}")

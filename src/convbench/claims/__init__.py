"""The audit: every number of the deck and of the papers beside what the networks here really count."""

from convbench.claims.check import ClaimResult, FigureResult, check_claims, check_figures, check_totals
from convbench.claims.trials import Decision, Trial, read_trials

__all__ = [
    "ClaimResult",
    "Decision",
    "FigureResult",
    "Trial",
    "check_claims",
    "check_figures",
    "check_totals",
    "read_trials",
]

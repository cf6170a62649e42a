"""The audit: every number of the deck and of the papers beside what the networks here really count."""

from convbench.claims.check import ClaimResult, FigureResult, check_claims, check_figures, check_totals

__all__ = ["ClaimResult", "FigureResult", "check_claims", "check_figures", "check_totals"]

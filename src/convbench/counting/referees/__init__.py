"""The other counters of a network's operations, each with its rule, and what sets it apart from the count here."""

from convbench.counting.referees.comparison import REFEREES, Comparison, Difference, Opinion, Referee, compare

__all__ = ["REFEREES", "Comparison", "Difference", "Opinion", "Referee", "compare"]

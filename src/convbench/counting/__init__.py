"""What a network costs, counted exactly."""

from convbench.counting.conventions import CONVENTIONS, Convention, open_convention
from convbench.counting.receptive import ReceptiveField
from convbench.counting.rows import Cost, Row
from convbench.counting.trace import trace

__all__ = ["CONVENTIONS", "Convention", "Cost", "ReceptiveField", "Row", "open_convention", "trace"]

"""What a network costs, counted exactly."""

from convbench.counting.trace import Cost, Row, trace

__all__ = ["Cost", "Row", "trace"]

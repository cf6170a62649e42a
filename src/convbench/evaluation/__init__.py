"""From scores to errors, the same for networks and rivals."""

from convbench.evaluation.result import Result, evaluate, result_from_scores, wilson_interval
from convbench.evaluation.scoring import score_images

__all__ = ["Result", "evaluate", "result_from_scores", "score_images", "wilson_interval"]

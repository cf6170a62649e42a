"""From scores to errors, the same for networks and rivals: by crops, class by class, in ensembles, on features."""

from convbench.evaluation.crops import CROPS
from convbench.evaluation.ensemble import mean_probabilities
from convbench.evaluation.per_class import PerClass, per_class
from convbench.evaluation.probe import Probe, linear_probe
from convbench.evaluation.result import Result, evaluate, result_from_scores, wilson_interval
from convbench.evaluation.scoring import score_images

__all__ = [
    "CROPS",
    "PerClass",
    "Probe",
    "Result",
    "evaluate",
    "linear_probe",
    "mean_probabilities",
    "per_class",
    "result_from_scores",
    "score_images",
    "wilson_interval",
]

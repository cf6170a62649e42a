"""Weights in and out: our own, other libraries', converted, folded."""

from convbench.weights.folding import fold_batch_norm
from convbench.weights.loading import load_file, load_weights, read_metadata, save_weights

__all__ = ["fold_batch_norm", "load_file", "load_weights", "read_metadata", "save_weights"]

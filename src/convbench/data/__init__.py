"""Data sets in memory, their preprocessing and their distortion."""

from convbench.data.catalogue import DATASETS
from convbench.data.dataset import Dataset
from convbench.data.datasets import open_dataset
from convbench.data.distort import Distortion
from convbench.data.preprocessing import Preprocessing

__all__ = ["DATASETS", "Dataset", "Distortion", "Preprocessing", "open_dataset"]

"""Data sets in memory, their preprocessing and their distortion."""

from convbench.data.catalogue import DATASETS
from convbench.data.dataset import Dataset
from convbench.data.datasets import open_dataset, open_splits
from convbench.data.distort import Distortion
from convbench.data.imagenet import imagenet_classes
from convbench.data.preprocessing import Preprocessing

__all__ = ["DATASETS", "Dataset", "Distortion", "Preprocessing", "imagenet_classes", "open_dataset", "open_splits"]

"""Data sets in memory and in files, their check, their preprocessing and their distortion."""

from convbench.data.catalogue import DATASETS
from convbench.data.check import DataCheck, check_data
from convbench.data.dataset import Dataset
from convbench.data.datasets import open_dataset, open_photographs, open_splits
from convbench.data.distort import Distortion
from convbench.data.folder import PhotographSet
from convbench.data.imagenet import imagenet_classes
from convbench.data.preprocessing import Preprocessing

__all__ = [
    "DATASETS",
    "DataCheck",
    "Dataset",
    "Distortion",
    "PhotographSet",
    "Preprocessing",
    "check_data",
    "imagenet_classes",
    "open_dataset",
    "open_photographs",
    "open_splits",
]

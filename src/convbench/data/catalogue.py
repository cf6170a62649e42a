"""The data sets that go by a name: what they are, where their files lie, and how they hash."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Description:
    """What is known of a data set before it is opened.

    train, test: numbers of images; a split with none does not exist
    shape: of one image: channels, height, width; 0 where photographs differ
    classes: their names; empty where they are not listed here
    source: where it was published
    folders: where its files may lie below a data folder
    files: split -> (name of file, md5 of its uncompressed content), in the order in which they are read
    torchvision: the name of the class in `torchvision.datasets` that downloads it; empty where it cannot be downloaded
    shorter: see `Dataset`
    unlisted: how many classes there are where they are not listed
    """

    title: str
    train: int
    test: int
    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    licence: str
    source: str
    folders: tuple[str, ...] = ()
    files: Mapping[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    torchvision: str = ""
    shorter: int | None = None
    unlisted: int = 0

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.classes) or self.unlisted

    @property
    def in_files(self) -> bool:
        """Whether it is photographs of any size, which stay in their files until they are needed."""
        return self.shape[1] == 0

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that there are."""
        return tuple(split for split, n in (("train", self.train), ("test", self.test)) if n)


DIGITS = tuple("0123456789")

DATASETS = {
    "digits": Description(
        title="Handwritten digits of 13 writers (UCI optdigits, test half), embedded in scikit-learn",
        train=1201,
        test=596,
        shape=(1, 8, 8),
        classes=DIGITS,
        licence="CC BY 4.0",
        source="https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits",
    ),
    "mnist": Description(
        title="MNIST handwritten digits (LeCun, Cortes & Burges 1998)",
        train=60_000,
        test=10_000,
        shape=(1, 28, 28),
        classes=DIGITS,
        licence="none stated by its authors",
        source="http://yann.lecun.com/exdb/mnist/",
        folders=("MNIST/raw", "mnist", "."),
        files={
            "train": (
                ("train-images-idx3-ubyte", "6bbc9ace898e44ae57da46a324031adb"),
                ("train-labels-idx1-ubyte", "a25bea736e30d166cdddb491f175f624"),
            ),
            "test": (
                ("t10k-images-idx3-ubyte", "2646ac647ad5339dbf082846283269ea"),
                ("t10k-labels-idx1-ubyte", "27ae3e4e09519cfbb04c329615203637"),
            ),
        },
        torchvision="MNIST",
    ),
    "fashion-mnist": Description(
        title="Fashion-MNIST, articles of Zalando (Xiao, Rasul & Vollgraf 2017)",
        train=60_000,
        test=10_000,
        shape=(1, 28, 28),
        classes=(
            *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
            *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        ),
        licence="MIT",
        source="https://github.com/zalandoresearch/fashion-mnist",
        folders=("FashionMNIST/raw", "fashion-mnist", "."),
        files={
            "train": (
                ("train-images-idx3-ubyte", "f4a8712d7a061bf5bd6d2ca38dc4d50a"),
                ("train-labels-idx1-ubyte", "9018921c3c673c538a1fc5bad174d6f9"),
            ),
            "test": (
                ("t10k-images-idx3-ubyte", "8181f5470baa50b63fa0f6fddb340f0a"),
                ("t10k-labels-idx1-ubyte", "15d484375f8d13e6eb1aabb0c3f46965"),
            ),
        },
        torchvision="FashionMNIST",
    ),
    "cifar10": Description(
        title="CIFAR-10, tiny photographs (Krizhevsky 2009)",
        train=50_000,
        test=10_000,
        shape=(3, 32, 32),
        classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
        licence="none stated by its authors",
        source="https://www.cs.toronto.edu/~kriz/cifar.html",
        folders=("cifar-10-batches-py", "cifar10", "."),
        files={
            "train": (
                ("data_batch_1", "c99cafc152244af753f735de768cd75f"),
                ("data_batch_2", "d4bba439e000b95fd0a9bffe97cbabec"),
                ("data_batch_3", "54ebc095f3ab1f0389bbae665268c751"),
                ("data_batch_4", "634d18415352ddfa80567beed471001a"),
                ("data_batch_5", "482c414d41f54cd18b22e5b47cb7c3cb"),
            ),
            "test": (("test_batch", "40351d587109b95175f43aff81a1287e"),),
        },
        torchvision="CIFAR10",
    ),
    "imagenet-val": Description(
        title="ImageNet, 500 validation photographs of ILSVRC 2012 (Russakovsky et al. 2015), centre crops",
        train=0,
        test=500,
        shape=(3, 227, 227),
        classes=(),  # a thousand: see `imagenet_classes`
        licence="ImageNet's terms of access: research and education, not commercial",
        source="https://www.image-net.org/challenges/LSVRC/2012/",
        folders=("imagenet-val", "."),
        shorter=256,
        unlisted=1000,
    ),
    "imagenet": Description(
        title="ImageNet, ILSVRC 2012 (Russakovsky et al. 2015), photographs of any size, as given out",
        train=1_281_167,
        test=50_000,
        shape=(3, 0, 0),
        classes=(),  # see `imagenet_classes`
        licence="ImageNet's terms of access: research and education, not commercial",
        source="https://www.image-net.org/challenges/LSVRC/2012/",
        folders=("imagenet", "ImageNet", "ILSVRC2012", "imagenet-1k"),
        unlisted=1000,
    ),
    "imagenette": Description(
        title="Imagenette 2, ten easy classes of ImageNet (Howard 2019), photographs of any size",
        train=9469,
        test=3925,
        shape=(3, 0, 0),
        classes=(
            *("tench", "English springer", "cassette player", "chain saw", "church"),
            *("French horn", "garbage truck", "gas pump", "golf ball", "parachute"),
        ),
        licence="Apache 2.0; the photographs are ImageNet's",
        source="https://github.com/fastai/imagenette",
        folders=("imagenette", "imagenette2", "imagenette2-320", "imagenette2-160", "."),
    ),
    "stanford-dogs": Description(
        title="Stanford Dogs, 120 breeds of ImageNet (Khosla et al. 2011), photographs of any size",
        train=12_000,
        test=8_580,
        shape=(3, 0, 0),
        classes=(),
        licence="none stated by its authors; the photographs are ImageNet's",
        source="http://vision.stanford.edu/aditya86/ImageNetDogs/",
        folders=("stanford-dogs", "StanfordDogs", "stanford_dogs"),
        unlisted=120,
    ),
}

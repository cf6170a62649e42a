"""Where a figure's source can be opened: the address of the paper, or of the repository, that its text names."""

from __future__ import annotations

import re
from functools import cache

from convbench.schema import packaged, read_toml

RELEASES = {  # as sources name them -> their repository
    "BVLC Caffe": "BVLC/caffe",
    "TF-slim": "google-research/tf-slim",
    "convnet-burden": "albanie/convnet-burden",
    "torchvision": "pytorch/vision",
    "timm": "huggingface/pytorch-image-models",
    "Keras": "keras-team/keras",
}
REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
PAPER = re.compile(r"(?P<author>[^\W\d]+)\b.*?\b(?P<year>(19|20)\d\d)\b")


def address_of(source: str) -> str | None:
    """The address of what a source's text names first; None where the ledger knows none.

    >>> address_of("He, Zhang, Ren & Sun, CVPR 2016, table 2")
    'https://arxiv.org/abs/1512.03385'
    >>> address_of("KaimingHe/deep-residual-networks")
    'https://github.com/KaimingHe/deep-residual-networks'
    """
    if REPOSITORY.fullmatch(source):
        return f"https://github.com/{source}"
    for release, repository in RELEASES.items():
        if source.startswith(release):
            return f"https://github.com/{repository}"
    named = PAPER.match(source)
    arxiv = _papers().get((named["author"], int(named["year"]))) if named else None
    return f"https://arxiv.org/abs/{arxiv}" if arxiv else None


@cache
def _papers() -> dict[tuple[str, int], str]:
    """The arXiv identifiers of the ledger's papers by first author and year of publication, in which a venue ends."""
    papers = [read_toml(name, "published")[1].get("paper", {}) for name in packaged("published")]
    known = [paper for paper in papers if "arxiv" in paper]
    found = {
        (paper["authors"].replace(",", " ").split()[0], int(paper["venue"].split()[-1])): paper["arxiv"]
        for paper in known
    }
    assert len(found) == len(known), "two papers have the same first author and year"
    return found

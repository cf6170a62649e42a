"""What takes seconds to find of a network: its answers to a covered photograph, and units' strongest images."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from convbench import explain
from convbench.bench.explain import digest_of, grey_of
from convbench.bench.top9 import KEPT, Kept, Search, kept_unit
from convbench.explain import Occlusion
from convbench.explain.figure import as_bytes
from convbench.explain.projection import Method
from convbench.explain.top9 import mosaics, widest
from convbench.web.errands import Errands, Waiting
from convbench.web.explorer import Explorer
from convbench.web.photographs import Photograph, png_of
from convbench.web.recent import Recent
from convbench.web.seen import view
from convbench.web.trained import Choice, Trained

IMAGES = 300  # of the data set, among which the strongest are looked for
RESULTS = 48  # kept of each kind
SEARCHES = 4  # networks whose units' strongest images are known


@dataclass(frozen=True)
class Nine:
    """A unit's strongest images.

    among: where they were looked for, in words
    is_active: whether any image makes the unit answer
    projected, seen: PNGs of 3 x 3 projections and of the parts of the images that the unit saw
    """

    among: str
    method: str
    is_active: bool
    strongest: tuple[tuple[int, float], ...]
    projected: bytes
    seen: bytes


class Searched:
    """Looks with networks of its own, as those of what is quick are in use meanwhile."""

    def __init__(self, explorer: Explorer) -> None:
        settings = explorer.settings
        self.data, self.data_dir = settings.data, settings.data_dir
        self.trained, self._quick = Trained(settings.runs, settings.weights, kept=1), explorer.trained
        self._occlusions = Errands[Occlusion](explorer.slow, RESULTS)
        self._nines = Errands[Nine](explorer.slow, RESULTS)
        self._searches, self._digests = Recent[Search](SEARCHES), Recent[str](SEARCHES)

    async def occlusion(
        self, photograph: Photograph, network: str, layer: str | None, unit: int | None, target: int | None, steps: int
    ) -> Occlusion | Waiting:
        """What the network answers where a grey square covers the photograph; what `explain.occlusion` raises."""

        def work() -> Occlusion:
            loaded = self.trained.load(network)
            return explain.occlusion(
                *(loaded.net, view(loaded, photograph).image, layer, unit),
                target=target,
                steps=steps,
                grey=grey_of(loaded),
                classes=loaded.classes,
                engine="eager",  # to prepare a faster one takes longer than one photograph does
            )

        key = photograph.id, self.trained.version(network), layer, unit, target, steps
        return await self._occlusions.ask(key, work)

    def kept(self, choice: Choice, layer: str, unit: int, method: Method) -> Nine | None:
        """What `convbench explain top9` has kept with the run of these weights, by `method` rather than by another."""
        folder = choice.run and choice.run / KEPT
        if folder is None or not folder.is_dir():
            return None
        found = kept_unit(folder, self._digest(choice.id), layer, unit, method)
        return None if found is None else _of_kept(found)

    async def top9(self, network: str, layer: str, unit: int, method: Method) -> Nine | Waiting:
        """The strongest of some images of the server's data set."""
        key = self.trained.version(network), layer, unit, method
        return await self._nines.ask(key, partial(self._search, network, layer, unit, method))

    def _search(self, network: str, layer: str, unit: int, method: Method) -> Nine:
        assert self.data is not None
        loaded = self.trained.load(network)
        search = self._searches.get(self.trained.version(network), partial(Search, self.data, IMAGES, self.data_dir))
        (top,) = (found := search.unit(loaded, layer, unit, method)).units
        projected, seen = (png_of(as_bytes(one)) for one in mosaics(top, widest([found])))
        many = f"{len(search.source):,} of the {search.total:,} images" if len(search.source) < search.total else "all"
        strongest = tuple((search.place(one.index), one.projection.activation) for one in top.strongest)
        among = f"{many} of {search.data}’s {search.split} split"
        return Nine(among, method, top.is_active, strongest, projected, seen)

    def _digest(self, network: str) -> str:
        return self._digests.get(self._quick.version(network), lambda: digest_of(self._quick.load(network).net))


def _of_kept(found: Kept) -> Nine:
    strongest = tuple((int(one["index"]), float(one["activation"])) for one in found.strongest)
    projected, seen = (picture.read_bytes() for picture in found.pictures)
    among = f"all of {found.data}’s {found.split} split"
    return Nine(among, found.method, strongest[0][1] > 0, strongest, projected, seen)

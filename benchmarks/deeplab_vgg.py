"""Which builds of an SSD on "deeplab-VGG" have the parameters and multiply-adds of the MobileNet paper's table 13.

    python benchmarks/deeplab_vgg.py

The paper gives 33.1 million parameters and 34.9 thousand million multiply-adds for 300 pixels, and no layout. Layouts
that differ in what papers and releases differ in are counted by sums over their layers; the sum of ours is that of
`count_detector`. Prints one JSON line: how many there are, and those that have both figures, rounded or cut as the
paper does with others. Two figures of three digits are met by chance now and then: a build is an explanation only
where something else speaks for it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import product

PRINTED = {"params": 33.1, "macs": 34.9}  # millions, thousand millions
TRUNK = (  # inputs, outputs, side: VGG-16 up to conv3_3
    *((3, 64, 300), (64, 64, 300), (64, 128, 150), (128, 128, 150)),
    *((128, 256, 75), (256, 256, 75), (256, 256, 75)),
)
SSD = ((256, 512, 2), (128, 256, 2), (128, 256, 1), (128, 256, 1))  # 1x1, 3x3, stride; unpadded where 1
API = ((256, 512, 2), (128, 256, 2), (128, 256, 2), (64, 128, 2))
EXTRAS = {
    "SSD": SSD,
    "API": API,
    "SSD, one fewer": SSD[:3],
    "SSD, two fewer": SSD[:2],
    "API, one fewer": API[:3],
    "API, two fewer": API[:2],
    "API, one more": (*API, (64, 128, 2)),
    "SSD, strides of 2": (*SSD[:1], *3 * (SSD[1],)),
    "SSD, 256 wide": ((256, 256, 2), *SSD[1:]),
    "SSD, 128 and 256 wide": (SSD[1], *SSD[1:]),
    "API, from 256": (*2 * (API[1],), *2 * (API[3],)),
}
FULL = (  # fc6's window, the widths of fc6 and fc7
    *((3, 1024, 1024), (3, 512, 1024), (3, 1024, 512), (3, 512, 512), (3, 4096, 1024), (3, 4096, 4096)),
    *((1, 1024, 1024), (4, 1024, 1024), (7, 1024, 1024)),
)
TAPS = (("conv4_3", "fc7"), ("conv5_3", "fc7"), ("conv4_3", "conv5_3", "fc7"), ("fc7",), ("conv4_3",))
BOXES = ("466644", "466666", "366666", "666666", "444444", "555555", "333333", "466664")
BOXES += ("366644", "366633", "355555", "666644")  # on each of six maps; of more or fewer, the third's as often


@dataclass(frozen=True)
class Build:
    """boxes: at each place of each map; scores: of a box, the background's among them; window: of the heads"""

    fourth: int = 38
    full: tuple[int, int, int] = FULL[0]
    extras: str = "SSD"
    taps: tuple[str, ...] = TAPS[0]
    boxes: str = BOXES[0]
    scores: int = 81
    window: int = 3
    batch_norm: bool = False

    def count(self) -> tuple[int, int] | None:
        """(parameters, multiply-adds); None where the boxes are not of as many maps."""
        convs, maps = self.layers()
        if len(self.boxes) != len(maps) or min(side for _, side in maps) < 1:
            return None
        normed = 2 if self.batch_norm else 1
        weights = [(i * o * k * k, o, side) for i, o, k, side in convs]
        params = sum(weight + normed * outputs for weight, outputs, _ in weights)
        macs = sum(weight * side**2 for weight, _, side in weights)
        for (channels, side), boxes in zip(maps, self.boxes, strict=True):
            outputs = int(boxes) * (4 + self.scores)
            params += outputs * (channels * self.window**2 + 1)
            macs += outputs * channels * self.window**2 * side**2
        return params + 512, macs  # the scales of conv4_3's normalisation

    def layers(self) -> tuple[list[tuple[int, int, int, int]], list[tuple[int, int]]]:
        """Convolutions (inputs, outputs, window, side) up to the last extra layer; the maps' (channels, side)."""
        window, sixth, seventh = self.full
        fifth = (self.fourth + 1) // 2
        convs = [(i, o, 3, side) for i, o, side in TRUNK]
        convs += [(256, 512, 3, self.fourth), *2 * [(512, 512, 3, self.fourth)], *3 * [(512, 512, 3, fifth)]]
        convs += [(512, sixth, window, fifth), (sixth, seventh, 1, fifth)]
        tapped = {"conv4_3": (512, self.fourth), "conv5_3": (512, fifth), "fc7": (seventh, fifth)}
        maps, (channels, side) = [tapped[tap] for tap in self.taps], tapped["fc7"]
        for inner, outer, stride in EXTRAS[self.extras]:
            after = (side + 1) // 2 if stride == 2 else side - 2
            convs += [(channels, inner, 1, side), (inner, outer, 3, after)]
            channels, side = outer, after
            maps.append((channels, side))
        return convs, maps


OURS = Build()


def builds() -> Iterator[Build]:
    choices = product((37, 38), FULL, EXTRAS, TAPS, BOXES, (80, 81, 90, 91), (1, 3), (False, True))
    seen = set[Build]()
    for fourth, full, extras, taps, boxes, scores, window, batch_norm in choices:
        of_maps = boxes[:2] + boxes[2] * (len(taps) + len(EXTRAS[extras]) - 4) + boxes[-2:]
        build = Build(fourth, full, extras, taps, of_maps, scores, window, batch_norm)
        if build not in seen and build.count() is not None:
            seen.add(build)
            yield build


def meets(count: int, printed: float, unit: float) -> bool:
    """As printed, after rounding or cutting."""
    return printed in (round(count / unit, 1), int(10 * count / unit) / 10)


def search() -> tuple[int, list[dict[str, object]]]:
    """(how many builds there are, those that have both figures)."""
    found, total = list[dict[str, object]](), 0
    for build in builds():
        total += 1
        params, macs = build.count() or (0, 0)
        if meets(params, PRINTED["params"], 1e6) and meets(macs, PRINTED["macs"], 1e9):
            found.append({**asdict(build), "params": params, "macs": macs})
    return total, found


def main() -> None:
    total, found = search()
    ours = {f"{scores} scores": replace(OURS, scores=scores).count() for scores in (81, 91)}
    print(json.dumps({"builds": total, "ours": ours, "both": found}))


if __name__ == "__main__":
    main()

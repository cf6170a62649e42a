"""Photographs with boxes for tests: rectangles of plain colours, by which they are found in any picture."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = {"red": (220, 30, 30), "blue": (30, 30, 220)}
BACKGROUND = (128, 128, 128)


def write_rectangles(folder: Path, count: int, *, seed: int = 0, height: int = 90, width: int = 120) -> Path:
    """A folder in COCO's layout, train2000 and val2000, with two rectangles in each of `count` photographs of each."""
    chance = np.random.default_rng(seed)
    for split in ("train2000", "val2000"):
        (folder / split).mkdir(parents=True)
        images, rows = [], []
        for number in range(count):
            pixels = np.full((height, width, 3), BACKGROUND, np.uint8)
            images.append({"id": number + 1, "file_name": f"{number}.png", "height": height, "width": width})
            for half, (category, colour) in enumerate(enumerate(COLOURS.values(), start=3)):
                columns, lines = (int(side) for side in chance.integers(25, 45, 2))
                left = half * width // 2 + int(chance.integers(0, width // 2 - columns))
                top = int(chance.integers(0, height - lines))
                pixels[top : top + lines, left : left + columns] = colour
                rows.append(
                    {
                        "id": len(rows) + 1,
                        "image_id": number + 1,
                        "category_id": category,
                        "bbox": [left, top, columns, lines],
                        "area": columns * lines,
                        "iscrowd": 0,
                    }
                )
            Image.fromarray(pixels).save(folder / split / f"{number}.png")
        categories = [{"id": number, "name": name} for number, name in enumerate(COLOURS, start=3)]
        content = {"images": images, "annotations": rows, "categories": categories}
        (folder / "annotations").mkdir(exist_ok=True)
        (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    return folder

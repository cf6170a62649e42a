"""`data check`: every kind of bad and odd file, made with Pillow; copies, counts; the command and its exit code."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from convbench.data import PhotographSet, check_data, open_photographs
from convbench.data.check import _inspected
from convbench.errors import ConvbenchError, RequestError
from convbench.report.data_check import print_check


def noise(height: int, width: int, seed: int) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of eight photographs to learn, of six to test on; all good, all different."""
    for split, count in (("train", 8), ("val", 6)):
        for place, name in enumerate(("ant", "bee")):
            (tmp_path / split / name).mkdir(parents=True)
            for number in range(count):
                image = noise(100, 150 + 60 * place, 1000 * place + 10 * number + count)
                image.save(tmp_path / split / name / f"{number}.jpg", quality=90)
    return tmp_path


def png_of_size(width: int, height: int) -> bytes:
    """By hand (PNG specification, section 11.2.2): a header that claims so many pixels, and no data."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    end = b"IEND"
    chunks = [struct.pack(">I", len(one) - 4) + one + struct.pack(">I", zlib.crc32(one)) for one in (header, end)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def test_a_good_folder(folder: Path) -> None:
    (folder / "train/ant/notes.txt").write_text("beside")
    (folder / "train/ant/.hidden.txt").write_text("not counted")
    (folder / "train/LICENCE").write_text("beside")
    checked = check_data(folder)
    train, test = checked.splits["train"], checked.splits["test"]
    assert (train.n, test.n, train.per_class, train.balance) == (16, 12, {"ant": 8, "bee": 8}, 1.0)
    assert (train.bad, train.odd, checked.copies, checked.others) == ((), {}, (), {".txt": 1, "none": 1})
    assert train.shorter == {"64-127": 16}
    assert (train.median_megapixels, train.largest_megapixels, train.largest) == (0.021, 0.021, "bee/0.jpg")
    checked.require_few_bad()


BAD = {
    "empty.jpg": (b"", "found an empty file"),
    "text.png": (b"<html>not found</html>", "found no format that is known"),
    "bomb.png": (png_of_size(50_000, 50_000), "expected at most 89,478,485 pixels, found more"),
    "headless.png": (png_of_size(50, 50), "cannot be decoded"),
}


def test_every_kind_of_bad_file_is_listed_with_its_reason(folder: Path) -> None:
    bad = dict(BAD)
    whole = (folder / "train/ant/0.jpg").read_bytes()
    bad["cut.jpg"] = (whole[: len(whole) // 2], "cannot be decoded (image file is truncated")
    png = folder / "scratch.png"
    noise(40, 40, 7).save(png)
    content = bytearray(png.read_bytes())
    content[len(content) // 2] ^= 0xFF
    bad["flipped.png"] = (bytes(content), "cannot be decoded")
    png.unlink()
    for name, (content, _) in bad.items():
        (folder / "train/bee" / name).write_bytes(content)
    (folder / "train/bee/gone.jpg").symlink_to(folder / "nowhere.jpg")
    (folder / "train/bee/page.jpg").mkdir()
    checked = check_data(folder, max_bad_share=0.25)
    found = {Path(one.path).name: one.reason for one in checked.splits["train"].bad}
    assert set(found) == {*bad, "gone.jpg"}
    for name, (_, reason) in bad.items():
        assert reason in found[name] and "the image:" not in found[name]
    assert found["gone.jpg"] == "expected a readable file, found No such file or directory"
    assert all(Path(one.path).is_relative_to(folder) for one in checked.splits["train"].bad)
    assert checked.splits["train"].n == 16 + 7 and not checked.splits["test"].bad
    with pytest.raises(
        ConvbenchError, match=r"train: expected at most 25\.0% bad files, found 7 of 23: .*; and 2 more"
    ):
        checked.require_few_bad()
    check_data(folder, max_bad_share=7 / 23).require_few_bad()


def test_odd_files_are_read_and_counted(folder: Path) -> None:
    place = folder / "train/ant"
    noise(30, 40, 1).convert("CMYK").save(place / "press.jpg")
    noise(30, 40, 2).convert("L").save(place / "grey.jpg")
    noise(30, 40, 3).convert("P").save(place / "palette.png")
    Image.fromarray(np.arange(1200, dtype=np.uint16).reshape(30, 40)).save(place / "deep.png")
    clear = noise(30, 40, 4)
    clear.putalpha(128)
    clear.save(place / "clear.png")
    frames = [noise(30, 40, seed).quantize(64) for seed in (5, 6)]
    frames[0].save(place / "moving.gif", save_all=True, append_images=frames[1:])
    exif = Image.Exif()
    exif[0x0112] = 6
    noise(30, 300, 7).save(place / "turned.jpg", exif=exif)
    (place / "deep-colour.png").write_bytes(deep_colour_png())
    split = check_data(folder).splits["train"]
    assert not split.bad
    expected = {"CMYK": 1, "grey": 2, "palette": 2, "16-bit": 2, "transparent": 1, "animated": 1, "turned": 1}
    assert split.odd == expected
    assert split.shorter == {"1-63": 8, "64-127": 16}


def deep_colour_png() -> bytes:
    """By hand, since Pillow writes none: 40 x 30 pixels of 3 x 16 bits."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 40, 30, 16, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(b"".join(b"\0" + bytes(range(240)) for _ in range(30)))
    chunks = (
        struct.pack(">I", len(one) - 4) + one + struct.pack(">I", zlib.crc32(one)) for one in (header, data, b"IEND")
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def test_what_is_too_narrow_to_be_resized_is_bad_here_as_it_is_in_a_training(folder: Path) -> None:
    noise(10, 640, 1).save(folder / "val/ant/wide.jpg")
    line = folder / "val/ant/line.jpg"
    noise(2000, 10, 0).save(line)
    (bad,) = check_data(folder).splits["test"].bad
    reason = "expected sides within a factor of 64, found 2000x10; cut the image first"
    assert (bad.path, bad.reason) == (str(line), reason)
    with pytest.raises(ConvbenchError) as refused:
        open_photographs(folder, "test").readable()
    assert f"found 1 of 14: {line}: {reason}" in str(refused.value)


def test_copies_are_found_however_they_are_stored(folder: Path) -> None:
    image = noise(30, 40, 99)
    image.save(folder / "train/ant/first.png")
    image.save(folder / "val/ant/again.bmp")  # a leak
    image = noise(30, 40, 98)
    image.save(folder / "train/ant/one.png")
    image.save(folder / "train/bee/other.png", compress_level=1)  # a contradiction
    image = noise(30, 40, 97)
    image.save(folder / "val/bee/x.png")
    image.save(folder / "val/bee/y.png")
    image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(folder / "val/bee/z.png")  # another picture
    checked = check_data(folder)
    assert [one.files for one in checked.copies] == [
        ("train/ant/first.png", "test/ant/again.bmp"),
        ("train/ant/one.png", "train/bee/other.png"),
        ("test/bee/x.png", "test/bee/y.png"),
    ]
    assert checked.leaks == checked.copies[:1] and checked.contradictions == checked.copies[1:2]


def test_processes_find_the_same(folder: Path) -> None:
    (folder / "train/ant/empty.jpg").write_bytes(b"")
    assert check_data(folder, workers=2) == check_data(folder, workers=0)


class Deadly(PhotographSet):
    """Photographs whose decoder takes the process with it."""

    def open(self, i: int) -> bytes:
        os._exit(9)


def test_a_killed_process_is_an_error_that_says_where(tmp_path: Path) -> None:
    deadly = Deadly("bad", "train", tmp_path, ("a.jpg", "b.jpg"), torch.tensor([0, 0]), ("ant",), "nowhere")
    with pytest.raises(ConvbenchError, match=r"found a process killed on a\.jpg to b\.jpg"):
        list(_inspected((deadly,), 1))


def test_balance_and_empty_classes(folder: Path) -> None:
    for number in range(2, 8):
        (folder / f"train/bee/{number}.jpg").unlink()
    assert check_data(folder).splits["train"].balance == 4
    (folder / "train/cat").mkdir()
    assert check_data(folder).splits["train"].balance is None


def test_a_share_is_a_share(folder: Path) -> None:
    with pytest.raises(RequestError, match="from 0 to 1, found 5"):
        check_data(folder, max_bad_share=5)


def test_the_page_names_what_matters(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "train/ant/[b]empty.jpg").write_bytes(b"")
    noise(30, 40, 1).convert("L").save(folder / "train/ant/grey.png")
    (folder / "val/ant/leak.jpg").write_bytes((folder / "train/bee/3.jpg").read_bytes())
    print_check(check_data(folder).to_dict())
    page = capsys.readouterr().out
    for line in (
        "train: 18 photographs, 1 of them bad",
        "test: 13 photographs, all readable",
        "2 classes; the largest over the smallest: train 1.25, test 1.17",
        "leaks: the same pixels in training and test: 1",
        "  train/bee/3.jpg = test/ant/leak.jpg",
        "contradictions: the same pixels in two classes: 1",
        "bad files of train: 1, 5.56%",
        "/train/ant/[b]empty.jpg: expected an image, found an empty file",
    ):
        assert line in page
    assert max(map(len, page.splitlines())) < 200 and "█" in page


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "convbench", "data", *arguments]
    return subprocess.run(line, capture_output=True, text=True, check=False)


def test_the_command_fails_above_the_share_and_still_tells(folder: Path) -> None:
    (folder / "val/ant/empty.jpg").write_bytes(b"")
    done = command("check", str(folder), "--json")
    assert done.returncode == 1
    assert done.stderr.startswith(f"convbench: {folder.name} test: expected at most 0.1% bad files, found 1 of 13: ")
    told = json.loads(done.stdout)
    assert told["splits"]["test"]["bad"][0]["path"] == str(folder / "val/ant/empty.jpg")
    assert (told["splits"]["train"]["balance"], told["leaks"]) == (1.0, 0)
    assert command("check", str(folder), "--max-bad-share", "0.1").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("check",), "expected a folder, a name or a pattern of tar files after it"),
        (("mnist", "here"), "found mnist here"),
        (("check", "mnist"), "nearest: imagenet, imagenette, stanford-dogs"),
        (("check", "/nowhere/at/all"), "/nowhere/at/all, found nothing"),
    ],
)
def test_wrong_requests(arguments: tuple[str, ...], message: str) -> None:
    done = command(*arguments)
    assert done.returncode == 2 and message in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_folder_of_photographs_is_described(folder: Path) -> None:
    told = json.loads(command(str(folder), "--json").stdout)
    assert (told["train"]["n"], told["train"]["shape"], told["test"]["per_class"]) == (16, None, {"ant": 6, "bee": 6})
    assert "16 images of any size" in command(str(folder)).stdout


@pytest.mark.realdata
@pytest.mark.slow
def test_imagenette_is_whole(real_data: Path) -> None:
    checked = check_data("imagenette", data_dir=real_data)
    train, test = checked.splits["train"], checked.splits["test"]
    assert (train.n, test.n, train.bad, test.bad, checked.leaks) == (9469, 3925, (), (), ())
    modes = Counter[str]()
    for file in (real_data / "imagenette/val").rglob("*.*"):
        with Image.open(file) as image:
            modes[image.mode] += 1
    assert test.odd == {"grey": modes["L"]} and modes["L"] + modes["RGB"] == 3925

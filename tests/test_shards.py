"""WebDataset's tar files: written and read by webdataset itself, read in any order by us, fetched from a server."""

from __future__ import annotations

import http.server
import io
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
import webdataset
from PIL import Image

from convbench.data import open_dataset, open_photographs
from convbench.data.content import cache_folder
from convbench.errors import ConvbenchError, RequestError


def jpeg(shade: int) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (40 + shade % 3, 30), (shade, 0, 255 - shade)).save(content, "JPEG")
    return content.getvalue()


def write_shards(folder: Path, split: str, count: int) -> None:
    """Three photographs a shard, of classes 0, 1, 2 in turn."""
    folder.mkdir(parents=True, exist_ok=True)
    with webdataset.ShardWriter(str(folder / f"{split}-%03d.tar"), maxcount=3, verbose=0) as writer:
        for number in range(count):
            writer.write({"__key__": f"{split}{number:04d}", "jpg": jpeg(number), "cls": number % 3})


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    write_shards(tmp_path / "sharded", "train", 8)
    write_shards(tmp_path / "sharded", "val", 5)
    return tmp_path / "sharded"


def test_what_webdataset_reads_in_order_we_read_in_any(shards: Path) -> None:
    ours = open_photographs(shards, "train")
    pattern = str(shards / "train-{000..002}.tar")
    theirs = [(one["jpg"], int(one["cls"])) for one in webdataset.WebDataset(pattern, shardshuffle=False)]
    assert len(ours) == len(theirs) == 8
    for i in (7, 0, 3, 5, 1, 2, 6, 4):
        assert (ours.open(i), int(ours.labels[i])) == theirs[i]
    assert ours.files[4] == "train-001.tar/train0004.jpg" and ours.classes == ("0", "1", "2")
    part = ours.subset(torch.tensor([6, 2]))
    assert [part.open(i) for i in range(2)] == [theirs[6][0], theirs[2][0]]


def test_a_pattern_is_the_folder(shards: Path) -> None:
    for pattern in ("{train,val}-*.tar", "{train-{000..002},val-{000..001}}.tar", "*.tar"):
        if "*" in pattern and "{" in pattern:
            with pytest.raises(RequestError, match="found nothing"):  # braces name files, stars look for them
                open_photographs(str(shards / pattern), "test")
            continue
        for split in ("train", "test"):
            named, whole = open_photographs(str(shards / pattern), split), open_photographs(shards, split)
            assert (named.files, named.fingerprint) == (whole.files, whole.fingerprint)
    dataset = open_dataset(str(shards / "*.tar"), "test", stored=16)
    assert (dataset.name, len(dataset), dataset.images.shape[2:]) == ("sharded", 5, (16, 16))


def test_shards_for_testing_alone_have_their_own_classes(shards: Path) -> None:
    test = open_photographs(str(shards / "val-*.tar"), "test")
    assert (test.classes, test.labels.tolist()) == (("0", "1", "2"), [0, 1, 2, 0, 1])


def test_classes_may_have_names(shards: Path) -> None:
    (shards / "classes.txt").write_text("ant\nbee\ncat\n")
    assert open_photographs(shards, "test").classes == ("ant", "bee", "cat")
    with webdataset.TarWriter(str(shards / "val-009.tar")) as writer:
        writer.write({"__key__": "one", "png": Image.new("L", (9, 9)), "cls": "bee"})
        writer.write({"__key__": "a/two", "jpeg": jpeg(0), "cls": 2})
    test = open_photographs(shards, "test")
    assert (test.files[-2:], test.labels[-2:].tolist()) == (
        ("val-009.tar/one.png", "val-009.tar/a/two.jpeg"),
        [1, 2],
    )
    (shards / "classes.txt").write_text("ant\nbee\n")
    with pytest.raises(ConvbenchError, match=r"train0002\.jpg: expected one of 2 classes, such as ant, found '2'"):
        open_photographs(shards, "train")


def test_a_class_that_was_not_learnt_is_refused(shards: Path) -> None:
    with webdataset.TarWriter(str(shards / "val-009.tar")) as writer:
        writer.write({"__key__": "one", "jpg": jpeg(1), "cls": 3})
    with pytest.raises(ConvbenchError, match="expected one of 3 classes, such as 0, found '3'"):
        open_photographs(shards, "test")


def test_shards_without_splits_are_split_by_us(tmp_path: Path) -> None:
    write_shards(tmp_path, "part", 30)
    train, test = (open_photographs(tmp_path, split) for split in ("train", "test"))
    assert (train.labels.bincount().tolist(), test.labels.bincount().tolist()) == ([8] * 3, [2] * 3)
    assert "split by convbench" in test.source and not set(train.files) & set(test.files)
    assert Image.open(io.BytesIO(test.open(3))).getpixel((5, 5))[0] - int(test.files[3][-8:-4]) in range(-3, 4)


def test_splits_may_be_folders(tmp_path: Path) -> None:
    write_shards(tmp_path / "train", "part", 6)
    write_shards(tmp_path / "valid", "part", 3)
    assert [len(open_photographs(tmp_path, split)) for split in ("train", "test")] == [6, 3]
    for file in (tmp_path / "valid").iterdir():
        file.unlink()
    with pytest.raises(RequestError, match="expected shards with val or test or valid or validation in a name"):
        open_photographs(tmp_path, "test")


def test_damaged_shards_are_one_line(shards: Path) -> None:
    whole = (shards / "train-001.tar").read_bytes()
    (shards / "train-001.tar").write_bytes(whole[:2000])
    with pytest.raises(ConvbenchError, match=r"train-001\.tar: expected a whole tar file.*unexpected end of data"):
        open_photographs(shards, "train")
    (shards / "train-001.tar").write_bytes(b"no tar" * 1000)
    with pytest.raises(ConvbenchError, match=r"train-001\.tar: expected a whole tar file"):
        open_photographs(shards, "train")
    with tarfile.open(shards / "train-001.tar", "w") as tar:
        info = tarfile.TarInfo("lonely.jpg")
        info.size = 3
        tar.addfile(info, io.BytesIO(b"123"))
    with pytest.raises(ConvbenchError, match=r"expected lonely\.cls beside lonely\.jpg, found none"):
        open_photographs(shards, "train")


@pytest.fixture
def server(shards: Path) -> Iterator[str]:
    """The shards by HTTP; `cut-train-000.tar` breaks off, `page-train.tar` is none."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

        def do_GET(self) -> None:
            if "cut" in self.path:
                self.send_response(200)
                self.send_header("Content-Length", "1000000")
                self.end_headers()
                self.wfile.write((shards / "train-000.tar").read_bytes()[:4000])
            elif "page" in self.path:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"<html>log in first</html>")
            else:
                super().do_GET()

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(shards))) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_address[1]}"
        serving.shutdown()


def test_shards_elsewhere_are_fetched_once(shards: Path, server: str) -> None:
    here = open_photographs(shards, "train")
    there = open_photographs(f"{server}/train-{{000..002}}.tar", "train")
    assert [there.open(i) for i in range(8)] == [here.open(i) for i in range(8)]
    assert there.root.is_relative_to(cache_folder()) and there.fingerprint == here.fingerprint
    for file in shards.iterdir():
        file.unlink()
    assert open_photographs(f"{server}/train-{{000..002}}.tar", "train").files == here.files


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cut-train-000.tar", "expected a shard that can be fetched"),
        ("page-train.tar", "expected a tar file, found something else"),
        ("missing-train.tar", "expected a shard that can be fetched"),
    ],
)
def test_what_cannot_be_fetched_whole_leaves_nothing(server: str, name: str, message: str) -> None:
    with pytest.raises(ConvbenchError, match=message) as caught:
        open_photographs(f"{server}/{name}", "train")
    assert "\n" not in str(caught.value)
    assert not [path for path in cache_folder().rglob("*") if name in path.name]


def test_without_the_package_it_is_named(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "webdataset", None)
    assert len(open_photographs(shards, "train")) == 8
    with pytest.raises(RequestError, match=r"pip install 'convbench\[cluster\]'"):
        open_photographs(str(shards / "train-{000..002}.tar"), "train")

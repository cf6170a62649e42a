"""Weights and whole files: a round trip, every mismatch named, nothing executed, nothing lost on a full disk."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from convbench.errors import ConvbenchError, RequestError
from convbench.files import make_folder, write_json, write_whole
from convbench.models import build
from convbench.weights import load_weights, read_metadata, save_weights
from convbench.weights.conventions import conventions_of

METADATA = {"network": "lenet1", "classes": ["a", "é"], "preprocessing": {"pad": 2, "low": -0.1, "crop": None}}


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    save_weights(build("lenet1"), tmp_path / "weights.safetensors", METADATA)
    return tmp_path / "weights.safetensors"


@pytest.mark.parametrize("name", ["lenet1", "lenet5", "lenet5_relu", "mlp_300", "resnet20", "mobilenet_v1_025"])
def test_round_trip(name: str, tmp_path: Path) -> None:
    net, other, path = build(name), build(name), tmp_path / "w.safetensors"
    save_weights(net, path, METADATA)
    assert load_weights(other, path) == METADATA | {"conventions": conventions_of(net)} == read_metadata(path)
    for key, tensor in net.state_dict().items():
        assert torch.equal(other.state_dict()[key], tensor), key


def test_safetensors_own_reader_reads_them(weights: Path) -> None:
    torch.manual_seed(0)
    expected, found = build("lenet1").state_dict(), safetensors.torch.load_file(weights)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in expected)


def test_layout_in_memory_does_not_matter(tmp_path: Path) -> None:
    net, other, path = build("lenet5_relu"), build("lenet5_relu"), tmp_path / "w.safetensors"
    save_weights(net.to(memory_format=torch.channels_last), path, {})
    load_weights(other, path)
    assert torch.equal(other.get_parameter("c3.weight"), net.get_parameter("c3.weight"))


def test_files_of_other_programs_carry_no_metadata_of_ours(tmp_path: Path) -> None:
    for number, metadata in enumerate((None, {"format": "pt"})):
        path = tmp_path / f"{number}.safetensors"
        safetensors.torch.save_file(build("lenet1").state_dict(), path, metadata)
        assert load_weights(build("lenet1"), path) == read_metadata(path) == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("c3.bias"), "c3.bias is missing"),
        (lambda state: state.update(extra=torch.zeros(1)), "extra is unknown"),
        (
            lambda state: state.update({"output.weight": torch.zeros(4, 192)}),
            r"output.weight is \(4, 192\), expected \(10, 192\)",
        ),
    ],
)
def test_mismatches_are_named_and_nothing_is_loaded(change: Any, message: str, tmp_path: Path) -> None:
    state = dict(build("lenet1").state_dict())
    change(state)
    safetensors.torch.save_file(state, tmp_path / "w.safetensors")
    net = build("lenet1")
    before = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    with pytest.raises(RequestError, match=f"does not fit LeNet: {message}$"):
        load_weights(net, tmp_path / "w.safetensors")
    assert all(torch.equal(tensor, before[key]) for key, tensor in net.state_dict().items())


def test_many_mismatches_are_still_one_line(weights: Path) -> None:
    with pytest.raises(RequestError, match=r"and [0-9]+ more$") as caught:
        load_weights(build("mlp_300"), weights)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_no_file_is_one_line(tmp_path: Path) -> None:
    for path in (tmp_path / "none.safetensors", tmp_path):
        with pytest.raises(RequestError, match=r"no weights at .*: expected a \.safetensors file, \.npz, "):
            load_weights(build("lenet1"), path)


@pytest.mark.parametrize("kept", [0, 4, 100, -1])
def test_a_truncated_file_is_one_line(weights: Path, kept: int) -> None:
    weights.write_bytes(weights.read_bytes()[:kept])
    for read in (lambda: load_weights(build("lenet1"), weights), lambda: read_metadata(weights)):
        with pytest.raises(ConvbenchError, match="is not a whole safetensors file") as caught:
            read()
        assert "\n" not in str(caught.value)


# Whole files


def full_disk(descriptor: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_failed_write_keeps_the_old_file(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = weights.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full_disk)
        with pytest.raises(ConvbenchError, match=r"cannot write .*weights\.safetensors: No space left on device"):
            save_weights(build("mlp_300"), weights, {})
    assert weights.read_bytes() == before
    assert list(weights.parent.iterdir()) == [weights], "the half-written file is gone"


def test_the_new_file_appears_only_when_it_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, seen = tmp_path / "file", list[bytes]()
    path.write_bytes(b"old")

    def watch(descriptor: int) -> None:
        seen.append(path.read_bytes())

    monkeypatch.setattr(os, "fsync", watch)
    write_whole(path, b"new")
    assert seen == [b"old"] and path.read_bytes() == b"new"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB."""
    folder = make_folder(tmp_path / "disk")
    try:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if mounted.returncode:
        pytest.skip(f"mounting a small disk is not permitted: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_disk_that_is_full(small_disk: Path) -> None:
    net, path = build("lenet1"), small_disk / "w.safetensors"
    save_weights(net, path, METADATA)
    with pytest.raises(
        ConvbenchError, match=r"cannot write .*: No space left on device; what was there before is kept"
    ):
        save_weights(build("mlp_300"), path, {})
    assert load_weights(build("lenet1"), path) == METADATA | {"conventions": {}}
    assert [one.name for one in small_disk.iterdir()] == ["w.safetensors"]


def test_a_folder_below_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(RequestError, match=r"cannot make the folder .*: Not a directory; name one that can be written"):
        make_folder(tmp_path / "file" / "folder")


def test_a_folder_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConvbenchError, match=r"cannot write .*: No such file or directory"):
        write_whole(tmp_path / "none" / "file", b"")


def test_json_is_refused_where_it_would_not_be_json(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"é": [1, None]})
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == '{\n "é": [\n  1,\n  null\n ]\n}\n'
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", float("nan"))
    assert '"é"' in (tmp_path / "a.json").read_text(encoding="utf-8")


def test_a_file_is_replaced_by_a_new_one_not_written_over(tmp_path: Path) -> None:
    """Whoever holds the old file goes on seeing it whole, and nothing stays beside the new one."""
    path, held = tmp_path / "file", tmp_path / "held"
    write_whole(path, b"old")
    held.hardlink_to(path)
    write_whole(path, b"new")
    assert (held.read_bytes(), path.read_bytes()) == (b"old", b"new")
    assert sorted(child.name for child in tmp_path.iterdir()) == ["file", "held"]

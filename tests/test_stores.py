"""Shards in object stores: real clients, and servers on this machine that speak the stores' protocols."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from convbench.data import open_photographs, stores
from convbench.data.content import cache_folder
from convbench.errors import ConvbenchError, RequestError
from test_shards import write_shards

PAGE = b"<html>log in first</html>"


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    write_shards(tmp_path / "sharded", "train", 8)
    write_shards(tmp_path / "sharded", "val", 5)
    return tmp_path / "sharded"


@pytest.fixture
def s3(shards: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The shards in a bucket of moto's server, which the environment names, as it does for other stores.

    A bucket of its own for each test: what was fetched stays in the cache under its address.
    """
    server_of = pytest.importorskip("moto.server", reason="needs moto, of the extra dev")
    boto3 = pytest.importorskip("boto3", reason="needs boto3, of the extra cluster")
    server = server_of.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    client, bucket = boto3.client("s3"), f"photographs-{secrets.token_hex(4)}"
    client.create_bucket(Bucket=bucket)
    for path in shards.iterdir():
        client.upload_file(str(path), bucket, f"some/where/{path.name}")
    client.put_object(Bucket=bucket, Key="some/where/page-train.tar", Body=PAGE)
    yield f"s3://{bucket}/some/where"
    server.stop()


@pytest.fixture
def gs(shards: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The shards in a bucket of an emulator of Google's store, which the environment names."""
    emulator = pytest.importorskip("gcp_storage_emulator.server", reason="needs gcp-storage-emulator, of the extra dev")
    storage = pytest.importorskip("google.cloud.storage", reason="needs google-cloud-storage, of the extra cluster")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = emulator.create_server("127.0.0.1", port, in_memory=True)
    server.start()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "somebody")
    bucket = storage.Client.create_anonymous_client().create_bucket(f"photographs-{secrets.token_hex(4)}")
    for path in shards.iterdir():
        bucket.blob(f"some/where/{path.name}").upload_from_filename(str(path))
    bucket.blob("some/where/page-train.tar").upload_from_string(PAGE)
    yield f"gs://{bucket.name}/some/where"
    server.stop()


@pytest.fixture(params=["s3", "gs"])
def bucket(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


def test_a_bucket_is_the_folder(shards: Path, bucket: str) -> None:
    for split, pattern in (("train", "train-{000..002}.tar"), ("test", "{train-{000..002},val-{000..001}}.tar")):
        here, there = open_photographs(shards, split), open_photographs(f"{bucket}/{pattern}", split)
        assert (there.files, there.fingerprint, there.classes) == (here.files, here.fingerprint, here.classes)
        assert [there.open(i) for i in range(len(here))] == [here.open(i) for i in range(len(here))]
        assert there.root.is_relative_to(cache_folder())


def test_a_bucket_that_is_open_to_everybody_needs_no_credentials(
    s3: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import boto3

    name, _, folder = s3.removeprefix("s3://").partition("/")
    boto3.client("s3").put_object_acl(Bucket=name, Key=f"{folder}/val-000.tar", ACL="public-read")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    assert len(open_photographs(f"{s3}/val-000.tar", "test")) == 3
    with pytest.raises(ConvbenchError, match=r"val-001\.tar: .* found .*403"):
        open_photographs(f"{s3}/val-001.tar", "test")


def test_the_command_reads_from_a_bucket(bucket: str) -> None:
    name = f"{bucket}/{{train-{{000..002}},val-{{000..001}}}}.tar"
    command = [sys.executable, "-m", "convbench", "data", "check", name, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ), check=False)
    assert done.returncode == 0, done.stderr
    assert [part["n"] for part in json.loads(done.stdout)["splits"].values()] == [8, 5]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing-train.tar", r"missing-train\.tar: expected a shard that can be fetched, found .*404"),
        ("page-train.tar", "expected a tar file, found something else"),
    ],
)
def test_what_is_no_shard_is_one_line(bucket: str, name: str, message: str) -> None:
    with pytest.raises(ConvbenchError, match=message) as caught:
        open_photographs(f"{bucket}/{name}", "train")
    assert "\n" not in str(caught.value)
    assert not [path for path in cache_folder().rglob("*") if name in path.name]


def test_a_store_that_does_not_answer_is_one_line(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(ConvbenchError, match=r'val-001\.tar: .*Could not connect to the endpoint URL: "http://127'):
        open_photographs(f"{s3}/val-001.tar", "test")


@pytest.mark.parametrize(
    ("url", "module", "package"),
    [("s3://b/k.tar", "boto3", "boto3"), ("gs://b/k.tar", "google.api_core.exceptions", "google-cloud-storage")],
)
def test_without_the_library_it_is_named(
    url: str, module: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(RequestError, match=rf"package {package}, found none; pip install 'convbench\[cluster\]'"):
        stores.fetch(url, tmp_path / "k.tar")

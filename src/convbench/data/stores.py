"""Files on web servers and in object stores, fetched whole.

Amazon's store, and all that speak its protocol (AWS_ENDPOINT_URL names them), by boto3; Google's by its own library.
Both find credentials where their other tools do; where there are none, objects that are open to everybody are still
read.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from convbench.errors import RequestError


def fetch(url: str, path: Path) -> None:
    """Write what lies at `url` (https://, http://, s3:// or gs://) to `path`.

    Raises OSError where there is nothing, where it may not be read, or where it breaks off; what `path` holds is then
    of no use. Raises RequestError for the library that is missing.
    """
    match urlsplit(url).scheme:
        case "s3":
            _fetch_s3(url, path)
        case "gs":
            _fetch_gs(url, path)
        case _:
            with webdataset().gopen(url) as stream, path.open("wb") as file:
                shutil.copyfileobj(stream, file)


def _fetch_s3(url: str, path: Path) -> None:
    try:
        import boto3
        from botocore import UNSIGNED
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError as error:
        raise _lacking("s3://", "boto3") from error
    session, bucket, key = boto3.Session(), *_object(url)
    try:
        is_known = session.get_credentials() is not None
        client = session.client("s3", config=Config() if is_known else Config(signature_version=UNSIGNED))
        client.download_file(bucket, key, str(path))
    except (BotoCoreError, ClientError) as error:
        raise OSError(str(error)) from error


def _fetch_gs(url: str, path: Path) -> None:
    try:
        from google.api_core.exceptions import GoogleAPIError
        from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError
        from google.cloud import storage
    except ImportError as error:
        raise _lacking("gs://", "google-cloud-storage") from error
    bucket, key = _object(url)
    try:
        try:
            client = storage.Client()
        except DefaultCredentialsError:
            client = storage.Client.create_anonymous_client()
        client.bucket(bucket).blob(key).download_to_filename(str(path))
    except (GoogleAPIError, GoogleAuthError) as error:
        raise OSError(str(error)) from error


def _object(url: str) -> tuple[str, str]:
    """(bucket, key). Not by urlsplit alone, to which ? and # in a key mean something."""
    bucket, _, key = url.partition("://")[2].partition("/")
    return bucket, key


def webdataset() -> Any:
    """The package, which expands braces and opens web addresses; RequestError where it is missing."""
    try:
        import webdataset
    except ImportError as error:
        raise _lacking("patterns in braces and shards elsewhere", "webdataset") from error
    return webdataset


def _lacking(what: str, package: str) -> RequestError:
    return RequestError(
        f"{what}: expected the package {package}, found none; "
        "pip install 'convbench[cluster]', or name a folder of tar files"
    )

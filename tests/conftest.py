"""What the tests share: where the real data and the real weights lie."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import convbench.timing  # noqa: F401  before OpenVINO, which reports to its makers otherwise

if "PYTEST_XDIST_WORKER" in os.environ:  # a core each: two workers of two threads take turns at waiting for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets (CONVBENCH_DATA); skips the test when it is not set."""
    folder = os.environ.get("CONVBENCH_DATA")
    if not folder:
        pytest.skip("CONVBENCH_DATA is not set: no real data to test on")
    return Path(folder)


@pytest.fixture(scope="session")
def real_weights() -> Path:
    """The folder of weights that other libraries' authors trained (CONVBENCH_WEIGHTS); skips when it is not set."""
    folder = os.environ.get("CONVBENCH_WEIGHTS")
    if not folder:
        pytest.skip("CONVBENCH_WEIGHTS is not set: no real weights to test on")
    return Path(folder)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The user's cache is neither read nor written: engines are chosen anew."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["XDG_CACHE_HOME"] = str(folder)
    return folder

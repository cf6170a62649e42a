"""What a shell completes, asked as bash and zsh ask."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from convbench import completion
from convbench.bench.suite import open_suite
from convbench.cli import app
from convbench.data import DATASETS
from convbench.detection import registry as detectors
from convbench.models import names
from convbench.models.registry import FAMILIES
from convbench.schema import packaged
from convbench.training.recipe import open_recipe

BASH = """
eval "$(_CONVBENCH_COMPLETE=source_bash {program})"
COMP_WORDS=(convbench cost lenet) COMP_CWORD=2
_convbench_completion {program}
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


Asked = Callable[[str, str], str]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Asked:
    """What convbench answers when a shell, by its name, asks for the end of a line."""

    def ask(shell: str, line: str) -> str:
        monkeypatch.setenv("_CONVBENCH_COMPLETE", f"complete_{shell}")
        monkeypatch.setenv("COMP_WORDS", line)  # bash's
        monkeypatch.setenv("COMP_CWORD", str(line.count(" ")))
        monkeypatch.setenv("_TYPER_COMPLETE_ARGS", line)  # zsh's
        with pytest.raises(SystemExit):
            app([], prog_name="convbench")
        return capsys.readouterr().out

    return ask


@pytest.mark.parametrize(
    ("line", "among"),
    [
        ("convbench models vgg1", {"vgg16", "vgg19_bn"}),
        ("convbench models ssd", {"ssd300_vgg16"}),
        ("convbench models --family fas", {"faster_rcnn"}),
        ("convbench cost mob", {"mobilenet_v1"}),
        ("convbench measure resnet50 resnext5", {"resnext50_32x4d"}),
        ("convbench train lenet5-", {"lenet5-relu"}),
        ("convbench detect train s", {"ssd300-mobilenet-cpu"}),
        ("convbench run lec", {"lecun1998"}),
        ("convbench evaluate lenet5 --data di", {"digits"}),
        ("convbench evaluate resnet20,resnet5", {"resnet20,resnet56"}),
        ("convbench data c", {"check", "cifar10"}),
        ("convbench data check imagenet", {"imagenette"}),
        ("convbench export alexn", {"alexnet_owt"}),
        ("convbench explain occlusion goog", {"googlenet"}),
        ("convbench predict x.jpg --network xc", {"xception"}),
        ("convbench measure lenet5 --ba", {"--batch-size"}),
    ],
)
def test_bash(line: str, among: set[str], asked: Asked) -> None:
    found = asked("bash", line).split()
    assert among <= set(found)
    assert all(one.startswith(line.split(" ")[-1]) for one in found)


def test_zsh_tells_what_each_is(asked: Asked) -> None:
    assert '"vgg16":"VGG-16 (column D)"' in asked("zsh", "convbench cost vgg16")
    assert asked("zsh", "convbench train ./mine").strip() == "_files"


def test_the_runs_that_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: Asked) -> None:
    (tmp_path / "runs" / "photos").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert asked("bash", "convbench report pho").split() == ["photos"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not on this machine")
def test_in_bash_itself() -> None:
    """By the script that --install-completion installs."""
    program = Path(sys.executable).with_name("convbench")
    if not program.exists():
        pytest.skip("convbench is not installed beside this Python")
    script = BASH.format(program=program)
    done = subprocess.run(["bash", "--norc", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == list(FAMILIES["lenet"])


def test_what_is_completed_is_what_there_is() -> None:
    def words(known: completion.Names) -> list[str]:
        return [name for name, _ in known]

    assert words(completion.networks_and_detectors("")) == [*names(), *detectors.names()]
    assert words(completion.families("")) == [*FAMILIES, *detectors.FAMILIES]
    assert sorted(words(completion.recipes("")) + words(completion.detector_recipes(""))) == packaged("recipes")
    assert all(open_recipe(name).network in detectors.names() for name in words(completion.detector_recipes("")))
    assert completion.suites("") == [(name, open_suite(name)[1].title) for name in packaged("suites")]
    assert completion.data_sets("") == [(name, one.title) for name, one in DATASETS.items()]


def test_torch_is_not_loaded() -> None:
    code = "import sys; from convbench import completion as c; c.data_sets(''); c.recipes(''); c.networks('')"
    check = "import convbench.cli; assert not {'torch', 'numpy', 'pydantic'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", f"{code}; {check}"], check=True, capture_output=True)

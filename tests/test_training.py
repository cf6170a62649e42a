"""Training: losses and curvature against torch's own derivatives, and a loop that repeats and resumes bit for bit."""

from __future__ import annotations

import itertools
import json
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, hessian
from torch.nn import functional as F

from convbench.bench.execute import build_for
from convbench.data import open_dataset
from convbench.errors import ConvbenchError, RequestError
from convbench.models.lenet import ScaledTanh, Subsampling, TableConv2d
from convbench.schema import packaged
from convbench.training import loop
from convbench.training.loop import Metrics, Options, fit
from convbench.training.losses import make_loss, map_loss, mle, mse
from convbench.training.recipe import Recipe, open_recipe, parse_recipe, parse_setting, steps_per_epoch
from convbench.training.sdlm import StochasticDiagonalLM, gauss_newton_diagonal
from small_trainings import OPTIMISERS, content, digits, measured, recipe_with, same_state, trained

# Losses

EVERY_STEP = Options(save_every=0.0)


def test_mse_is_torchs_up_to_its_scale() -> None:
    logits, labels = torch.randn(7, 4, dtype=torch.float64), torch.randint(4, (7,))
    targets = F.one_hot(labels, 4) * 2.0 - 1
    torch.testing.assert_close(mse(logits, labels), F.mse_loss(logits, targets.double()) * 4 / 2)


def test_mle_is_the_right_classes_penalty() -> None:
    assert mle(torch.tensor([[-1.0, -5], [-2, -3]]), torch.tensor([1, 0])).item() == (5 + 2) / 2


@pytest.mark.parametrize("j", [0.1, 1.0, 30.0])
def test_map_is_equation_9(j: float) -> None:
    penalties, labels = 5 * torch.rand(6, 10, dtype=torch.float64), torch.randint(10, (6,))
    terms = [
        penalties[p, label].item() + math.log(math.exp(-j) + sum(math.exp(-y) for y in penalties[p].tolist()))
        for p, label in enumerate(labels.tolist())
    ]
    assert map_loss(-penalties, labels, j).item() == pytest.approx(sum(terms) / 6, rel=1e-12)


def test_map_stays_a_number_far_from_every_code() -> None:
    logits = torch.full((2, 10), -1e4, requires_grad=True)
    loss = map_loss(logits, torch.tensor([0, 1]), 1.0)
    loss.backward()
    assert loss.item() == pytest.approx(1e4 - 1, rel=1e-4)
    assert logits.grad is not None and bool(logits.grad.isfinite().all())


def test_recipes_constants_reach_the_loss() -> None:
    logits, labels = torch.randn(5, 10), torch.randint(10, (5,))
    smoothed = make_loss(recipe_with(loss="cross_entropy", label_smoothing=0.2))(logits, labels)
    torch.testing.assert_close(smoothed, F.cross_entropy(logits, labels, label_smoothing=0.2))
    assert make_loss(recipe_with(map_j=2.5))(logits, labels) == map_loss(logits, labels, 2.5)


# Curvature


def close_to_exact(net: nn.Sequential, images: Tensor, labels: Tensor, loss: Callable[..., Tensor]) -> None:
    curvature = gauss_newton_diagonal(net, images, labels, loss)
    for name, p in net.named_parameters():

        def loss_at(flat: Tensor, name: str = name, p: Tensor = p) -> Tensor:
            return loss(functional_call(net, {name: flat.view_as(p)}, (images,)), labels)

        expected = hessian(loss_at)(p.detach().flatten()).diagonal().view_as(p)
        torch.testing.assert_close(curvature[p], expected, msg=name)


@pytest.mark.parametrize("loss", [mse, F.cross_entropy, lambda logits, labels: map_loss(logits, labels, 1.0)])
def test_curvature_of_one_linear_layer_is_exact(loss: Callable[..., Tensor]) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 3)).double()
    close_to_exact(net, torch.randn(6, 5, dtype=torch.float64), torch.randint(3, (6,)), loss)


def test_curvature_of_two_layers_by_hand() -> None:
    """One unit a layer: y = v f(w x), loss (y - 1)^2 / 2. Then h_v = f^2 and, Gauss-Newton, h_w = v^2 f'^2 x^2."""
    net = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Tanh(), nn.Linear(1, 1, bias=False)).double()
    w, v, x = 0.7, -1.3, 0.9
    with torch.no_grad():
        net[0].weight.fill_(w)
        net[2].weight.fill_(v)
    curvature = gauss_newton_diagonal(net, torch.tensor([[x]], dtype=torch.float64), torch.tensor([0]), mse)
    f = math.tanh(w * x)
    assert curvature[net[2].weight].item() == pytest.approx(f**2, rel=1e-12)
    assert curvature[net[0].weight].item() == pytest.approx(v**2 * (1 - f**2) ** 2 * x**2, rel=1e-12)


def test_curvature_drops_the_cross_terms_between_units() -> None:
    """Appendix C: through a layer, squared weights carry the curvature back, unit by unit."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), ScaledTanh(), nn.Linear(4, 2)).double()
    images, labels = torch.randn(5, 3, dtype=torch.float64), torch.randint(2, (5,))
    first, second = torch.zeros(4, 3, dtype=torch.float64), torch.zeros(2, 4, dtype=torch.float64)
    for x in images:  # mse: the second derivative of the loss by each output is 1
        a = net[0](x).tolist()
        slopes = [1.7159 * 2 / 3 * (1 - math.tanh(2 * value / 3) ** 2) for value in a]
        hidden = [1.7159 * math.tanh(2 * value / 3) for value in a]
        for i, k in itertools.product(range(4), range(3)):
            back = sum(net[2].weight[o, i].item() ** 2 for o in range(2))
            first[i, k] += back * slopes[i] ** 2 * x[k].item() ** 2 / 5
        for o, i in itertools.product(range(2), range(4)):
            second[o, i] += hidden[i] ** 2 / 5
    curvature = gauss_newton_diagonal(net, images, labels, mse)
    torch.testing.assert_close(curvature[net[0].weight], first)
    torch.testing.assert_close(curvature[net[2].weight], second)


def test_curvature_of_a_shared_weight_is_the_sum_over_its_connections() -> None:
    torch.manual_seed(0)
    table = ((0,), (0, 1))
    net = nn.Sequential(TableConv2d(2, table, 3), nn.Flatten()).double()
    for p in net.parameters():
        nn.init.normal_(p)
    images, expected = torch.randn(4, 2, 4, 5, dtype=torch.float64), torch.zeros(3, 3, 3, dtype=torch.float64)
    links = [(out, source) for out, sources in enumerate(table) for source in sources]
    for image, (link, (_, source)) in itertools.product(images, enumerate(links)):
        for row, column in itertools.product(range(2), range(3)):  # each connection adds its input, squared
            expected[link] += image[source, row : row + 3, column : column + 3].square() / 4
    curvature = gauss_newton_diagonal(net, images, torch.randint(12, (4,)), mse)
    torch.testing.assert_close(curvature[net[0].weight], expected)
    torch.testing.assert_close(curvature[net[0].bias], torch.full((2,), 6.0, dtype=torch.float64))


def test_curvature_of_a_subsampling_by_hand() -> None:
    net = nn.Sequential(Subsampling(1), nn.Flatten()).double()
    for p in net.parameters():
        nn.init.constant_(p, 0.5)
    image = torch.arange(16, dtype=torch.float64).view(1, 1, 4, 4)
    curvature = gauss_newton_diagonal(net, image, torch.tensor([0]), mse)
    assert curvature[net[0].bias].item() == 4
    assert curvature[net[0].weight].item() == sum(i * i for i in range(16)), "each of 16 connections adds its input"


def test_curvature_of_a_saturated_or_rectified_chain() -> None:
    """Whether a layer is elementwise does not hang on the values that pass it."""
    for activation in (ScaledTanh(), nn.ReLU(), nn.Tanh()):
        net = nn.Sequential(nn.Linear(2, 2), activation, nn.Linear(2, 2))
        with torch.no_grad():
            net[0].bias.fill_(-100)
        curvature = gauss_newton_diagonal(net, torch.rand(3, 2), torch.tensor([0, 1, 0]), mse)
        assert curvature[net[0].weight].abs().max() == 0 and bool(curvature[net[2].bias].eq(1).all())


@pytest.mark.parametrize("net", [nn.Linear(4, 2), nn.Sequential(nn.Linear(4, 4), nn.Softmax(1), nn.Linear(4, 2))])
def test_curvature_has_no_rule_for_other_layers(net: nn.Module) -> None:
    with pytest.raises(RequestError, match=r"optimiser sdlm .*: take sgd"):
        gauss_newton_diagonal(net, torch.rand(3, 4), torch.tensor([0, 1, 0]), mse)


def test_sdlm_steps_by_hand() -> None:
    p = nn.Parameter(torch.tensor([1.0, 2.0]))
    optimiser = StochasticDiagonalLM([p], lr=0.5, mu=0.25)
    optimiser.set_curvature({p: torch.tensor([0.75, 0.0])})
    p.grad = torch.tensor([4.0, -1.0])
    optimiser.step()
    assert p.tolist() == [1 - 0.5 / (0.25 + 0.75) * 4, 2 + 0.5 / 0.25 * 1]
    optimiser.param_groups[0]["lr"] = 0.0
    optimiser.step()
    assert p.tolist() == [-1, 4]


# Recipes


def test_rate_of_the_published_schedule() -> None:
    """Passes 1-2 at 5e-4, the next three at 2e-4, three at 1e-4, four at 5e-5, the rest at 1e-5 (section III.B)."""
    published = [5e-4] * 2 + [2e-4] * 3 + [1e-4] * 3 + [5e-5] * 4 + [1e-5] * 8
    recipe = open_recipe("lenet5")
    assert [recipe.lr(epoch) for epoch in range(20)] == published
    assert [recipe.lr(epoch + 59_999 / 60_000) for epoch in range(20)] == published


def test_a_gentle_beginning_is_of_every_schedule() -> None:
    gentle = {"schedule.gentle": [2.0, 0.1]}
    for name in ("lenet5", "resnet20-cifar10", "resnet20-cifar10-cpu", "mobilenet-imagenet", "resnet50-imagenet"):
        plain, slowed = (open_recipe(name, settings) for settings in ({}, gentle))
        for progress in (0.5, 1.99, 2.0, 6.5):
            share = 0.1 if progress < 2 else 1
            assert slowed.lr(progress) == pytest.approx(share * plain.lr(progress)), (name, progress)


def test_rate_of_one_cycle() -> None:
    cycle = {"name": "one_cycle", "warmup": 0.25}
    recipe = recipe_with(epochs=4, optimiser={"name": "sgd", "lr": 0.8}, schedule=cycle)
    rates = [recipe.lr(progress) for progress in (0, 0.5, 1, 2.5, 4)]
    assert rates == pytest.approx([0, 0.4, 0.8, 0.4, 0])


def test_rate_that_is_constant() -> None:
    assert {recipe_with().lr(progress) for progress in (0, 1.3, 2.99)} == {0.02}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epoch": 3}, r"unknown key in recipe 'epoch': nearest (is|are) epochs"),
        ({"optimiser": {"name": "sgd", "lr": 0.1, "momentun": 0.9}}, r"recipe\.optimiser 'momentun': .* momentum"),
        ({"preprocessing": {"padd": 2}}, r"recipe\.preprocessing 'padd': .* pad"),
        ({"distortion": {"sheer": 0.1}}, r"recipe\.distortion 'sheer': .* shear"),
        ({"schedule": {"nam": "constant"}}, r"recipe\.schedule 'nam': .* name"),
        ({"epochs": "many"}, r"recipe: epochs: .* integer.*, found 'many'"),
        ({"epochs": 0}, r"recipe: epochs: .* greater than or equal to 1, found 0"),
        ({"loss": "hinge"}, r"recipe: loss: .*'cross_entropy', 'mse', 'mle', 'map' or 'detection', found 'hinge'"),
        ({"optimiser": {"name": "adam", "lr": 1}}, r"recipe: optimiser\.name: .*'adamw'.*, found 'adam'"),
        ({"optimiser": {"name": "sgd", "lr": -1}}, r"recipe: optimiser\.lr: .*, found -1"),
        ({"optimiser": {"name": "sgd", "lr": 1, "nesterov": True}}, r"optimiser\.momentum: .* nesterov, .* found 0"),
        ({"view": {"crop": "shorter", "size": 25, "shorter": [24, 30]}}, r"view\.size: expected 24 pixels at most"),
        ({"view": {"shorter": [300, 256]}}, r"view\.shorter: expected two numbers.*found \[300, 256\]"),
        ({"view": {"shorter": [0, 256]}}, r"view\.shorter: .*above 0, found \[0, 256\]"),
        ({"view": {"area": [0.5, 1.5]}}, r"view\.area: .*1 at most, found \[0\.5, 1\.5\]"),
        ({"view": {"aspect": [0, 1]}}, r"view\.aspect: .*above 0, found \[0\.0, 1\.0\]"),
        (
            {"view": {"crop": "area", "size": 24}, "preprocessing": {"crop": 32}},
            r"view\.size: expected the side of what is tested, 32 by .*, found 24; nearest is preprocessing\.crop 24",
        ),
        (
            {"view": {"crop": "area", "size": 24}, "preprocessing": {}},
            r"view\.size: expected the side of what is tested, the whole by .*, found 24",
        ),
        ({"optimiser": {"name": "sgd"}}, r"optimiser\.lr must be above 0"),
        ({"schedule": {"name": "steps", "steps": [[1, 0.1], [1, 0.2]]}}, r"steps must add up to epochs=3"),
        ({"distortion": {"shear": -0.1}}, r"distortion shear: expected a number of 0 or more, found -0.1"),
    ],
)
def test_wrong_recipes_are_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        recipe_with(**changes)
    assert "\n" not in str(caught.value)


def test_missing_key_is_named() -> None:
    with pytest.raises(RequestError, match="recipe: loss: "):
        parse_recipe({key: value for key, value in content().items() if key != "loss"})


@pytest.mark.parametrize("name", packaged("recipes"))
def test_packaged_recipes_survive_their_own_record(name: str) -> None:
    recipe = open_recipe(name)
    assert parse_recipe(json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_settings_change_a_named_recipe() -> None:
    recipe = open_recipe("mlp", {"epochs": 2, "optimiser.lr": 0.5, "distortion.shear": 0.0})
    assert (recipe.epochs, recipe.optimiser.lr, recipe.optimiser.name) == (2, 0.5, "adamw")
    assert recipe.distortion is not None and recipe.distortion.shear == 0
    with pytest.raises(RequestError, match=r"'lrr': nearest .*lr"):
        open_recipe("mlp", {"optimiser.lrr": 0.5})
    with pytest.raises(RequestError, match="epochs is a value, not a table"):
        open_recipe("mlp", {"epochs.lr": 0.5})
    with pytest.raises(RequestError, match=r"unknown recipe 'lenet6': nearest .*lenet5"):
        open_recipe("lenet6")


def test_settings_are_read_as_toml() -> None:
    found = [parse_setting(text) for text in ("3", "0.4", "true", "[[1, 2e-3]]", "mnist", '"3"')]
    assert found == [3, 0.4, True, [[1, 2e-3]], "mnist", "3"]


def test_last_batch_may_be_short() -> None:
    assert [steps_per_epoch(recipe_with(batch_size=8), n) for n in (1, 8, 9)] == [1, 1, 2]


# The loop


@pytest.mark.parametrize(
    ("optimiser", "epochs"),
    [
        ({"name": "sgd", "lr": 0.001, "momentum": 0.9}, 300),
        ({"name": "adamw", "lr": 0.001}, 300),
        ({"name": "sdlm", "lr": 0.02, "mu": 1.0}, 60),
    ],
    ids=lambda value: value["name"] if isinstance(value, dict) else str(value),
)
@pytest.mark.parametrize(
    ("loss", "network"), [("cross_entropy", "mlp_300"), ("mse", "mlp_300"), ("mle", "lenet5"), ("map", "lenet5")]
)
def test_overfits_one_batch(loss: str, network: str, optimiser: dict[str, Any], epochs: int) -> None:
    recipe = recipe_with(network=network, loss=loss, epochs=epochs, batch_size=10, optimiser=optimiser)
    _, history = trained(recipe, digits(10))
    assert history[-1].train_error == 0
    assert history[-1].loss < 0.25 * history[0].loss
    assert [one.epoch for one in history] == list(range(1, epochs + 1))


@pytest.mark.parametrize("distortion", [None, {"translate": 1.0, "elastic_alpha": 2.0, "elastic_sigma": 2.0}])
@pytest.mark.parametrize("optimiser", OPTIMISERS)
class TestRepeats:
    @staticmethod
    def recipe(optimiser: str, distortion: dict[str, float] | None) -> Recipe:
        cycle = {"name": "one_cycle"}
        return recipe_with(optimiser=OPTIMISERS[optimiser], distortion=distortion, schedule=cycle, epochs=4)

    def test_same_seed_same_bits(self, optimiser: str, distortion: dict[str, float] | None) -> None:
        recipe, dataset = self.recipe(optimiser, distortion), digits(60)
        (first, first_history), (second, second_history) = (trained(recipe, dataset, seed=3) for _ in range(2))
        other, other_history = trained(recipe, dataset, seed=4)
        assert measured(first_history) == measured(second_history) and same_state(first, second)
        assert measured(first_history) != measured(other_history) and not same_state(first, other)

    @pytest.mark.parametrize("step", [1, 8, 9, 20])
    def test_resumed_is_uninterrupted(
        self,
        optimiser: str,
        distortion: dict[str, float] | None,
        step: int,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Stopped within an epoch, at its end, and at the beginning of the next; eight steps an epoch."""
        recipe, dataset, test = self.recipe(optimiser, distortion), digits(60), open_dataset("digits", "test")
        whole, history = trained(recipe, dataset, seed=5, test=test)
        stopped_after(
            step,
            monkeypatch,
            lambda: trained(recipe, dataset, seed=5, test=test, folder=tmp_path, options=EVERY_STEP),
        )
        torch.manual_seed(99)  # a new process would not have the old one's state, nor its first weights
        resumed, steps = build_for(recipe, dataset, 2), itertools.count()
        count = loop._Training.update
        monkeypatch.setattr(loop._Training, "update", lambda *args: (next(steps), count(*args)))
        resumed_history = fit(resumed, dataset, recipe, seed=5, test=test, folder=tmp_path, resume=True)
        assert next(steps) == 32 - step
        assert measured(resumed_history) == measured(history)
        assert same_state(resumed, whole)
        lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
        assert measured([Metrics(**line) for line in lines]) == measured(history)


def test_all_that_a_recipe_can_say_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = recipe_with(
        network="mobilenet_v1",
        arguments={"width_multiplier": 0.25},
        optimiser={"name": "rmsprop", "lr": 0.01, "momentum": 0.9, "epsilon": 1.0, "decay_depthwise": False},
        schedule={"name": "plateau", "patience": 1},
        preprocessing={"size": 32},
        view={"crop": "pad", "mirror": True},
        **{"held_out": 12, "pieces": 2, "clip_norm": 1.0, "average": 0.9, "precision": "bf16", "filter_radius": 0.1},
        **{"label_smoothing": 0.1, "channels_last": True, "epochs": 4},
    )
    dataset, test = digits(60), digits(30)
    whole, history = trained(recipe, dataset, seed=5, test=test)
    stopped_after(
        9,
        monkeypatch,
        lambda: trained(recipe, dataset, seed=5, test=test, folder=tmp_path, options=EVERY_STEP),
    )
    resumed = build_for(recipe, dataset, 2)
    assert measured(fit(resumed, dataset, recipe, seed=5, test=test, folder=tmp_path, resume=True)) == measured(history)
    assert same_state(resumed, whole)
    assert history[0].validation_error is not None


def stopped_after(step: int, monkeypatch: pytest.MonkeyPatch, train: Callable[[], object]) -> None:
    """Train until `step` updates are done and saved, then leave as if killed."""
    done, real = itertools.count(1), loop._Training.update

    def update(*arguments: Any) -> None:
        if next(done) > step:
            raise KeyboardInterrupt
        real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(loop._Training, "update", update)
        with pytest.raises(KeyboardInterrupt):
            train()


def test_a_finished_training_is_not_trained_again(tmp_path: Path) -> None:
    recipe, dataset = recipe_with(), digits(30)
    net, history = trained(recipe, dataset, folder=tmp_path)
    again = build_for(recipe, dataset, 2)
    assert fit(again, dataset, recipe, folder=tmp_path, resume=True) == history
    assert same_state(net, again)


def test_without_resume_the_old_state_is_not_read(tmp_path: Path) -> None:
    recipe, dataset = recipe_with(epochs=1), digits(30)
    _, history = trained(recipe, dataset, folder=tmp_path)
    assert measured(trained(recipe, dataset, folder=tmp_path)[1]) == measured(history)
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 1


def test_channels_last_changes_the_layout_alone() -> None:
    dataset, plain = digits(40), content(network="lenet5_relu", loss="cross_entropy", epochs=2)
    _, history = trained(parse_recipe(plain), dataset)
    _, other = trained(parse_recipe(plain | {"channels_last": True}), dataset)
    assert [one.loss for one in other] == pytest.approx([one.loss for one in history], rel=1e-3)


def test_metrics_are_means_over_all_images() -> None:
    """With a rate too small to move a weight, the epoch's figures are the untrained network's."""
    recipe = recipe_with(optimiser={"name": "sgd", "lr": 1e-30}, epochs=1, batch_size=7)
    dataset, test = digits(30), open_dataset("digits", "test").subset(torch.arange(50))
    net, (metrics,) = trained(recipe, dataset, test=test)
    net.eval()
    with torch.no_grad():
        logits, other = (net(recipe.preprocessing(part.images)) for part in (dataset, test))
    assert metrics.loss == pytest.approx(map_loss(logits, dataset.labels, 1.0).item(), rel=1e-5)
    assert metrics.train_error == pytest.approx(100 * (logits.argmax(1) != dataset.labels).double().mean().item())
    assert metrics.test_error == pytest.approx(100 * (other.argmax(1) != test.labels).double().mean().item())
    assert metrics.images_per_s == pytest.approx(30 / metrics.seconds)


def test_divergence_is_one_line() -> None:
    recipe = recipe_with(network="lenet5_relu", loss="cross_entropy", optimiser={"name": "sgd", "lr": 1e20})
    with pytest.raises(
        ConvbenchError, match=r"lenet5_relu diverged at step \d of epoch 1, learning rate 1e\+20"
    ) as caught:
        trained(recipe, digits(40))
    assert "\n" not in str(caught.value)


def test_global_random_state_is_left_alone(tmp_path: Path) -> None:
    before = torch.get_rng_state()
    recipe = recipe_with(optimiser=OPTIMISERS["sdlm"], distortion={"rotate": 5.0}, epochs=1)
    net, dataset = build_for(recipe, digits(30), 3), digits(30)
    assert torch.equal(torch.get_rng_state(), before)
    fit(net, dataset, recipe, seed=3, folder=tmp_path)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_caller_s_random_state_does_not_reach_the_network() -> None:
    recipe, dataset, states = recipe_with(), digits(30), []
    for seed in (1, 2):
        torch.manual_seed(seed)
        states.append(build_for(recipe, dataset, 7))
    assert same_state(*states) and not same_state(states[0], build_for(recipe, dataset, 8))


# A state that is not one


class Harm:
    """Writes a file when unpickled without care."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.fixture
def begun(tmp_path: Path) -> tuple[Recipe, Path]:
    recipe = recipe_with(epochs=1)
    trained(recipe, digits(30), folder=tmp_path)
    return recipe, tmp_path / "state.pt"


def resume_from(recipe: Recipe, path: Path) -> list[Metrics]:
    dataset = digits(30)
    return fit(build_for(recipe, dataset, 1), dataset, recipe, folder=path.parent, resume=True)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_state_is_one_line(begun: tuple[Recipe, Path], share: float) -> None:
    recipe, path = begun
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ConvbenchError, match=r"state\.pt is not a training state: .*; start without") as caught:
        resume_from(recipe, path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [{"other": 1}, [1, 2], 7, {"training": "", "history": [{"epoch": 1}]}])
def test_a_file_of_something_else_is_one_line(begun: tuple[Recipe, Path], value: Any) -> None:
    recipe, path = begun
    torch.save(value, path)
    with pytest.raises(ConvbenchError, match=r"state\.pt is not a training state"):
        resume_from(recipe, path)


@pytest.mark.parametrize("write", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
def test_a_pickle_with_code_executes_nothing(
    begun: tuple[Recipe, Path], write: Callable[[Any, Path], Any], tmp_path: Path
) -> None:
    recipe, path = begun
    harm = tmp_path / "harm"
    write({"training": Harm(harm)}, path)
    with pytest.raises(ConvbenchError, match=r"state\.pt is not a training state") as caught:
        resume_from(recipe, path)
    assert not harm.exists() and "\n" not in str(caught.value)


def test_the_state_of_another_recipe_is_refused(begun: tuple[Recipe, Path]) -> None:
    with pytest.raises(RequestError, match="of another recipe, seed or data"):
        resume_from(recipe_with(epochs=2), begun[1])


def test_the_state_of_another_seed_is_refused(begun: tuple[Recipe, Path]) -> None:
    recipe, path = begun
    with pytest.raises(RequestError, match="of another recipe, seed or data"):
        fit(build_for(recipe, digits(30), 0), digits(30), recipe, seed=99, folder=path.parent, resume=True)

"""The faster operators give what torch's own give."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convbench.training.operators import FasterOperators, local_response_norm


@pytest.mark.parametrize("size", [1, 2, 4, 5, 9])
@pytest.mark.parametrize("beta", [0.75, 0.5])
def test_local_response_norm_is_torchs(size: int, beta: float) -> None:
    x = (torch.randn(2, 7, 3, 4, dtype=torch.float64) * 20).requires_grad_()
    constants = {"size": size, "alpha": 1e-2, "beta": beta, "k": 2.0}
    torch.testing.assert_close(local_response_norm(x, **constants), F.local_response_norm(x, **constants))
    assert torch.autograd.gradcheck(lambda x: local_response_norm(x, **constants), x)


def test_local_response_norm_in_bf16_errs_as_bf16_does() -> None:
    exact = torch.randn(2, 96, 5, 5, dtype=torch.float64) * 50
    x = exact.bfloat16()
    expected = F.local_response_norm(x.double(), 5, 1e-4, 0.75, 2.0)
    found = local_response_norm(x, 5, 1e-4, 0.75, 2.0)
    assert found.dtype == torch.bfloat16
    assert ((found - expected).abs() <= 2**-7 * expected.abs()).all()


@pytest.mark.parametrize(
    ("side", "kernel", "stride", "padding"), [(9, 3, 2, 1), (8, 3, 2, 1), (9, 3, 2, 0), (8, 3, 2, 0), (11, 5, 3, 2)]
)
def test_depthwise_gradients_are_torchs(side: int, kernel: int, stride: int, padding: int) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(8, 8, kernel, stride, padding, groups=8, bias=False).bfloat16()
    x = torch.randn(3, 8, side, side, dtype=torch.bfloat16)

    def gradients(layer: nn.Module, x: Tensor) -> tuple[Tensor, ...]:
        x = x.clone().requires_grad_()
        output = layer(x)
        direction = torch.linspace(-1, 1, output.numel()).view_as(output).to(output.dtype)
        return output, *torch.autograd.grad(output, (x, *layer.parameters()), direction)

    with FasterOperators():
        faster = gradients(layer, x)
    exact = gradients(layer.double(), x.double())
    for found, expected in zip(faster, exact, strict=True):
        torch.testing.assert_close(found.double(), expected, rtol=2**-7, atol=2**-7 * expected.abs().max().item())


@pytest.mark.parametrize("use", [lambda x: x[:, :, ::2, ::2], lambda x: x.mean(dim=(2, 3)), lambda x: torch.mean(x, 1)])
def test_gradients_keep_the_channels_last(use: Callable[[Tensor], Tensor]) -> None:
    def gradient(values: Tensor) -> Tensor:
        x = values.clone(memory_format=torch.preserve_format).requires_grad_()
        return torch.autograd.grad((use(x * 2) ** 2).sum(), x)[0]

    values = torch.randn(2, 6, 8, 8)
    last = values.contiguous(memory_format=torch.channels_last)
    plain = gradient(last)
    assert not plain.is_contiguous(memory_format=torch.channels_last), "torch has mended it: the operator can go"
    with FasterOperators():
        kept, first = gradient(last), gradient(values)
    assert kept.is_contiguous(memory_format=torch.channels_last) and first.is_contiguous()
    assert torch.equal(kept, plain)
    torch.testing.assert_close(first, plain)  # sums run in another order there


def test_the_mode_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both operators are really replaced where networks use them: torch's own are not called any more."""
    from convbench.training import operators

    called = []
    for name in ("_LocalResponseNorm", "_StridedDepthwise"):
        cls = getattr(operators, name)
        monkeypatch.setattr(cls, "backward", _noting(cls.backward, name, called))
    net = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.LocalResponseNorm(5), nn.Conv2d(4, 4, 3, 2, 1, groups=4, bias=False), nn.Flatten()
    )
    with FasterOperators(), torch.autocast("cpu", torch.bfloat16):
        net(torch.randn(2, 3, 8, 8)).sum().backward()
    assert called == ["_StridedDepthwise", "_LocalResponseNorm"]


def _noting(backward, name, called):  # type: ignore[no-untyped-def]
    def noted(ctx, gradient):  # type: ignore[no-untyped-def]
        called.append(name)
        return backward(ctx, gradient)

    return staticmethod(noted)

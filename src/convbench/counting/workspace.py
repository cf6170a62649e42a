"""What a CPU's kernels take beside their inputs and outputs, for as long as they run.

PyTorch hands float convolutions on x86 to oneDNN, which works in layouts of its own and copies into and out of them.
The rules below are read off the CPU allocator (torch.profiler, PyTorch 2.14, oneDNN 3.12), with AVX-512 and without,
where other kernels run. Left out are scratch pads of a few KiB a thread and, in the backward pass of a first layer, of
a few MiB; the other kernels of these networks take nothing. CUDA's are cuDNN's choice and not known before it runs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten
FEW_CHANNELS = 4  # images with so few are read as they are
HAS_AVX512 = "AVX512" in torch.backends.cpu.get_cpu_capability()
BLOCK = 16 if HAS_AVX512 else 8  # channels that lie together: as many floats as a register holds
SMALL_BATCH = 16  # images


def as_on_cpu(operator: Any, out: Any, args: tuple[Any, ...]) -> Any:
    """`out` of an operator on `meta` in the layout that a CPU gives it: there a convolution is channels last where its
    images or its weight are, on `meta` never."""
    if operator is aten.convolution.default and (_is_channels_last(args[0]) or _is_channels_last(args[1])):
        return out.to(memory_format=_channels_last(out.ndim))
    return out


def workspace_bytes(operator: Any, out: Any, args: tuple[Any, ...]) -> int:
    """Bytes that `operator` takes beside `args` and `out`; 0 for all but convolutions."""
    if operator is aten.convolution.default:
        images, weight = args[0], args[1]
        if _is_matrix_product(images, weight, args[3]):
            return 0
        if _is_channels_last(out):
            return _size_unless_channels_last(images) + _size_unless_channels_last(weight) + _bytes(weight)
        # blocked copies of images and weight stand beside a blocked result; then that stands beside the result
        blocked = _size_of_blocked(out)
        return max(_size_read(images) + _bytes(weight) + blocked - _bytes(out), blocked)
    if operator is aten.convolution_backward.default:
        gradient, images, weight = args[:3]
        if _is_matrix_product(images, weight, args[4]):
            return 0
        sums = 0 if HAS_AVX512 else _size_of_partial_sums(images, weight)
        if _is_channels_last(images) or _is_channels_last(weight):
            copies = sum(_size_unless_channels_last(one) for one in (gradient, images, weight))
            return copies + max(2 * _bytes(weight), sums)  # the weight's gradient: blocked, and as it is turned
        return max(_size_of_blocked(gradient) + _size_read(images), _bytes(weight), sums)
    return 0


def _is_matrix_product(images: Tensor, weight: Tensor, stride: list[int]) -> bool:
    """Whether PyTorch multiplies matrices in place instead: 1x1 kernels, a small batch, one thread."""
    alone = images.shape[0] < SMALL_BATCH and torch.get_num_threads() == 1
    return alone and max(weight.shape[2:]) == 1 and max(stride) == 1


def _size_of_partial_sums(images: Tensor, weight: Tensor) -> int:
    """Bytes for the weight's gradient where kernels are larger than images: oneDNN multiplies matrices there without
    AVX-512, and asks for each thread's sum four times over (one fourth of it is touched)."""
    is_larger = any(kernel > side for kernel, side in zip(weight.shape[2:], images.shape[2:], strict=True))
    return 4 * torch.get_num_threads() * _bytes(weight) if is_larger and len(images) > 1 else 0


def _is_channels_last(tensor: Tensor) -> bool:
    """Whether (n, c, h, w) lies as n, h, w, c in memory and not as n, c, h, w; so, too, in three dimensions."""
    return tensor.ndim > 3 and tensor.stride(1) == 1 and max(tensor.shape[2:]) > 1


def _size_unless_channels_last(tensor: Tensor) -> int:
    """Bytes of the copy that is made of a plain tensor where the convolution runs channels last."""
    return 0 if tensor.is_contiguous(memory_format=_channels_last(tensor.ndim)) else _bytes(tensor)


def _channels_last(ndim: int) -> torch.memory_format:
    return torch.channels_last if ndim == 4 else torch.channels_last_3d


def _size_read(images: Tensor) -> int:
    """Bytes of the copy that a plain convolution reads its images from."""
    return _size_of_blocked(images) if images.shape[1] > FEW_CHANNELS else 0


def _size_of_blocked(images: Tensor) -> int:
    """Bytes where channels lie in full blocks."""
    return _bytes(images) // images.shape[1] * (-(-images.shape[1] // BLOCK) * BLOCK)


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()

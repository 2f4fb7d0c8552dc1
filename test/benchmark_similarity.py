"""
Measure the memory of local and global similarity per image of KITTI: peaks of what tensors hold.

Jeong et al. (Sensors 2022, 3.4.3) report 7.2 GB per image with global and 1.70 GB with local
similarity on the same features. Here both are measured within a training step, without the
networks' weights, and by themselves. The minimum is what the gradient needs of a loss: of local
similarity the differences of features and similarities, of global one those of all pairs.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
import sys
import time
from typing import Any

from depth_kd_ros.networks.base import Prediction
from depth_kd_training import distillation
from depth_kd_training.distillation.base import Method
from depth_kd_training.distillation.local_similarity import SHIFTS, similarity_difference
from distillation_inputs import peak_bytes, preset
from network_inputs import inputs
import torch
from torch import Tensor
import torch.nn.functional as F

ENCODERS = ('rgb', 'lidar')
HIGH = [*(f'{e}.E{i}' for e in ENCODERS for i in (2, 3, 4)), 'D0', 'D1', 'D2']
MIDDLE = [*(f'{e}.E{i}' for e in ENCODERS for i in (1, 2, 3)), 'D1', 'D2', 'D3']
ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    'none': ('none', {}),
    'global': ('global_similarity', {'taps': HIGH}),
    'global, products of channels': ('global_similarity', {'taps': HIGH, 'product': 'channels'}),
    'local': ('local_similarity', {'taps': HIGH}),
    'local, E1-E3 and D1-D3': ('local_similarity', {'taps': MIDDLE}),
}
MB = 1e6


def shifted(f: Tensor) -> Tensor:
    """Compare with the neighbours as one would write it with torch's own gradients."""
    height, width = f.shape[2:]
    u = F.pad(F.normalize(f), (1, 1, 0, 1))
    here = u[:, :, :height, 1 : width + 1]
    there = (u[:, :, y : y + height, x + 1 : x + 1 + width] for y, x in SHIFTS)
    return torch.stack([(here * other).sum(1) for other in there], 1)


def unfolded(f: Tensor) -> Tensor:
    """Compare with the neighbours by a copy for each."""
    u = F.normalize(f)
    copies = F.unfold(u, 3, padding=1).view(len(u), u.shape[1], 9, *u.shape[2:])
    return (u.unsqueeze(2) * copies).sum(1)


def differences() -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    """Name the writings of the similarity term."""
    return {
        'local_similarity': similarity_difference,
        'shift and multiply': lambda f_s, f_t: F.mse_loss(shifted(f_s), shifted(f_t)),
        'unfold': lambda f_s, f_t: F.mse_loss(unfolded(f_s), unfolded(f_t)),
    }


def of_channels(size: tuple[int, int]) -> None:
    """Print the memory of the similarity term at 1/2 of the image, by number of channels."""
    height, width = (side // 2 for side in size)
    channels = (16, 32, 64, 128)
    print(f'similarity of one feature of {height}x{width}, and its gradient, MB')
    print(
        '| written as |', ' | '.join(f'C = {c}' for c in channels), '| numbers per C and pixel |'
    )
    print('|---' * (len(channels) + 2) + '|')
    rows = {}
    for name, compare in differences().items():
        rows[name] = []
        for c in channels:
            f_s, f_t = torch.randn(2, 1, c, height, width)
            f_s.requires_grad_()
            rows[name].append(
                peak_bytes(lambda a=f_s, b=f_t, f=compare: torch.autograd.grad(f(a, b), a))
            )
    rows['minimum: the gradient'] = [4 * c * height * width for c in channels]
    rows['C x 8'] = [8 * least for least in rows['minimum: the gradient']]
    for name, peaks in rows.items():
        growth = (peaks[-1] - peaks[0]) / (channels[-1] - channels[0]) / height / width / 4
        print(f'| {name} |', ' | '.join(f'{p / MB:.1f}' for p in peaks), f'| {growth:.2f} |')


def minimum(method: str, options: dict[str, Any], teacher: Prediction) -> int:
    """Count the bytes that the gradient needs of a loss."""
    total = 0
    for tap in options.get('taps', ()):
        _, channels, height, width = teacher.features[tap].shape
        pixels = height * width
        if method == 'local_similarity':
            total += pixels * (channels + len(SHIFTS))
        else:
            total += channels**2 + (pixels**2 if 'product' not in options else 2 * channels**2)
    return 4 * total


def of_methods(size: tuple[int, int], student_preset: str, teacher_preset: str) -> None:
    """Print the memory of both methods, by themselves and within a training step."""
    student, teacher = preset(student_preset).train(), preset(teacher_preset, 1).eval()
    teacher.requires_grad_(False)
    image, sparse_depth = inputs(*size)
    with torch.no_grad():
        predicted, target = student(image, sparse_depth), teacher(image, sparse_depth)
    print(f'\n{student_preset} from {teacher_preset}, one image of {size[0]}x{size[1]}, MB')
    print('| similarity | by itself | minimum | within a step | step / local |')
    print('|---|---|---|---|---|')
    measured = {}
    for name, (method_name, options) in ROWS.items():
        method = distillation.build(method_name, options, student, teacher)
        tapped = [predicted.features[tap].requires_grad_() for tap, _ in method.taps]

        def alone(method: Method = method, tapped: list[Tensor] = tapped) -> None:
            terms = method(predicted, target, None)
            if terms:
                torch.autograd.grad(sum(terms.values()), tapped)

        def step(method: Method = method) -> None:
            with torch.no_grad():
                of_teacher = teacher(image, sparse_depth)
            of_student = student(image, sparse_depth)
            terms = method(of_student, of_teacher, None)
            (of_student.depth.mean() + sum(terms.values())).backward()
            student.zero_grad()

        needed = minimum(method_name, options, target)
        start = time.perf_counter()
        measured[name] = peak_bytes(alone), needed, peak_bytes(step)
        print(f'  {name}: {time.perf_counter() - start:.0f} s', file=sys.stderr)
    for name, peaks in measured.items():
        texts = [f'{peak / MB:.0f}' for peak in peaks]
        print(f'| {name} |', ' | '.join(texts), f'| {peaks[2] / measured["local"][2]:.2f} |')


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--size', type=int, nargs=2, default=(240, 912))
    parser.add_argument('--student', default='lspkd_s2')
    parser.add_argument('--teacher', default='lspkd_teacher')
    given = parser.parse_args()
    of_channels(tuple(given.size))
    of_methods(tuple(given.size), given.student, given.teacher)


if __name__ == '__main__':
    main()

"""The batch norm loss: worked by hand, as loops, as gradients, and what it tells of images."""

from __future__ import annotations

import math

from depth_kd_ros import networks
from depth_kd_training.bn_statistics import distance, measured, norms
from depth_kd_training.data import simulation
from depth_kd_training.data.loading import as_tensors, collate
import pytest
import torch
from torch import nn


def loss(network, *inputs):
    with measured(network) as distances:
        network(*inputs)
    return torch.stack(distances).sum()


def two_layers():
    """One channel doubled, normalised by (1, 4), negated, normalised by (0, 1): all in eval."""
    network = nn.Sequential(
        nn.Conv2d(1, 1, 1, bias=False), nn.BatchNorm2d(1, eps=0),
        nn.Conv2d(1, 2, 1, bias=False), nn.BatchNorm2d(2, eps=0),
    )  # fmt: skip
    with torch.no_grad():
        network[0].weight.fill_(2)
        network[1].running_mean.fill_(1)
        network[1].running_var.fill_(4)
        network[2].weight.copy_(torch.tensor([-1.0, 2.0]).view(2, 1, 1, 1))
    return network.eval().requires_grad_(False)


def test_two_layers_by_hand():
    """
    Pixels 1, 2, 3, 6: doubled 2, 4, 6, 12, of mean 6 and variance (16 + 4 + 0 + 36) / 4 = 14.

    First norm: |6 - 1| + |14 - 4| = 15. It gives (x - 1) / 2 = .5, 1.5, 2.5, 5.5, of mean 2.5 and
    variance 3.5. The second sees that times -1 and 2: means -2.5 and 5, variances 3.5 and 14;
    sqrt(2.5^2 + 5^2) + sqrt(2.5^2 + 13^2).
    """
    image = torch.tensor([1.0, 2.0, 3.0, 6.0]).view(2, 1, 1, 2)
    expected = 15 + math.hypot(2.5, 5) + math.hypot(2.5, 13)
    assert loss(two_layers(), image).item() == pytest.approx(expected)


def test_equals_loops():
    torch.manual_seed(0)
    x, mean, variance = torch.randn(3, 4, 2, 5), torch.randn(4), torch.rand(4)
    first = second = 0.0
    for channel in range(4):
        values = [x[b, channel, i, j].item() for b in range(3) for i in range(2) for j in range(5)]
        own = sum(values) / len(values)
        spread = sum((v - own) ** 2 for v in values) / len(values)
        first += (own - mean[channel].item()) ** 2
        second += (spread - variance[channel].item()) ** 2
    expected = math.sqrt(first) + math.sqrt(second)
    assert distance(x, mean, variance).item() == pytest.approx(expected, rel=1e-5)


def test_gradient_is_right():
    torch.manual_seed(1)
    x = torch.randn(2, 3, 2, 3, dtype=torch.float64, requires_grad=True)
    mean, variance = torch.randn(3).double(), torch.rand(3).double()
    assert torch.autograd.gradcheck(distance, (x, mean, variance))


def test_is_zero_with_no_gradient_for_the_very_statistics():
    x = torch.randn(2, 3, 4, 5, requires_grad=True)
    variance, mean = torch.var_mean(x.detach(), (0, 2, 3), correction=0)
    found = distance(x, mean, variance)
    found.backward()
    assert found.item() == pytest.approx(0, abs=1e-6)
    assert x.grad.isfinite().all()


def test_does_not_see_the_order_of_images_and_pixels():
    x, mean, variance = torch.randn(4, 3, 4, 5), torch.randn(3), torch.rand(3)
    other = x.flip((0, 2, 3)).roll(1, 3)
    torch.testing.assert_close(distance(other, mean, variance), distance(x, mean, variance))
    swapped = distance(x.flip(1), mean, variance)
    assert not torch.allclose(swapped, distance(x, mean, variance))


def test_sums_half_precision_in_full():
    """Half 100 and half 100.5, of mean 100.25: bf16 knows steps of 0.5 there."""
    x = torch.tensor([100.0, 100.5] * 512, dtype=torch.bfloat16).view(1, 1, 32, 32)
    found = distance(x, torch.tensor([99.0]), torch.tensor([0.0]))
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(1.25 + 0.25**2)


def test_changes_neither_network_nor_its_hooks():
    network = two_layers()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    image = torch.randn(2, 1, 4, 4, requires_grad=True)
    loss(network, image).backward()
    assert image.grad.any()
    assert all(p.grad is None for p in network.parameters())
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    with pytest.raises(RuntimeError), measured(network) as distances:
        network(torch.zeros(1, 5, 4, 4))
    network(image)
    assert distances == []
    assert not any(module._forward_pre_hooks for module in network.modules())


@pytest.mark.parametrize(
    'network',
    [
        nn.Sequential(nn.Conv2d(3, 1, 1), nn.GroupNorm(1, 1)),
        nn.BatchNorm2d(3, track_running_stats=False),
    ],
)
def test_refuses_a_network_that_remembers_nothing(network):
    with pytest.raises(ValueError, match=r'no batch norm with running statistics.*give a teacher'):
        norms(network)


def test_each_norm_of_a_real_network_counts_once():
    torch.manual_seed(0)
    network = networks.build(*networks.presets()['lspkd_s8']).eval()
    with torch.no_grad(), measured(network) as distances:
        network(torch.randn(1, 3, 64, 96), torch.rand(1, 1, 64, 96))
    assert len(distances) == len(norms(network)) == 45


def test_a_teacher_knows_its_own_images_from_noise():
    """After 18 steps of training on simulated rooms; on noise the loss is 5 times as high."""
    torch.manual_seed(0)
    rooms = simulation.Dataset(simulation.Config('indoor', (48, 64), 'none'))
    sample = as_tensors((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    frames = collate([sample(rooms[i], i) for i in range(24)])
    teacher = networks.build('fcrn', {'encoder': 'resnet18'})
    optimiser = torch.optim.Adam(teacher.parameters(), 1e-4)
    for _ in range(6):
        for part in torch.randperm(24).split(8):
            error = teacher(frames.image[part], features=False).depth - frames.depth_gt[part]
            optimiser.zero_grad()
            error.abs().mean().backward()
            optimiser.step()
    teacher.eval()
    with torch.no_grad():
        own = sum(loss(teacher, part) for part in frames.image.split(8))
        noise = sum(loss(teacher, torch.randn_like(part)) for part in frames.image.split(8))
    assert noise > 5 * own

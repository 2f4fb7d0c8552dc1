"""The generator of adversarial distillation: counts, any size, a second writing."""

from __future__ import annotations

from depth_kd_training.dcgan import Generator
import pytest
import torch
import torch.nn.functional as F


def test_parameters_to_the_unit():
    """DFAD's own for 128x128 images has as many."""
    with torch.device('meta'):
        generator = Generator()
    projected = 256 * 512 * 64 + 512 * 64
    layers = sum(16 * i * o + 2 * o for i, o in ((512, 256), (256, 128), (128, 64), (64, 64)))
    output = 9 * 64 * 3 + 3
    expected = projected + 2 * 512 + layers + output
    assert sum(p.numel() for p in generator.parameters()) == expected == 11_243_203


@pytest.mark.parametrize('size', [(128, 128), (64, 96), (240, 912), (33, 50), (1, 7)])
def test_any_size(size):
    torch.manual_seed(0)
    generator = Generator(noise=8, width=2)
    image = generator(torch.randn(2, 8), size)
    assert image.shape == (2, 3, *size)
    image.abs().mean().backward()
    assert all(p.grad.isfinite().all() for p in generator.parameters())


def test_images_are_standardised_and_differ():
    torch.manual_seed(0)
    images = Generator(width=8)(torch.randn(4, 256), (64, 96)).detach()
    variance, mean = torch.var_mean(images, (0, 2, 3), correction=0)
    torch.testing.assert_close(mean, torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(variance, torch.ones(3), atol=1e-2, rtol=0)
    assert (images[0] - images[1]).abs().mean() > 0.1


def norm(x):
    """Normalise by the batch, as in training, with weight 1 and bias 0."""
    mean, variance = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), False, keepdim=True)
    return (x - mean) / torch.sqrt(variance + 1e-5)


def test_equals_its_functional_twin():
    torch.manual_seed(0)
    generator = Generator(noise=16, width=4).double()
    state = generator.state_dict()
    for key, value in state.items():
        if key.endswith('.1.weight') or key == 'start.weight':
            value.fill_(1)
    noise = torch.randn(3, 16, dtype=torch.float64)
    x = (noise @ state['project.weight'].T + state['project.bias']).reshape(3, 32, 8, 8)
    x = F.interpolate(norm(x), size=(3, 5), mode='bilinear', align_corners=False)
    for i in range(4):
        x = F.conv_transpose2d(x, state[f'layers.{i}.0.weight'], stride=2, padding=1)
        x = F.leaky_relu(norm(x), 0.2)
    x = torch.tanh(F.conv2d(x[:, :, :47, :66], state['output.weight'], state['output.bias'], 1, 1))
    torch.testing.assert_close(generator(noise, (47, 66)), norm(x))

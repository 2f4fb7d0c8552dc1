"""The fixed PointNet: its size, a second writing, what it does not depend on, its weights."""

from __future__ import annotations

from depth_kd_training.point_net import draw, PointNet, Transform
import pytest
import safetensors.torch
import torch
import torch.nn.functional as F


@pytest.fixture(scope='module')
def net():
    return PointNet()


@pytest.fixture(scope='module')
def others(tmp_path_factory):
    """Write other weights, with batch norms that are not the identity; give them and the file."""
    generator = torch.Generator().manual_seed(5)
    tensors = {
        key: value + 0.2 * torch.rand(value.shape, generator=generator)
        if value.is_floating_point()
        else value
        for key, value in PointNet().state_dict().items()
    }
    path = tmp_path_factory.mktemp('point_net') / 'weights.safetensors'
    safetensors.torch.save_file(tensors, path)
    return tensors, path


def clouds(batch=2, points=50, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 3, points, generator=generator) * 0.4


def layer(inputs, outputs):
    """Count a layer with bias and its batch norm."""
    return inputs * outputs + outputs + 2 * outputs


def test_parameters_to_the_unit(net):
    def transform(c):
        return (
            layer(c, 64) + layer(64, 128) + layer(128, 1024) + layer(1024, 512) + layer(512, 256)
            + 256 * c * c + c * c
        )  # fmt: skip

    found = sum(p.numel() for p in net.parameters())
    assert found == transform(3) + transform(64) + layer(3, 64) + layer(64, 128) + layer(128, 1024)
    head = layer(1024, 512) + layer(512, 256) + 256 * 40 + 40  # of the classifier of 40 classes
    assert round((found + head) / 1e6, 1) == 3.5  # the paper, Table 6


def test_equals_another_writing(others):
    tensors, path = others
    points = clouds()

    def dense(x, name, norm):
        weight = tensors[f'{name}.weight'].squeeze(-1)
        x = x @ weight.T + tensors[f'{name}.bias']
        mean, var, scale, shift = (
            tensors[f'{norm}.{key}'] for key in ('running_mean', 'running_var', 'weight', 'bias')
        )
        return (x - mean) / (var + 1e-5).sqrt() * scale + shift

    def matrix(x, name):
        y = x
        for i in (1, 2, 3):
            y = F.relu(dense(y, f'{name}.conv{i}', f'{name}.bn{i}'))
        y = y.amax(-2)
        for i in (1, 2):
            y = F.relu(dense(y, f'{name}.fc{i}', f'{name}.bn{i + 3}'))
        y = y @ tensors[f'{name}.fc3.weight'].T + tensors[f'{name}.fc3.bias']
        c = x.shape[-1]
        return y.reshape(c, c) + torch.eye(c)

    found = PointNet(path)(points)
    for n, cloud in enumerate(points):
        x = cloud.T  # (N, 3), a point a row: the paper's p^T A
        moved = x @ matrix(x, 'stn')
        x = F.relu(dense(moved, 'conv1', 'bn1'))
        feature = x @ matrix(x, 'fstn')
        x = F.relu(dense(feature, 'conv2', 'bn2'))
        whole = dense(x, 'conv3', 'bn3').amax(0)
        for stage, expected in zip(found, (moved.T, feature.T, whole), strict=True):
            torch.testing.assert_close(stage[n], expected, rtol=1e-3, atol=1e-3 * expected.std())


def test_the_order_of_points_does_not_matter(net):
    points = clouds()
    order = torch.randperm(points.shape[2], generator=torch.Generator().manual_seed(1))
    first, second = net(points), net(points[:, :, order])
    torch.testing.assert_close(first.whole, second.whole)
    torch.testing.assert_close(first.input[:, :, order], second.input)
    torch.testing.assert_close(first.feature[:, :, order], second.feature)


def test_drawn_weights_tell_clouds_apart_and_start_near_the_identity(net):
    points = clouds(batch=4)
    stages = net(points)
    for stage in stages:
        assert 0.1 < stage.std() < 1
        assert (stage[0] - stage[1]).abs().mean() > 0.02
    departure = net.stn(points) - torch.eye(3)
    assert 0.02 < departure.std() < 0.2
    assert (departure[0] - departure[1]).abs().max() > 1e-3  # it depends on the cloud


def test_drawn_weights_are_the_same_whatever_was_drawn_before():
    torch.manual_seed(7)
    first = PointNet().state_dict()
    torch.manual_seed(8)
    second = PointNet().state_dict()
    for key, value in first.items():
        assert torch.equal(value, second[key]), key
    other = Transform(3)
    draw(other, torch.Generator().manual_seed(1))
    assert not torch.equal(other.conv1.weight, first['stn.conv1.weight'])


def test_it_is_never_trained():
    net = PointNet()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    net.train()
    assert not any(module.training for module in net.modules())
    points = clouds().requires_grad_()
    sum(stage.sum() for stage in net(points)).backward()
    assert points.grad.abs().sum() > 0
    assert not any(p.requires_grad or p.grad is not None for p in net.parameters())
    for key, value in net.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_weights_come_from_a_file(others):
    tensors, path = others
    for key, value in PointNet(path).state_dict().items():
        assert torch.equal(value, tensors[key]), key


def test_a_file_that_does_not_fit_is_refused(others, tmp_path):
    tensors, _ = others
    path = tmp_path / 'part.safetensors'
    part = {key: value for key, value in tensors.items() if not key.startswith('stn')}
    safetensors.torch.save_file(part, path)
    with pytest.raises(
        ValueError, match=r'part.safetensors: does not fit this PointNet: stn.conv1'
    ):
        PointNet(path)
    with pytest.raises(ValueError, match=r'none.pth: cannot read'):
        PointNet(tmp_path / 'none.pth')

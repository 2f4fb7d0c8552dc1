"""Geometric distillation: points by hand, scale, unknown cameras and relative depth."""

from __future__ import annotations

import math

from depth_kd_ros import networks
from depth_kd_ros.networks.base import Prediction
from depth_kd_training import distillation
from depth_kd_training.distillation import geometric
from depth_kd_training.samples import Batch, Sample
from network_inputs import inputs
import pytest
import torch

K = torch.tensor([[50.0, 2, 47.5], [0, 40, 31.5], [0, 0, 1]], dtype=torch.float64)
WIDE = {'width': 1 / 4, 'blocks': [2, 2, 2, 2]}
NARROW = {'width': 1 / 8, 'blocks': [2, 2, 2, 2]}
RELATIVE = {'encoder': 'topformer_tiny'}


def on_meta(name, options):
    with torch.device('meta'):
        return networks.build(name, options)


def batch_of(size=(64, 96), batch=2, camera=K):
    image, sparse_depth = inputs(*size, batch=batch)
    cameras = camera.float().expand(batch, 3, 3)
    return Batch(Sample(image, sparse_depth, *[None] * 3, cameras, None), batch)


def depths(seed=0, size=(64, 96), batch=2):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, 1, *size, generator=generator) * 20 + 1


def method_of(network='lspkd', options=NARROW, **config):
    return geometric.Method(geometric.Config(**config), *[on_meta(network, options)] * 2)


def compare(method, student, teacher, batch=None, seed=0):
    batch = batch or batch_of()
    torch.manual_seed(seed)
    return method(Prediction(student, {}), Prediction(teacher, {}), batch)


# --- points


def test_points_by_hand():
    depth = torch.zeros(2, 1, 3, 4, dtype=torch.float64)
    depth[0, 0, 2, 1], depth[1, 0, 0, 3] = 10.0, 5.0
    camera = torch.tensor([[4.0, 2, 1.5], [0, 5, 1], [0, 0, 1]], dtype=torch.float64)
    cameras = torch.stack((camera, torch.eye(3, dtype=torch.float64)))
    pixels = torch.tensor([[2 * 4 + 1], [3]])
    points = geometric.unproject(depth, cameras, pixels)
    # y = (2 - 1) / 5 = 0.2; x = (1 - 1.5 - 2 * 0.2) / 4 = -0.225; times 10. And (3, 0) times 5.
    assert points[:, :, 0].tolist() == [pytest.approx([-2.25, 2.0, 10.0]), [15.0, 0.0, 5.0]]


def test_points_come_back_to_their_pixels():
    depth = depths().double()
    pixels = geometric.draw_pixels(depth, 40)
    points = geometric.unproject(depth, K.expand(2, 3, 3), pixels)
    seen = K @ points  # (B, 3, N), u z, v z, z
    uv = (seen[:, :2] / seen[:, 2:]).round().long()
    assert torch.equal(uv[:, 1] * 96 + uv[:, 0], pixels)


def test_pixels_are_drawn_by_the_global_generator_and_everywhere():
    depth = depths(size=(3, 5))
    torch.manual_seed(3)
    first = geometric.draw_pixels(depth, 500)
    torch.manual_seed(3)
    assert torch.equal(geometric.draw_pixels(depth, 500), first)
    assert not torch.equal(geometric.draw_pixels(depth, 500), first)
    assert first.shape == (2, 500)
    for row in first:
        assert row.unique().tolist() == list(range(15))
    assert not torch.equal(first[0], first[1])


def test_the_teachers_cloud_fills_the_unit_sphere():
    teacher = torch.tensor([[[0.0, 4], [0, 0], [10, 10]]])  # centre (2, 0, 10), radius 2
    student = torch.tensor([[[0.0, 6], [0, 0], [14, 10]]])
    s, t = geometric.scaled(student, teacher)
    assert t.tolist() == [[[-1, 1], [0, 0], [0, 0]]]
    assert s.tolist() == [[[-1, 2], [0, 0], [2, 0]]]
    same = torch.ones(1, 3, 5)
    assert all(x.eq(0).all() for x in geometric.scaled(same, same))


def test_relative_depth_becomes_positive_by_hand():
    depth = torch.tensor([[-3.0, -1, 1, 3], [7, 7, 7, 7]]).view(2, 1, 2, 2)
    # above the least: 0, 2, 4, 6, mean 3; and nothing
    expected = [pytest.approx([1, 1 + 2 / 3, 1 + 4 / 3, 3]), [1, 1, 1, 1]]
    assert geometric.positive(depth).flatten(1).tolist() == expected


# --- cameras


def test_a_field_of_view_stands_in_for_unknown_cameras_alone():
    cameras = torch.stack((K.float(), torch.zeros(3, 3)))
    found = geometric.known(cameras, (64, 96), 90.0)
    assert torch.equal(found[0], cameras[0])
    expected = torch.tensor([[48, 0, 47.5], [0, 48, 31.5], [0, 0, 1]])  # 96 / 2 / tan 45 degrees
    torch.testing.assert_close(found[1], expected)


def test_unknown_cameras_are_refused():
    batch = batch_of(camera=torch.zeros(3, 3))
    with pytest.raises(ValueError, match=r'no camera matrix K.*or the option field_of_view_deg'):
        compare(method_of(), depths(), depths(1), batch)
    terms = compare(method_of(field_of_view_deg=60.0), depths(), depths(1), batch)
    assert all(term > 0 for term in terms.values())


# --- terms


def test_the_terms_are_mean_squares_of_the_stages():
    method, student, teacher = method_of(points=64), depths(), depths(1)
    terms = compare(method, student, teacher)
    torch.manual_seed(0)
    pixels = torch.randint(64 * 96, (2, 64))
    clouds = []
    for depth in (student, teacher):
        rows = []
        for image, chosen in zip(depth[:, 0], pixels.tolist(), strict=True):
            points = [
                torch.linalg.inv(K)
                @ torch.tensor([n % 96, n // 96, 1.0], dtype=torch.float64)
                * image[n // 96, n % 96].double()
                for n in chosen
            ]
            rows.append(torch.stack(points, 1).float())
        clouds.append(torch.stack(rows))
    centre = clouds[1].mean(2, keepdim=True)
    radius = torch.stack(
        [(x - c).norm(dim=0).max() for x, c in zip(clouds[1], centre, strict=True)]
    )
    stages = [method.point_net((cloud - centre) / radius.view(2, 1, 1)) for cloud in clouds]
    assert list(terms) == ['input', 'feature', 'global']
    for term, s, t in zip(terms.values(), *stages, strict=True):
        assert term.item() == pytest.approx((s - t).square().sum().item() / s.numel(), rel=1e-3)
        assert term > 1e-5


def test_weights_of_the_stages():
    student, teacher = depths(), depths(1)
    plain = compare(method_of(), student, teacher)
    weighed = compare(method_of(weights=(2.0, 0.5, 0)), student, teacher)
    for name, factor in zip(plain, (2, 0.5, 0), strict=True):
        assert weighed[name].item() == pytest.approx(factor * plain[name].item())


@pytest.mark.parametrize('network', ['lspkd', 'relative'])
def test_equal_depth_gives_zero(network):
    options = {'lspkd': NARROW, 'relative': RELATIVE}[network]
    terms = compare(method_of(network, options), depths(), depths())
    assert [term.item() for term in terms.values()] == [0, 0, 0]


def test_metric_scale_matters_and_relative_scale_does_not():
    student, teacher = depths(), depths(1)
    metric = method_of()
    assert all(term > 1e-4 for term in compare(metric, 1.3 * teacher, teacher).values())
    for kind in ('depth', 'inverse_depth'):
        method = method_of('relative', {**RELATIVE, 'output': kind})
        expected = compare(method, student, teacher)
        for pair in ((7 * student - 30, teacher), (student, teacher / 9 - 30)):
            for name, term in compare(method, *pair).items():
                assert term.item() == pytest.approx(expected[name].item(), rel=1e-3)
        affine = compare(method, 7 * teacher - 30, teacher)
        assert all(term < 1e-9 for term in affine.values())


def test_inverse_depth_is_inverted():
    """Inverse depth of mean 2 from 1 on is compared as depth of at most 1."""
    student, teacher = depths(), depths(1)
    inverse = method_of('relative', {**RELATIVE, 'output': 'inverse_depth'})
    found = compare(inverse, student, teacher)
    as_depth = [1 / geometric.positive(x) for x in (student, teacher)]
    expected = compare(method_of(), *as_depth)
    assert [x.item() for x in found.values()] == [x.item() for x in expected.values()]


def test_metric_depth_is_normalised_on_demand():
    student, teacher = depths(), depths(1)
    found = compare(method_of(normalise=True), student, teacher)
    expected = compare(method_of(), *[geometric.positive(x) for x in (student, teacher)])
    assert [x.item() for x in found.values()] == [x.item() for x in expected.values()]


@pytest.mark.parametrize('relative', [False, True])
def test_gradient_equals_differences(relative):
    method = method_of().double()
    student, teacher = (depths(seed, (3, 4), 1).double() for seed in (0, 1))
    pixels = torch.tensor([[0, 5, 6, 11, 8]])

    def compared(depth):
        maps = [depth, teacher]
        if relative:
            maps = [1 / geometric.positive(x) for x in maps]
        clouds = geometric.scaled(*(geometric.unproject(x, K[None], pixels) for x in maps))
        stages = [method.point_net(cloud) for cloud in clouds]
        return tuple((s - t).square().mean() for s, t in zip(*stages, strict=True))

    assert torch.autograd.gradcheck(compared, student.requires_grad_())


# --- as a method


@pytest.mark.parametrize(
    ('name', 'student', 'teacher'),
    [('lspkd', NARROW, WIDE), ('relative', RELATIVE, RELATIVE), ('mff', {}, {})],
)
def test_the_student_learns_and_the_teacher_does_not(name, student, teacher):
    torch.manual_seed(1)
    pair = [networks.build(name, options) for options in (student, teacher)]
    method = distillation.build('geometric', {'points': 100, 'weights': [1, 1, 1]}, *pair).train()
    batch = batch_of()
    image, sparse_depth = batch.samples[:2]
    with torch.no_grad():
        teachers = pair[1].eval()(image, sparse_depth)
    terms = method(pair[0](image, sparse_depth), teachers, batch)
    assert all(term.isfinite() for term in terms.values())
    sum(terms.values()).backward()
    assert sum(p.grad.abs().sum() for p in pair[0].parameters() if p.grad is not None) > 0
    assert all(p.grad is None for net in (pair[1], method) for p in net.parameters())
    assert method.adapters() == []


# --- bad input


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'points': 0}, 'points = 0: give a positive whole number'),
        ({'points': 9.5}, 'points = 9.5: give a positive whole'),
        ({'weights': [1, 1]}, r'weights = \(1, 1\): give three numbers >= 0, for input, feature'),
        ({'weights': [1, 1, -1]}, r'weights = \(1, 1, -1\): give three numbers'),
        ({'weights': 1.0}, 'weights = 1.0: give three numbers'),
        ({'normalise': 1}, 'normalise = 1: give true, false or null'),
        ({'field_of_view_deg': 180}, 'field_of_view_deg = 180: give degrees between 0 and 180'),
        ({'field_of_view_deg': math.nan}, 'field_of_view_deg = nan: give degrees'),
        ({'point_net': 'none.pth'}, 'none.pth: cannot read'),
    ],
)
def test_wrong_options_are_refused(options, message):
    network = on_meta('lspkd', NARROW)
    with pytest.raises(ValueError, match=f"'geometric': {message}"):
        distillation.build('geometric', options, network, network)


def test_networks_that_cannot_be_compared_are_refused():
    relative, metric = on_meta('relative', RELATIVE), on_meta('mff', {})
    with pytest.raises(ValueError, match='student predicts inverse_depth, the teacher depth'):
        distillation.build('geometric', {}, relative, metric)
    with pytest.raises(ValueError, match='normalise = False: relative depth has no points'):
        distillation.build('geometric', {'normalise': False}, relative, relative)

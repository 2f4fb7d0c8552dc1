"""The auxiliary reconstruction of the grey image."""

from __future__ import annotations

import cv2
from depth_kd_ros import networks
from depth_kd_ros.networks.base import Prediction
from depth_kd_training import distillation
from depth_kd_training.data.base import Frame
from depth_kd_training.data.loading import as_tensors
from depth_kd_training.distillation import image_reconstruction
from depth_kd_training.losses import reconstruction
from depth_kd_training.samples import Batch, Sample
from network_inputs import inputs
import numpy as np
import pytest
import torch

MEAN, STD = (0.4, 0.5, 0.6), (0.1, 0.2, 0.3)


@pytest.fixture(scope='module')
def student():
    torch.manual_seed(0)
    return networks.build('depth_only', {'sharing': False})


def batch_of(image):
    sparse_depth = inputs(*image.shape[2:], batch=len(image))[1]
    return Batch(Sample(image, sparse_depth, *[None] * 5), len(image))


def test_grey_by_hand():
    rgb = torch.tensor([[255.0, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [10, 20, 30]])
    image = ((rgb / 255 - torch.tensor(MEAN)) / torch.tensor(STD)).view(5, 3, 1, 1)
    grey = image_reconstruction.grey(image, MEAN, STD)
    assert grey.shape == (5, 1, 1, 1)
    # 0.299 * 10 + 0.587 * 20 + 0.114 * 30 = 18.15
    expected = [76.245, 149.685, 29.07, 255, 18.15]
    assert grey.flatten().tolist() == pytest.approx(expected, abs=1e-3)


def test_grey_is_that_of_opencv():
    rgb = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    config = image_reconstruction.Config()
    sample = as_tensors(config.mean, config.std)(Frame('one', rgb), 0)
    grey = image_reconstruction.grey(sample.image[None], config.mean, config.std)[0, 0]
    assert np.abs(grey.numpy() - cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)).max() < 0.51


def test_the_term_by_hand(student):
    method = distillation.build('image_reconstruction', {'mean': [0, 0, 0], 'std': [1, 1, 1]},
                                student, None)  # fmt: skip
    image = torch.full((1, 3, 1, 2), 0.2)  # 51 of 255
    prediction = Prediction(None, {'reconstruction': torch.tensor([50.0, 55.0]).view(1, 1, 1, 2)})
    terms = method(prediction, None, batch_of(image))
    assert {name: term.item() for name, term in terms.items()} == {
        'grey': pytest.approx((1 + 16) / 2, rel=1e-5)
    }
    exact = Prediction(None, {'reconstruction': torch.full((1, 1, 1, 2), 51.0)})
    assert method(exact, None, batch_of(image))['grey'].item() == pytest.approx(0, abs=1e-8)


def test_gradient_equals_differences():
    image, made = torch.randn(1, 3, 2, 3).double(), torch.rand(1, 1, 2, 3).double() * 255
    target = image_reconstruction.grey(image, MEAN, STD)
    assert torch.autograd.gradcheck(lambda x: reconstruction(x, target), made.requires_grad_())


def test_the_student_learns_without_a_teacher(student):
    method = distillation.build('image_reconstruction', {}, student, None)
    assert method.needs_teacher is False
    assert method.adapters() == []
    batch = batch_of(inputs(64, 96, batch=2)[0])
    terms = method(student(*batch.samples[:2]), None, batch)
    assert list(terms) == ['grey']
    terms['grey'].backward()
    reached = {name for name, p in student.named_parameters() if p.grad is not None}
    assert any(name.startswith('feature_encoder') for name in reached)
    assert any(name.startswith('image_decoder') for name in reached)
    assert not any(name.startswith('depth_') for name in reached)
    student.zero_grad(set_to_none=True)


@pytest.mark.parametrize(
    ('name', 'options'),
    [('depth_only', {'reconstruction': False}), ('lspkd', {'width': 0.125})],
)
def test_a_student_without_a_reconstruction_is_refused(name, options):
    with pytest.raises(ValueError, match=r'reconstructs no image: .* reconstruction = true'):
        distillation.build('image_reconstruction', {}, networks.build(name, options), None)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'mean': [0.5, 0.5]}, r'mean = \(0.5, 0.5\): give three numbers, of R, G and B'),
        ({'mean': 0.5}, 'mean = 0.5: give three numbers'),
        ({'std': [0.2, 0.2, 0]}, r'std = \(0.2, 0.2, 0\): give three positive numbers'),
        ({'std': [0.2, 0.2, 'x']}, 'std = .*: give three positive numbers'),
    ],
)
def test_wrong_options_are_refused(student, options, message):
    with pytest.raises(ValueError, match=f"'image_reconstruction': {message}"):
        distillation.build('image_reconstruction', options, student, None)

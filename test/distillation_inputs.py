"""Predictions of real networks and features of given sizes to distil from; memory in use."""

from __future__ import annotations

from collections.abc import Callable
import copy

from depth_kd_ros import networks
from depth_kd_training import distillation
from depth_kd_training.samples import Batch, Sample
from network_inputs import inputs
import torch
from torch.profiler import profile, ProfilerActivity

# These methods change images, so their networks read some:
IMAGES = ('adversarial', 'data_free', 'perturbation', 'random_noise')
SIZE = (64, 96)


def preset(name, seed=0):
    """Build a preset with random weights of its own."""
    torch.manual_seed(seed)
    return networks.build(*networks.presets()[name])


def pair(student='lspkd_s8', teacher='lspkd_s4'):
    """Build two presets with random weights; the teacher is frozen."""
    return preset(student), preset(teacher, 1).eval().requires_grad_(False)


def make_batch(size=SIZE, count=2):
    """Make a random batch without labels."""
    torch.manual_seed(1)
    image, sparse_depth = inputs(*size, count)
    labels = torch.full((count, *size), -1)
    sample = Sample(
        image, sparse_depth, sparse_depth, labels, labels, torch.eye(3).expand(count, 3, 3),
        torch.arange(count),
    )  # fmt: skip
    return Batch(sample, count)


def predict(network, batch, features=False):
    """Predict a batch."""
    return network(batch.samples.image, batch.samples.sparse_depth, features=features)


def predictions(student, teacher, size=SIZE, count=2):
    """Predict one random batch as the training loop does; give both predictions and the batch."""
    batch = make_batch(size, count)
    teacher.eval().requires_grad_(False)
    with torch.no_grad():
        of_teacher = predict(teacher, batch, features=True)
    return predict(student.train(), batch, features=True), of_teacher, batch


def assert_teaches(name, student, teacher, options, terms):
    """
    Assert that a method's terms are positive and finite and that every part of it can learn.

    `options` has the taps where `student` and `teacher`, names of presets, need others.
    """
    of_student, of_teacher = preset(student), preset(teacher, 1)
    method = distillation.build(name, options, of_student, of_teacher)
    predicted, target, batch = predictions(of_student, of_teacher)
    values = method(predicted, target, batch)
    assert list(values) == terms
    for term, value in values.items():
        assert value.shape == () and value.dtype == torch.float32, term
        assert value.isfinite() and value > 0, term
        tapped = [predicted.features[tap] for tap, _ in method.taps]
        for gradient in torch.autograd.grad(value, tapped, retain_graph=True):
            assert gradient.isfinite().all() and gradient.any(), term
    for value in method(in_half(predicted), in_half(target), batch).values():
        assert value.dtype == torch.float32 and value.isfinite()
    torch.stack(list(values.values())).sum().backward()
    for parameter in method.adapters():
        assert parameter.grad.isfinite().all() and parameter.grad.any()
    assert any(parameter.grad is not None for parameter in of_student.parameters())
    assert all(parameter.grad is None for parameter in of_teacher.parameters())
    return method


def in_half(prediction):
    """Give a prediction as bfloat16 has it."""
    features = {tap: feature.bfloat16() for tap, feature in prediction.features.items()}
    return prediction._replace(depth=prediction.depth.bfloat16(), features=features)


def terms_of_twins(name, options=None, student='lspkd_s8'):
    """Compare a network with a copy of itself."""
    network = preset(student).eval()
    method = distillation.build(name, options or {}, network, copy.deepcopy(network))
    image, sparse_depth = inputs(*SIZE, 2)
    prediction = network(image, sparse_depth)
    values = method(prediction, prediction, None)
    torch.stack(list(values.values())).sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())
    return {term: value.item() for term, value in values.items()}


def peak_bytes(call: Callable[[], object]) -> int:
    """Measure by how much the memory that tensors on the CPU hold rises during a call."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        call()
    events = profiler.profiler.kineto_results.events()
    changes = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == '[memory]')
    level = peak = 0
    for _, change in changes:
        level += change
        peak = max(peak, level)
    return peak

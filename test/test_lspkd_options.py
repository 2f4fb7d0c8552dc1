"""The options of lspkd that are ours: validity, output, prefill, confidence."""

from __future__ import annotations

from dataclasses import asdict
from itertools import product
import json
from math import exp, log, tanh

from depth_kd_ros import checkpoint, classical, networks
from depth_kd_ros.networks import lspkd
from depth_kd_ros.networks.parts.prefill import push_pull
from kitti import depth as kitti_depth
from network_inputs import inputs, on_meta, parameters
import numpy as np
import pytest
import torch

ALL_ON = {'validity': True, 'output': 'log', 'prefill': 'push_pull', 'confidence': True}
COMBINATIONS = list(product(*lspkd.CHOICES.values()))  # 2 x 3 x 3 x 2
EACH_VALUE = [  # of every option at least once
    (True, 'log', 'push_pull', True),
    (False, 'inverse', 'none', True),
    (True, 'metric', 'push_pull', False),
    (False, 'log', 'blend', True),
]


def small(**options):
    torch.manual_seed(0)
    return lspkd.Network(lspkd.Config(1 / 16, (1, 1, 1, 1), **options)).eval()


def saying(raw, **options):
    """Make a network whose last layer says `raw`, one number per channel, at every pixel."""
    network = small(confidence=len(raw) == 2, **options)
    with torch.no_grad():
        network.dec0.weight.zero_()
        network.dec0.bias.copy_(torch.tensor(raw))
    return network


def undo_zeros(network):
    """Draw the last layer's weights anew, so that it says something."""
    torch.nn.init.normal_(network.dec0.weight, std=0.1)
    return network


# --- choosing


@pytest.mark.parametrize(
    ('key', 'value', 'message'),
    [
        ('validity', 1, 'validity = 1: give False or True'),
        ('validity', None, 'validity = None: give False or True'),
        ('confidence', 'yes', "confidence = 'yes': give False or True"),
        ('output', 'Log', "output = 'Log': give 'metric' or 'log' or 'inverse'"),
        ('output', None, "output = None: give 'metric' or 'log' or 'inverse'"),
        ('prefill', 'nearest', "prefill = 'nearest': give 'none' or 'push_pull' or 'blend'"),
        ('prefill', False, "prefill = False: give 'none' or 'push_pull' or 'blend'"),
        (
            'prefill',
            ['push_pull'],
            r"prefill = \('push_pull',\): give 'none' or 'push_pull' or 'blend'",
        ),
    ],
)
def test_a_wrong_choice_lists_the_right_ones(key, value, message):
    with pytest.raises(ValueError, match=f"^network 'lspkd': {message}$"):
        networks.build('lspkd', {key: value})


@pytest.mark.parametrize('chosen', EACH_VALUE)
def test_options_survive_json(chosen):
    config = lspkd.Config(1 / 16, (1, 1, 1, 1), *chosen)
    options = json.loads(json.dumps(asdict(config)))
    with torch.device('meta'):
        assert networks.build('lspkd', options).config == config


@pytest.mark.parametrize('chosen', EACH_VALUE)
def test_options_survive_a_checkpoint(chosen, tmp_path):
    network = undo_zeros(lspkd.Network(lspkd.Config(1 / 32, (1, 1, 1, 1), *chosen)).eval())
    path = tmp_path / 'a.safetensors'
    checkpoint.save(path, network, normalisation=((0,) * 3, (1,) * 3), depth_range_m=(0.1, 80))
    twin = checkpoint.load(path).model
    assert twin.config == network.config
    given = inputs(37, 51)
    with torch.inference_mode():
        expected, found = network(*given), twin(*given)
    assert torch.equal(found.depth, expected.depth)
    if network.config.confidence:
        assert torch.equal(found.confidence, expected.confidence)


def test_the_papers_presets_have_none_of_them():
    papers = {'validity': False, 'output': 'metric', 'prefill': 'none', 'confidence': False}
    for config in lspkd.PRESETS.values():
        assert papers.items() <= asdict(config).items()
        options = {'width': config.width, 'blocks': list(config.blocks)}  # of older checkpoints
        with torch.device('meta'):
            assert networks.build('lspkd', options).config == config


@pytest.mark.parametrize(('validity', 'output', 'prefill', 'confidence'), EACH_VALUE)
def test_parameters_of_the_options(validity, output, prefill, confidence):
    """
    A 3x3 kernel to 8 channels per channel of input, one from 8 and a bias per output.

    Blending: 8 more channels of input; 16 channels of the image, these and the last 8, and from
    these 16 the outputs and 5 weights.
    """
    config = lspkd.Config(1 / 8, (2, 2, 2, 2), validity, output, prefill, confidence)
    more = 72 * validity + 73 * confidence
    if prefill == 'blend':
        more += 8 * 72 + 16 * (9 * (8 + 3 + 8) + 1)
        more += (5 + 1 + confidence) * (9 * 16 + 1) - (1 + confidence) * 73
    assert parameters(on_meta('lspkd', config)) == 495_817 + more


# --- every combination


@pytest.mark.parametrize('chosen', COMBINATIONS)
def test_every_combination_trains(chosen):
    network = undo_zeros(lspkd.Network(lspkd.Config(1 / 32, (1, 1, 1, 1), *chosen)).train())
    prediction = network(*inputs(37, 51, batch=2))
    outputs = [prediction.depth, prediction.confidence, prediction.features.get('log_sigma_rel')]
    outputs = [x for x in outputs if x is not None]
    assert len(outputs) == (3 if network.config.confidence else 1)
    assert all(x.shape == (2, 1, 37, 51) and x.isfinite().all() for x in outputs)
    torch.stack([(x * torch.randn_like(x)).mean() for x in outputs]).sum().backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad.isfinite().all(), key
        assert parameter.grad.any(), key


@pytest.mark.parametrize('chosen', COMBINATIONS)
def test_every_combination_takes_a_frame_without_points_and_wild_weights(chosen):
    network = undo_zeros(lspkd.Network(lspkd.Config(1 / 32, (1, 1, 1, 1), *chosen)).train())
    with torch.no_grad():
        network.dec0.weight *= 1e4
    image, sparse = inputs(37, 51, batch=2)
    prediction = network(image, 0 * sparse)
    outputs = [x for x in (prediction.depth, prediction.confidence) if x is not None]
    assert all(x.isfinite().all() for x in outputs)
    sum(x.mean() for x in outputs).backward()
    assert all(p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize('output', lspkd.CHOICES['output'])
def test_all_on_in_bfloat16_is_within_two_percent(output):
    network = undo_zeros(small(**{**ALL_ON, 'output': output}))
    image, sparse = inputs(97, 131, batch=2)
    with torch.inference_mode():
        expected = network(image, sparse)
        found = network.bfloat16()(image.bfloat16(), sparse.bfloat16())
    for ours, theirs in ((found.depth, expected.depth), (found.confidence, expected.confidence)):
        assert ours.dtype == torch.float32
        assert (ours - theirs).abs().mean() < 0.02 * theirs.abs().mean()


def test_all_on_compiles_without_graph_breaks():
    network = undo_zeros(small(**ALL_ON))
    torch.compiler.reset()
    compiled = torch.compile(network, fullgraph=True, backend='aot_eager')
    given = inputs(37, 51)
    with torch.inference_mode():
        found, expected = (net(*given, features=False) for net in (compiled, network))
    torch.testing.assert_close(found.depth, expected.depth, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.confidence, expected.confidence, rtol=1e-4, atol=1e-5)


def test_all_on_learns_a_frame():
    """A tilted road with a box, 5 % of its pixels measured: the residual must find the box."""
    torch.manual_seed(0)
    truth = torch.linspace(40, 4, 64)[:, None].repeat(1, 96)
    truth[20:50, 30:60] = 8
    truth = truth[None, None]
    image = torch.stack((truth, truth.flip(3), truth.sqrt()), 1)[:, :, 0] / 20 - 1
    sparse = truth * (torch.rand_like(truth) < 0.05)
    network = lspkd.Network(lspkd.Config(1 / 16, (1, 1, 1, 1), **ALL_ON)).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    errors = []
    for _ in range(60):
        prediction = network(image, sparse)
        error = (prediction.depth - truth).abs() / truth
        scale = prediction.features['log_sigma_rel']
        optimizer.zero_grad()
        (error * torch.exp(-scale) + scale).mean().backward()  # a Laplace distribution's
        optimizer.step()
        errors.append((error * truth).mean().item())
    assert errors[-1] < 0.5 * errors[0]


# --- validity, and a second depth


def test_validity_and_a_second_depth_are_channels_of_the_lidar_encoder():
    image, sparse = inputs(37, 51, batch=2)
    aligned = 1 + sparse
    seen = []
    for validity in (False, True):
        config = lspkd.Config(1 / 16, (1, 1, 1, 1), validity=validity)
        network = lspkd.Network(config, depth_channels=2)
        network.lidar.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
        network.complete(image, torch.cat((sparse, aligned), 1), sparse)
    assert torch.equal(seen[0], torch.cat((sparse, aligned), 1))
    assert torch.equal(seen[1], torch.cat((sparse, aligned, (sparse != 0).float()), 1))


# --- output


BELOW = 0.5 - exp(-4)  # how far `positive` falls below 0.5


@pytest.mark.parametrize(
    ('output', 'raw', 'metres'),  # at a prefill of 10 m, and without one but for 'metric'
    [
        ('metric', -2.5, 7.5),
        ('metric', 90, 100),
        ('log', 1, 10 * exp(4 * tanh(0.25))),
        ('log', -1, 10 / exp(4 * tanh(0.25))),
        ('log', 1e30, 10 * exp(4)),
        ('log', -1e30, 10 / exp(4)),
        ('inverse', 1, 5),
        ('inverse', -0.5, 20),
        ('inverse', -1, 10 / (0.5 + BELOW * (exp(-0.5 / BELOW) - 1))),
        ('inverse', -1e30, 10 * exp(4)),
        ('inverse', 999, 0.01),
    ],
)
def test_output_formulas(output, raw, metres):
    image, sparse = inputs(6, 7)
    with torch.inference_mode():
        residual = saying([raw], output=output, prefill='push_pull')(image, 0 * sparse).depth
        alone = saying([raw], output=output)(image, sparse).depth
    assert residual.flatten().tolist() == pytest.approx([metres] * 42, rel=1e-5)
    expected = raw if output == 'metric' else metres
    assert alone.flatten().tolist() == pytest.approx([expected] * 42, rel=1e-5)


@pytest.mark.parametrize(
    ('output', 'metres'),
    [
        ('metric', (4.5, 40.5)),
        ('log', (4 * exp(4 * tanh(0.125)), 40 * exp(4 * tanh(0.125)))),
        ('inverse', (1 / (1 / 4 + 0.05), 1 / (1 / 40 + 0.05))),
    ],
)
def test_residual_adds_metres_multiplies_or_adds_to_the_inverse(output, metres):
    image, sparse = inputs(6, 7, batch=2)
    sparse = torch.tensor([4.0, 40.0])[:, None, None, None].expand_as(sparse)
    with torch.inference_mode():
        depth = saying([0.5], output=output, prefill='push_pull')(image, sparse).depth
    assert depth[:, 0, 0, 0].tolist() == pytest.approx(metres, rel=1e-5)


def test_inverse_falls_off_without_a_kink():
    """The slope of `positive` is 1 down to 0.5 and never 0, so that no pixel is stuck."""
    x = torch.linspace(-1.5, 2, 1401, dtype=torch.float64, requires_grad=True)
    y = lspkd.positive(x)
    (slope,) = torch.autograd.grad(y.sum(), x)
    assert torch.equal(y[x >= 0.5], x[x >= 0.5])
    assert (y > exp(-4)).all() and (slope > 0).all()
    assert slope.diff().abs().max() < 0.01


# --- prefill


@pytest.mark.parametrize('training', [False, True])
@pytest.mark.parametrize('output', lspkd.CHOICES['output'])
def test_untrained_residual_is_the_prefill_exactly(output, training):
    image, sparse = inputs(37, 51, batch=2)
    network = small(output=output, prefill='push_pull', validity=True, confidence=True)
    depth = network.train(training)(image, sparse).depth
    assert torch.equal(depth, push_pull(sparse))


@pytest.mark.parametrize('output', ['log', 'inverse'])
def test_untrained_positive_output_is_ten_metres(output):
    depth = small(output=output, confidence=True)(*inputs(37, 51)).depth
    assert torch.equal(depth, torch.full_like(depth, 10))


@pytest.mark.parametrize(
    ('given', 'expected'),
    [
        # Halving the rows changes nothing here; the next two cells, one point among 16 places
        # each, have weight 8/16; the cell above them is the mean of both, 6. Down again they are
        # (4 + 6) / 2 and (8 + 6) / 2, and between them it is linear.
        ([[4, 0, 0, 8]], [[4, 5.5, 6.5, 8]]),
        # The first level has both pairs of rows at weight 1: linear between their centres.
        ([[4], [0], [0], [8]], [[4], [5], [7], [8]]),
        ([[0, 0, 0], [0, 7, 0]], [[7, 7, 7], [7, 7, 7]]),
        ([[3, 5], [6, 8]], [[3, 5], [6, 8]]),
        ([[0, 0], [0, 0]], [[10, 10], [10, 10]]),
        ([[0]], [[10]]),
    ],
)
def test_push_pull_by_hand(given, expected):
    dense = push_pull(torch.tensor([[given]], dtype=torch.float64))
    assert dense[0, 0].numpy() == pytest.approx(np.array(expected), rel=1e-12)


def halved(depth, weight, rows_only):
    """Average by loops: each coarse cell looks at 2x1 places, or at 4x4 around its 2x2."""
    height, width = depth.shape
    columns = range(width) if rows_only else range(0, width, 2)
    cells = []
    for top in range(0, height, 2):
        for left in columns:
            rows = (top, top + 1) if rows_only else range(top - 1, top + 3)
            across = (left,) if rows_only else range(left - 1, left + 3)
            places = [(i, j) for i in rows for j in across]
            within = [(i, j) for i, j in places if 0 <= i < height and 0 <= j < width]
            total = sum(weight[p] for p in within)
            mean = sum(depth[p] * weight[p] for p in within) / total if total else 0
            cells.append((mean, min(8 * total / len(places), 1)))
    return np.array(cells).reshape(-1, len(columns), 2).transpose(2, 0, 1)


def doubled(dense, height, width, rows_only):
    """Interpolate linearly between the centres of cells that are 2 high and 2 (or 1) wide."""
    rows = (np.arange(height) + 0.5) / 2 - 0.5
    columns = np.arange(width) if rows_only else (np.arange(width) + 0.5) / 2 - 0.5
    high = np.stack([np.interp(rows, np.arange(len(dense)), c) for c in dense.T], 1)
    return np.stack([np.interp(columns, np.arange(dense.shape[1]), r) for r in high])


def filled(depth, weight, level=0):
    """Fill (H, W) with what the next coarser level knows, by recursion; the ninth is the last."""
    if level == 8:
        known = (depth * weight).sum() / weight.sum() if weight.any() else 10
    else:
        coarse = filled(*halved(depth, weight, level == 0), level + 1)
        known = doubled(coarse, *depth.shape, level == 0)
    return weight * depth + (1 - weight) * known


@pytest.mark.parametrize('size', [(1, 1), (1, 9), (9, 1), (3, 700), (16, 24), (37, 51)])
@pytest.mark.parametrize('density', [0.003, 0.3])
def test_push_pull_equals_its_loops(size, density):
    rng = np.random.default_rng(3)
    sparse = rng.uniform(1, 120, size) * (rng.random(size) < density)
    dense = push_pull(torch.from_numpy(sparse)[None, None])[0, 0].numpy()
    assert dense == pytest.approx(filled(sparse, np.float64(sparse > 0)), rel=1e-9)


@pytest.mark.parametrize('size', [(1, 1), (2, 700), (37, 51), (352, 1216)])
def test_push_pull_keeps_points_and_stays_between_them(size):
    torch.manual_seed(0)
    _, sparse = inputs(*size, batch=3)
    sparse[1] = 0
    sparse[2] = 0
    sparse[2, 0, 0, 0] = 33
    dense = push_pull(sparse)
    points = sparse[0] > 0
    assert torch.equal(dense[0][points], sparse[0][points])
    if points.any():
        assert sparse[0][points].min() - 1e-4 <= dense[0].min()
        assert dense[0].max() <= sparse[0].max() + 1e-4
    assert torch.equal(dense[1], torch.full_like(dense[1], 10))
    torch.testing.assert_close(dense[2], torch.full_like(dense[2], 33))


def test_push_pull_of_bfloat16_computes_in_float32():
    _, sparse = inputs(37, 51)
    sparse = sparse.bfloat16()
    dense = push_pull(sparse)
    assert dense.dtype == torch.float32
    assert torch.equal(dense, push_pull(sparse.float()))


def test_push_pull_is_as_good_as_the_classical_one_on_a_real_frame(shared_data):
    """On KITTI's 16 beams; the classical pyramid reads Gaussian instead of box windows."""
    sparse, truth = (
        kitti_depth(shared_data, folder, 0).astype(np.float32)
        for folder in ('sparse_16beam', 'heldout_48beam')
    )
    ours = push_pull(torch.from_numpy(sparse)[None, None])[0, 0].numpy()
    theirs = classical.find('push_pull')(sparse)
    mae, reference = (np.abs(dense - truth)[truth > 0].mean() for dense in (ours, theirs))
    assert mae < 1.1 * reference


# --- confidence


@pytest.mark.parametrize('raw', [0.0, 1.0, -2.0, 1e30, -1e30])
def test_confidence_formula(raw):
    prediction = saying([5.0, raw])(*inputs(6, 7))
    log_sigma = log(0.1) + 4 * tanh(raw / 4)
    expected = exp(-exp(log_sigma) / 0.1)
    found = prediction.features['log_sigma_rel'].flatten().tolist()
    assert found == pytest.approx([log_sigma] * 42, rel=1e-5)
    assert prediction.confidence.flatten().tolist() == pytest.approx([expected] * 42, rel=1e-4)
    assert prediction.depth.flatten().tolist() == pytest.approx([5] * 42)


def test_confidence_begins_in_the_middle_and_leaves_the_papers_depth():
    given = inputs(37, 51)
    with_head, without = small(confidence=True), small()
    prediction = with_head(*given)
    assert torch.equal(prediction.confidence, torch.full_like(prediction.confidence, exp(-1)))
    drawn, alone = with_head.dec0.weight[:, :1].std(), without.dec0.weight.std()
    assert drawn.item() == pytest.approx(alone.item(), rel=0.5)
    assert prediction.depth.std() > 0.1


def test_confidence_without_features_and_none_without_the_head():
    given = inputs(37, 51)
    network = undo_zeros(small(**ALL_ON))
    with torch.inference_mode():
        full, lean = network(*given), network(*given, features=False)
        without = small()(*given)
    assert lean.features == {}
    assert torch.equal(lean.confidence, full.confidence)
    assert without.confidence is None
    assert 'log_sigma_rel' not in without.features

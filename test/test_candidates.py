"""Depths to choose between: against loops, and blended by the network."""

from __future__ import annotations

from math import log

from depth_kd_ros.networks import lspkd
from depth_kd_ros.networks.parts.candidates import ALONG_PX, candidates, NAMES, SHOWN, TYPICAL_PX
from depth_kd_ros.networks.parts.prefill import push_pull
from network_inputs import inputs
import numpy as np
import pytest
import torch

SIZES = [(1, 1), (1, 9), (7, 1), (23, 31), (40, 17)]


def sparse_of(size, share, seed=0):
    """Draw sparse depth (H, W) m with about this share of points."""
    rng = np.random.default_rng(seed)
    return np.where(rng.random(size) < share, rng.uniform(1, 80, size), 0)


def reached(sparse):
    """Let points reach along their row, (H, W) m, as `candidates` says it."""
    wide = sparse.copy()
    for (row, column), depth in np.ndenumerate(sparse):
        beside = sparse[row, max(0, column - ALONG_PX) : column + ALONG_PX + 1]
        if not depth and beside.any():
            wide[row, column] = beside[beside > 0].min()
    return wide


def of(sparse):
    """Give the candidates (K, H, W) by name, and what is shown (8, H, W)."""
    depth, shown = candidates(torch.from_numpy(sparse)[None, None])
    return dict(zip(NAMES, depth[0].numpy(), strict=True)), shown[0].numpy()


@pytest.mark.parametrize('share', [0, 0.02, 0.3, 1])
@pytest.mark.parametrize('size', SIZES)
def test_candidates_equal_their_loops(size, share):
    sparse = sparse_of(size, share)
    found, shown = of(sparse)
    wide = reached(sparse)
    inverse = torch.from_numpy(np.divide(1, sparse, out=np.zeros(size), where=sparse > 0))
    smooth = 1 / push_pull(inverse[None, None], 0.1)[0, 0].numpy()
    np.testing.assert_allclose(found['smooth'], smooth, rtol=1e-9)
    for (row, column), _ in np.ndenumerate(sparse):
        points = [(y, wide[y, column]) for y in range(size[0]) if wide[y, column]]
        over, under = [p for p in points if p[0] <= row], [p for p in points if p[0] >= row]
        upper, lower = (over or under)[-1 if over else 0 :][:1], (under or over[::-1])[:1]
        default = smooth[row, column]
        above, below = (side[0][1] if side else default for side in (upper, lower))
        assert found['above'][row, column] == pytest.approx(above)
        assert found['below'][row, column] == pytest.approx(below)
        up = row - over[-1][0] if over else None
        down = under[0][0] - row if under else None
        if up is not None and down is not None and up + down:
            part = down / (up + down)
            middle = 1 / (part / above + (1 - part) / below)
            assert found['column'][row, column] == pytest.approx(middle)
        for rows, told in ((up, shown[5]), (down, shown[6])):
            distance = 1 if rows is None else rows / (rows + TYPICAL_PX)
            assert told[row, column] == pytest.approx(distance, abs=2e-3)
    ratios = np.log(np.stack([found[name] / found['smooth'] for name in NAMES[1:]]))
    np.testing.assert_allclose(shown[1:5], ratios, atol=1e-9)
    np.testing.assert_allclose(shown[0], np.log(found['smooth'] / 10), atol=1e-9)
    np.testing.assert_array_equal(shown[7], sparse > 0)


def test_by_hand():
    # A far beam above a near one; a pole, of one point, stands before both.
    sparse = np.zeros((4, 12))
    sparse[0, 3:] = 20
    sparse[3, 3:] = 5
    sparse[2, 11] = 2
    found, shown = of(sparse)
    assert found['above'][:, 3].tolist() == pytest.approx([20, 20, 20, 5])
    assert found['below'][:, 3].tolist() == pytest.approx([20, 5, 5, 5])
    thirds = [20, 1 / (2 / 3 / 20 + 1 / 3 / 5), 1 / (1 / 3 / 20 + 2 / 3 / 5), 5]
    assert found['column'][:, 3].tolist() == pytest.approx(thirds)
    assert found['below'][1, 11 - ALONG_PX] == pytest.approx(2)  # as far as the pole reaches
    assert found['below'][1, 10 - ALONG_PX] == pytest.approx(5)
    assert shown[0, 0, 3] == pytest.approx(log(found['smooth'][0, 3] / 10))


def test_without_any_point_there_is_a_depth():
    found, shown = of(np.zeros((5, 6)))
    for depth in found.values():
        np.testing.assert_allclose(depth, 10)
    assert np.isfinite(shown).all() and shown.shape == (SHOWN, 5, 6)


def blending(**options):
    torch.manual_seed(0)
    config = lspkd.Config(1 / 16, (1, 1, 1, 1), output='log', prefill='blend', **options)
    return lspkd.Network(config).eval()


def test_untrained_is_the_geometric_mean_and_a_weight_chooses():
    image, sparse = inputs(37, 51, batch=2)
    depths = candidates(sparse).depth
    network = blending(confidence=True)
    with torch.inference_mode():
        torch.testing.assert_close(
            network(image, sparse).depth, depths.log().mean(1, keepdim=True).exp()
        )
        for place in range(len(NAMES)):
            network.dec0.bias.zero_()[2 + place] = 100.0
            chosen = network(image, sparse).depth
            torch.testing.assert_close(chosen, depths[:, place : place + 1])
        network.dec0.bias[0] = 1.0  # the residual multiplies
        scaled = network(image, sparse).depth
    torch.testing.assert_close(scaled, chosen * np.exp(4 * np.tanh(0.25)))


def test_the_image_reaches_the_blend_at_full_resolution():
    image, sparse = inputs(32, 48)
    network = blending()
    torch.nn.init.normal_(network.dec0.weight, std=0.5)
    other = image.clone()
    other[0, :, 16, 24] += 1
    for encoder in (network.rgb, network.lidar):
        for parameter in encoder.parameters():
            parameter.data.zero_()
    with torch.inference_mode():
        changed = (network(image, sparse).depth != network(other, sparse).depth)[0, 0]
    rows, columns = changed.nonzero().unbind(1)
    assert {*rows.tolist()} == {*range(14, 19)} and {*columns.tolist()} == {*range(22, 27)}

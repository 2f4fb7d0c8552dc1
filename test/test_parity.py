"""The live node and the offline command give the same depth for the same frame."""

from __future__ import annotations

import inspect

import box_world
from depth_kd_ros import classical
from depth_kd_ros.bags import Bag
from depth_kd_ros.cli import app
from depth_kd_ros.commands import complete
from depth_kd_ros.completer import DepthCompleter
from depth_kd_ros.nodes.parameters import Settings
from node_harness import Harness
import numpy as np
import pytest
from random_checkpoint import write as write_checkpoint
from typer.testing import CliRunner

TOLERANCE_M = 1e-5
QUICK = ('linear', 'lspkd')
REST = [name for name in classical.available() if name not in QUICK]
MODELS = [*QUICK, *(pytest.param(name, marks=pytest.mark.full) for name in REST)]


def played(bag_path, log, model):
    """Send a bag to the live node, as fast as it takes it, and give its depth by stamp."""
    with Bag(bag_path) as bag:
        topics = {kind: bag.find_topic(kind) for kind in ('image', 'points', 'camera_info')}
        T = bag.extrinsics(bag.frame_id(topics['image']), bag.frame_id(topics['points']))
    settings = {
        'model': model, 'device': 'cpu', 'extrinsics.source': 'parameter',
        'extrinsics.T_cam_lidar': [float(v) for v in T.ravel()],
    }  # fmt: skip
    with Harness(log, topics=topics, **settings) as node, Bag(bag_path) as bag:
        sender = {topics[kind]: publisher for kind, publisher in node.senders.items()}
        sent = dict.fromkeys(topics.values(), 0)
        for topic, data, _ in bag.raw_messages(list(sent)):
            sender[topic].publish(data)
            sent[topic] += 1
            node.until(lambda: len(node.depth) >= min(sent.values()))  # a newer one displaces it
        node.until(lambda: node.count('frames_out') == len(node.depth) > 0)
    return node.depth


def completed(bag_path, out, model):
    """Complete a bag offline and give its depth by stamp."""
    words = ['complete', str(bag_path), '--out', str(out), '--format', 'npy', '--model', model]
    result = CliRunner().invoke(app, [*words, '--device', 'cpu'])
    assert result.exit_code == 0, result.output
    return {int(path.stem): np.load(path) for path in out.iterdir()}


def compare(bag_path, tmp_path, model, least):
    name = str(write_checkpoint(tmp_path / 'lspkd.safetensors')) if model == 'lspkd' else model
    live = played(bag_path, tmp_path / 'log', name)
    offline = completed(bag_path, tmp_path / 'out', name)
    assert len(set(live) & set(offline)) >= least
    for stamp, depth in live.items():
        assert np.abs(depth - offline[stamp]).max() <= TOLERANCE_M
    assert all(depth.min() > 0 and depth.std() > 0 for depth in live.values())


@pytest.mark.parametrize('model', MODELS)
def test_live_equals_offline(tmp_path, model):
    box_world.write(tmp_path / 'bag', count=6)
    compare(tmp_path / 'bag', tmp_path, model, least=5)


@pytest.mark.parametrize('model', QUICK)
def test_live_equals_offline_on_real_data(shared_data, tmp_path, model):
    compare(shared_data / 'kitti_0926_bag', tmp_path, model, least=19)


def test_command_and_node_have_the_same_defaults():
    """A default that drifted would make them give different depth for the same frame."""
    node = Settings()
    command = {n: p.default for n, p in inspect.signature(complete.run).parameters.items()}
    same = {
        'model': node.model, 'device': node.device, 'bleed_filter': node.bleed_filter,
        'min_depth': node.min_depth_m, 'max_depth': node.max_depth_m, 'rectify': node.rectify,
        'slop': node.sync_slop_s, 'offset': node.sync_offset_s,
    }  # fmt: skip
    assert {name: command[name] for name in same} == same
    completer = inspect.signature(DepthCompleter).parameters
    assert completer['model'].default == node.model
    assert completer['min_depth_m'].default == node.min_depth_m
    assert completer['max_depth_m'].default == node.max_depth_m

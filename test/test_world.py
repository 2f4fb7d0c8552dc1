"""Worlds of solids: poses, padding and surfaces of a batch."""

from __future__ import annotations

import math

from depth_kd_training.simulation.raycast import cast, GROUND, MISS
from depth_kd_training.simulation.solids import Kind
from depth_kd_training.simulation.world import (
    CLASSES,
    rotation,
    Solid,
    stack,
    Surface,
    WorldBuilder,
)
import numpy as np
import pytest
import torch

TEXTURES = ('plain', 'asphalt', 'brick')


def street():
    """Build a wall at x = 10 m and a ball before it; the ground rises by 1 in 10."""
    builder = WorldBuilder(ground_slope=(0.1, 0.0), sun=(0, 0, 2))
    car = builder.instance()
    builder.add(
        Solid(Kind.FRUSTUM, (10.5, 0, 2), (0.5, 5, 2), 'wall', Surface('brick', 2.0, (1, 0, 0))),
        Solid(Kind.ELLIPSOID, (5, 0, 2), (1, 1, 1), 'car', instance=car, velocity=(3, 0, 0)),
    )
    return builder


def test_a_batch_of_worlds_of_different_size():
    empty = WorldBuilder(ground_height=-1, indoor=True)
    world = stack([street(), empty], TEXTURES)
    assert world.solids.kind.tolist() == [[Kind.FRUSTUM, Kind.ELLIPSOID], [Kind.NONE, Kind.NONE]]
    o = torch.tensor([0.0, 0, 2]).expand(2, 1, 3, 3)
    d = torch.tensor([[1.0, 0, 0], [1.0, 0.4, 0], [0.0, 0, -1]]).expand(2, 1, 3, 3)
    hits = cast(world.solids, world.ground, o, d)
    assert hits.solid.tolist() == [[[1, 0, GROUND]], [[MISS, MISS, GROUND]]]
    assert hits.distance[0, 0].tolist() == pytest.approx([4, 10, 2])
    assert hits.distance[1, 0, 2].item() == 3


def test_surfaces_stand_at_their_solid_and_the_grounds_last():
    world = stack([street()], TEXTURES)
    assert [TEXTURES[i] for i in world.texture[0]] == ['brick', 'plain', 'asphalt']
    assert [CLASSES[i] for i in world.semantic[0]] == ['wall', 'car', 'road']
    assert world.instance.tolist() == [[0, 1, 0]]
    assert world.tile_m[0, 0] == 2 and world.tint[0, 0].tolist() == [1, 0, 0]
    assert world.velocity[0, 1].tolist() == [3, 0, 0]
    assert world.sun.tolist() == [[0, 0, 1]]


def test_the_ground_under_a_point_is_the_ray_casters():
    builder = street()
    builder.ground_bend = 0.01
    world = stack([builder], TEXTURES)
    x, y = torch.tensor([[3.0, -2.0]]), torch.tensor([[1.0, 4.0]])
    expected = [builder.ground_at(3, 1), builder.ground_at(-2, 4)]
    assert expected == pytest.approx([0.39, -0.16])
    assert world.ground.at(x, y)[0].tolist() == pytest.approx(expected)


def test_rotation_turns_roll_first_then_pitch_then_yaw():
    nose, left = np.array([1.0, 0, 0]), np.array([0, 1.0, 0])
    assert rotation(math.pi / 2, 0, 0) @ nose == pytest.approx([0, 1, 0])
    assert rotation(0, math.pi / 2, 0) @ nose == pytest.approx([0, 0, -1])
    assert rotation(0, 0, math.pi / 2) @ left == pytest.approx([0, 0, 1])
    # Rolled, the left points up; pitched down, up points ahead; yawed left, ahead points left.
    assert rotation(math.pi / 2, math.pi / 2, math.pi / 2) @ left == pytest.approx([0, 1, 0])


def test_unknown_textures_and_classes_are_errors():
    builder = WorldBuilder()
    builder.add(Solid(Kind.FRUSTUM, (0, 0, 0), (1, 1, 1), 'car', Surface('velvet')))
    with pytest.raises(KeyError, match='velvet'):
        stack([builder], TEXTURES)
    with pytest.raises(ValueError, match="semantic = 'dragon': give one of ground, road"):
        Solid(Kind.FRUSTUM, (0, 0, 0), (1, 1, 1), 'dragon')

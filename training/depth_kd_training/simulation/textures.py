"""Textures of the simulated worlds, tileable: albedo factors, which a tint multiplies."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

SIDE = 128  # texels
Rng = np.random.Generator


def noise(rng: Rng, slope: float, stretch: float = 1.0) -> np.ndarray:
    """Draw tileable noise (SIDE, SIDE), mean 0, deviation 1, of the spectrum 1 / f^slope."""
    v, u = np.meshgrid(np.fft.fftfreq(SIDE), np.fft.rfftfreq(SIDE), indexing='ij')
    f = np.hypot(v * stretch, u)
    f[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.standard_normal((SIDE, SIDE))) * f**-slope
    drawn = np.fft.irfft2(spectrum, s=(SIDE, SIDE))
    return drawn / drawn.std()


def grid(rng: Rng, rows: int, columns: int, joint: float, shift: float = 0.0) -> tuple:
    """Lay slabs: a number 0..1 per slab and whether a texel is joint, (SIDE, SIDE) each."""
    v, u = np.mgrid[:SIDE, :SIDE] / SIDE
    row = np.floor(v * rows).astype(int)
    along = u * columns + shift * (row % 2)
    column = np.floor(along).astype(int) % columns
    brightness = rng.random((rows, columns))[row, column]
    inside_v, inside_u = v * rows - row, along - np.floor(along)
    return brightness, (inside_v < joint * rows) | (inside_u < joint * columns)


def slabs(rows: int, columns: int, joint: float, shift: float, spread: float) -> Callable:
    """Make a drawer of slabs with joints, each of another brightness."""

    def draw(rng: Rng) -> np.ndarray:
        brightness, joints = grid(rng, rows, columns, joint, shift)
        drawn = 0.75 + spread * (brightness - 0.5) + 0.05 * noise(rng, 0.7)
        return np.where(joints, 0.45 + 0.05 * noise(rng, 0.3), drawn)

    return draw


def grains(mean: float, *parts: tuple[float, float, float]) -> Callable:
    """Make a drawer of noises: (deviation, slope, stretch) each."""

    def draw(rng: Rng) -> np.ndarray:
        layers = [deviation * noise(rng, slope, s) for deviation, slope, s in parts]
        return mean + np.sum(layers, 0)

    return draw


def cobbles(rng: Rng) -> np.ndarray:
    """Draw rounded stones, by the distance to the nearest of jittered points."""
    count = 8
    cells = (np.mgrid[:count, :count].reshape(2, -1).T + rng.uniform(0.15, 0.85, (64, 2))) / count
    at = np.moveaxis(np.indices((SIDE, SIDE)), 0, -1).reshape(-1, 1, 2) / SIDE
    away = np.abs(at - cells)
    away = np.minimum(away, 1 - away)  # around the tile
    order = np.sort(np.hypot(*away.transpose(2, 0, 1)), 1)[:, :2].reshape(SIDE, SIDE, 2)
    gap = (order[..., 1] - order[..., 0]) * count
    return 0.3 + 0.5 * np.clip(gap * 3, 0, 1) + 0.07 * noise(rng, 0.5)


def facade(rng: Rng) -> np.ndarray:
    """Draw one bay of one storey: a wall with a window, its frame, sill and curtain."""
    wall = 0.8 + 0.03 * noise(rng, 1.0)
    drawn = np.repeat(wall[..., None], 3, 2)
    left, right = int(SIDE * rng.uniform(0.12, 0.32)), int(SIDE * rng.uniform(0.68, 0.88))
    top, bottom = int(SIDE * rng.uniform(0.08, 0.2)), int(SIDE * rng.uniform(0.62, 0.85))
    frame = rng.choice([0.95, 0.4, 0.25])
    cv2.rectangle(drawn, (left - 3, top - 3), (right + 3, bottom + 3), (frame,) * 3, -1)
    sky = np.linspace(rng.uniform(0.25, 0.6), 0.1, bottom - top)[:, None, None]
    pane = sky * np.array([0.85, 0.95, 1.0]) + 0.03 * noise(rng, 1.5)[top:bottom, left:right, None]
    drawn[top:bottom, left:right] = pane
    if rng.random() < 0.5:
        drop = top + int((bottom - top) * rng.uniform(0.15, 0.8))
        drawn[top:drop, left:right] = drawn[top:drop, left:right] * 0.4 + 0.4
    for x in np.linspace(left, right, int(rng.integers(2, 5)))[1:-1].astype(int):
        cv2.line(drawn, (int(x), top), (int(x), bottom), (frame,) * 3, 2)
    cv2.rectangle(drawn, (left - 6, bottom + 2), (right + 6, bottom + 6), (0.6,) * 3, -1)
    return drawn


def text(rng: Rng) -> np.ndarray:
    """Draw lines of letters in one colour on another, with a rim."""
    back, ink = rng.random(3), rng.random(3)
    if abs(back.mean() - ink.mean()) < 0.4:
        ink = (back + 0.5) % 1
    drawn = np.tile(np.rint(back * 255).astype(np.uint8), (SIDE, SIDE, 1))
    ink *= 255
    letters = np.array(list('ABCDEFGHIJKLMNOPRSTUVWXYZ0123456789'))
    lines = int(rng.integers(1, 5))
    for line in range(lines):
        words = ''.join(rng.choice(letters, int(rng.integers(3, 8))))
        size = 3.2 / lines * rng.uniform(0.5, 0.8)
        base = int(SIDE * (line + 0.75) / lines)
        cv2.putText(drawn, words, (8, base), cv2.FONT_HERSHEY_DUPLEX, size, ink.tolist(), 2)
    cv2.rectangle(drawn, (2, 2), (SIDE - 3, SIDE - 3), ink.tolist(), int(rng.integers(1, 5)))
    return drawn / 255


def poster(rng: Rng) -> np.ndarray:
    """Draw shapes of many colours one over the other."""
    drawn = np.tile(rng.random(3), (SIDE, SIDE, 1)) + 0.05 * noise(rng, 1.5)[..., None]
    for _ in range(int(rng.integers(5, 14))):
        colour, at = rng.random(3).tolist(), rng.integers(0, SIDE, 4).tolist()
        if rng.random() < 0.5:
            cv2.circle(drawn, at[:2], int(rng.integers(5, 35)), colour, -1, cv2.LINE_AA)
        else:
            cv2.rectangle(drawn, at[:2], at[2:], colour, -1)
    return drawn


def bands(count: int, low: float, high: float, sharp: bool) -> Callable:
    """Make a drawer of upright bands between two brightnesses."""

    def draw(rng: Rng) -> np.ndarray:
        wave = np.sin(2 * np.pi * count * np.arange(SIDE) / SIDE + rng.uniform(0, 6))
        wave = np.sign(wave) if sharp else wave
        drawn = low + (high - low) * (wave + 1) / 2
        return drawn[None, :] + 0.04 * noise(rng, 0.8)

    return draw


def checks(rng: Rng) -> np.ndarray:
    """Draw a chess board of two colours."""
    v, u = np.mgrid[:SIDE, :SIDE] * int(rng.choice([4, 8])) // SIDE
    first, second = rng.uniform(0.2, 1, (2, 3))
    return np.where(((u + v) % 2 == 0)[..., None], first, second)


def fabric(rng: Rng) -> np.ndarray:
    """Draw a weave with stripes of colour in both directions."""
    stripes = np.repeat(rng.uniform(0.4, 1, (2, 16, 3)), SIDE // 16, axis=1)
    v, u = np.mgrid[:SIDE, :SIDE]
    return np.where(((u + v) % 2 == 0)[..., None], stripes[0][None], stripes[1][:, None])


def foliage(rng: Rng) -> np.ndarray:
    """Draw leaves: bright specks before dark depths."""
    leaves = np.tanh(noise(rng, 0.6)) * 0.2 + np.tanh(noise(rng, 1.2)) * 0.2 + 0.55
    warm = 0.04 * noise(rng, 1.5)
    return np.stack((leaves + warm, leaves, leaves * 0.8), -1)


def marble(rng: Rng) -> np.ndarray:
    """Draw veins: bands bent by noise."""
    v, u = np.mgrid[:SIDE, :SIDE] / SIDE
    bent = np.sin(2 * np.pi * (u + 2 * v) + 1.5 * noise(rng, 1.8))
    return 0.85 - 0.3 * np.abs(bent) ** 8 + 0.03 * noise(rng, 1.0)


DRAW: dict[str, Callable[[Rng], np.ndarray]] = {
    'plain': grains(0.8, (0.02, 0.5, 1), (0.03, 1.5, 1)),
    'asphalt': grains(0.75, (0.10, 0.0, 1), (0.06, 1.6, 1), (0.03, 1.5, 0.1)),
    'concrete': grains(0.75, (0.05, 0.6, 1), (0.08, 1.7, 1)),
    'paving': slabs(4, 4, 0.012, 0.5, 0.25),
    'cobbles': cobbles,
    'grass': grains(0.65, (0.15, 0.2, 0.4), (0.12, 1.3, 1)),
    'soil': grains(0.65, (0.10, 0.5, 1), (0.15, 1.5, 1)),
    'brick': slabs(16, 4, 0.012, 0.5, 0.4),
    'plaster': grains(0.82, (0.03, 0.5, 1), (0.05, 1.8, 1), (0.03, 1.5, 0.15)),
    'tiles': slabs(8, 8, 0.01, 0.0, 0.12),
    'panels': slabs(2, 2, 0.02, 0.0, 0.15),
    'facade': facade,
    'wood': grains(0.7, (0.14, 1.2, 0.06), (0.04, 0.5, 0.2)),
    'planks': slabs(1, 8, 0.012, 0.0, 0.35),
    'corrugated': bands(16, 0.5, 0.9, sharp=False),
    'foliage': foliage,
    'bark': grains(0.6, (0.2, 0.9, 0.15)),
    'fabric': fabric,
    'carpet': grains(0.7, (0.12, 0.1, 1), (0.1, 1.4, 1)),
    'checks': checks,
    'stripes': bands(6, 0.25, 1.0, sharp=True),
    'text': text,
    'poster': poster,
    'metal': grains(0.75, (0.06, 0.6, 8), (0.05, 1.6, 1)),
    'marble': marble,
}

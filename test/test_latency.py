"""The median of enough calls, and of few where they are slow, by a clock that the test turns."""

from __future__ import annotations

from depth_kd_ros import latency, networks
import pytest


class Clock:
    """Advance by the next of the durations, in seconds, with every call; the last one repeats."""

    def __init__(self, *durations):
        self.now, self.calls, self.durations = 0.0, 0, durations

    def run(self):
        self.now += self.durations[min(self.calls, len(self.durations) - 1)]
        self.calls += 1


@pytest.mark.parametrize(
    ('durations', 'median_ms', 'calls'),
    [
        ((9, 0.25, 0.5, 0.25, 0.5, 0.5), 500, 1 + 5),  # the first, slow one warms up
        ((0.125,), 125, 1 + 8),  # until a second is full
        ((4,), 4000, 1 + 3),  # ten seconds are exceeded
        ((60,), 60_000, 1 + 1),
    ],
)
def test_median_and_number_of_calls(monkeypatch, durations, median_ms, calls):
    clock = Clock(*durations)
    monkeypatch.setattr(latency.time, 'perf_counter', lambda: clock.now)
    assert latency.median_ms(clock.run) == median_ms
    assert clock.calls == calls


@pytest.mark.parametrize('preset', ['depth_only_b', 'lspkd_s8', 'mff_mobilenet_v2'])
def test_networks_of_every_kind_of_input_are_measured(monkeypatch, preset):
    monkeypatch.setattr(latency, 'ENOUGH_S', 0)
    network = networks.build(*networks.presets()[preset]).eval()
    assert latency.network_ms(network, (16, 24)) > 0

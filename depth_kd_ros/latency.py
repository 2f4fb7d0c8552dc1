"""How long a prediction takes on this machine."""

from __future__ import annotations

from collections.abc import Callable
import statistics
import time

from depth_kd_ros.example_inputs import example_inputs
from depth_kd_ros.networks.base import DepthNetwork, UNREAD
import torch

FEWEST_RUNS, ENOUGH_S, MOST_S = 5, 1.0, 10.0


def median_ms(run: Callable[[], object]) -> float:
    """
    Give the median time of a call in ms, after one call that warms up.

    There are `FEWEST_RUNS` calls at least and as many as fit into `ENOUGH_S`; slow calls end after
    `MOST_S`, the first one that exceeds it included.
    """
    run()
    seconds: list[float] = []
    total = 0.0
    while total < MOST_S and (len(seconds) < FEWEST_RUNS or total < ENOUGH_S):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
        total += seconds[-1]
    return statistics.median(seconds) * 1e3


@torch.inference_mode()
def network_ms(network: DepthNetwork, size: tuple[int, int]) -> float:
    """Give the median latency in ms of one image of the size (H, W), on the network's device."""
    device = next(network.parameters()).device
    given = UNREAD | example_inputs(network, size, device=device)

    def run() -> None:
        network(**given, features=False)
        if device.type == 'cuda':
            torch.cuda.synchronize(device)

    return median_ms(run)

"""Keep the tests' DDS to themselves, find the real sensor data and count what was skipped."""

from __future__ import annotations

from collections import Counter
import os
from pathlib import Path
import socket
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROFILE = ROOT / 'config' / 'fastdds_shared_memory.xml'
DOMAINS = 101  # above, DDS would meet Linux's ephemeral ports
CLAIM_PORT = 17000


def claim_domain() -> tuple[int, socket.socket]:
    """Choose a ROS domain no other test run on this machine holds, until the socket closes."""
    for attempt in range(DOMAINS):
        domain = (os.getpid() + attempt) % DOMAINS + 1
        claim = socket.socket()
        try:
            claim.bind(('127.0.0.1', CLAIM_PORT + domain))
        except OSError:
            claim.close()
            continue
        return domain, claim
    raise pytest.UsageError(
        f'no free ROS domain: ports {CLAIM_PORT + 1}-{CLAIM_PORT + DOMAINS} are all taken'
    )


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption('--full', action='store_true', help='run the tests marked full, too')


def pytest_configure(config: pytest.Config) -> None:
    """Set the environment of rclpy, Fast DDS, and OpenMP before any is imported."""
    domain, claim = claim_domain()
    config.add_cleanup(claim.close)
    os.environ.update(
        FASTDDS_DEFAULT_PROFILES_FILE=str(PROFILE),
        FASTRTPS_DEFAULT_PROFILES_FILE=str(PROFILE),
        OMP_WAIT_POLICY='PASSIVE',
        PYTHONPATH=os.pathsep.join(  # child processes run the code that pytest runs
            [str(ROOT), str(ROOT / 'training'), *filter(None, [os.environ.get('PYTHONPATH')])]
        ),
        ROS_AUTOMATIC_DISCOVERY_RANGE='LOCALHOST',
        ROS_DOMAIN_ID=str(domain),
    )
    if os.environ.get('ROS_DISTRO') == 'humble':
        os.environ['ROS_LOCALHOST_ONLY'] = '1'


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the tests on real data; skip those that need --full or a GPU which is not there."""
    no_gpu = False
    if any(item.get_closest_marker('gpu') for item in items):
        import torch

        no_gpu = not torch.cuda.is_available()
    for item in items:
        if 'shared_data' in getattr(item, 'fixturenames', ()):
            item.add_marker('real_data')
        if no_gpu and item.get_closest_marker('gpu'):
            item.add_marker(pytest.mark.skip(reason='no CUDA device here (make gpu runs these)'))
        if item.get_closest_marker('full') and not config.getoption('--full'):
            item.add_marker(pytest.mark.skip(reason='long (make test-full runs these)'))


@pytest.fixture(scope='session')
def shared_data() -> Path:
    """Give the folder of real sensor data: DEPTH_KD_DATA, or ../shared/data by the checkout."""
    folder = Path(os.environ.get('DEPTH_KD_DATA') or ROOT.parent / 'shared' / 'data')
    if not folder.is_dir():
        pytest.skip(f'no real sensor data in {folder}: set DEPTH_KD_DATA to its folder')
    return folder


def reason(report: Any) -> str:
    """Give the reason of a skipped report without pytest's prefix."""
    return str(report.longrepr[2]).removeprefix('Skipped: ')


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print how many tests ran and were skipped, why, and how many of them were on real data."""
    by_outcome = terminalreporter.stats
    ran = [
        report
        for outcome in ('passed', 'failed', 'xfailed', 'xpassed')
        for report in by_outcome.get(outcome, ())
    ]
    skipped = by_outcome.get('skipped', [])
    real_ran, real_skipped = (
        sum('real_data' in getattr(report, 'keywords', ()) for report in reports)
        for reports in (ran, skipped)
    )
    terminalreporter.section('what was tested')
    terminalreporter.line(f'tests: {len(ran)} run, {len(skipped)} skipped')
    for text, count in Counter(map(reason, skipped)).most_common():
        terminalreporter.line(f'    {count} skipped: {text}')
    terminalreporter.line(f'real-data tests: {real_ran} run, {real_skipped} skipped')

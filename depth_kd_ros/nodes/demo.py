"""
Play a bag through the real node over DDS, and leave pictures and a report.

Three processes: bag_player_node, completion_node, and this one, which watches what comes out.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
import json
import os
from pathlib import Path
import signal
import subprocess
import sys
import time
from typing import Any

from depth_kd_ros import launching, pictures
from depth_kd_ros.bags import Bag
from depth_kd_ros.messages import rgb, stamp_ns
from depth_kd_ros.nodes.watcher import WATCHED, Watcher
import rclpy
import yaml

START_S, PLAY_S, END_S = 120.0, 36000.0, 120.0
SHEETS = 5
RATE = 1.0
CHOICES = (
    'image', 'points', 'camera_info', 'image_transport', 'extrinsics', 'model', 'device',
)  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Run the demo; exit code 1 where the node or the player failed or nothing came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('bag', help='rosbag2 folder to play')
    parser.add_argument(
        'choices', nargs='*', metavar='NAME:=VALUE',
        help=f'as for completion.launch.py: {", ".join(CHOICES)}',
    )  # fmt: skip
    parser.add_argument('--out', type=Path, default=Path('out/demo'), help='folder to write to')
    parser.add_argument('--rate', type=float, default=RATE, help='speed of the player')
    options = parser.parse_args(arguments)
    keep_on_this_machine()
    try:
        report = run(options, chosen(options.choices))
    except (ValueError, OSError, RuntimeError) as error:
        print(f'demo: {error}', file=sys.stderr)
        return 1
    print(json.dumps(report, indent=1))
    print(f'look at {options.out}/report.json and {options.out}/*.png')
    return 0


def chosen(words: list[str]) -> dict[str, str]:
    """Read NAME:=VALUE words; ValueError for anything else."""
    choices = dict(word.partition(':=')[::2] for word in words)
    unknown = set(choices) - set(CHOICES)
    if unknown:
        known = ', '.join(CHOICES)
        raise ValueError(
            f'{", ".join(sorted(unknown))}: NAME:=VALUE expected, NAME one of {known}'
        )
    return choices


def run(options: argparse.Namespace, choices: dict[str, str]) -> dict[str, Any]:
    """Play, watch and write the report; RuntimeError names the process that failed and its log."""
    given = dict.fromkeys(CHOICES, '') | choices | {'bag': options.bag}
    topics, rig = launching.streams(given)
    with Bag(options.bag) as bag:
        headers = [m.header for _, m, _ in bag.messages([topics.image])]
    images = {stamp_ns(header): header.frame_id for header in headers}
    clear(options.out)
    settings = launching.extrinsics_parameters(rig)
    settings |= {'image_transport': topics.transport}
    settings |= {name: choices[name] for name in ('model', 'device') if choices.get(name)}
    parameters = options.out / 'parameters.yaml'
    parameters.write_text(yaml.safe_dump({'/**': {'ros__parameters': settings}}))
    remaps = [word for pair in topics.remappings() for word in ('-r', ':='.join(pair))]
    node = start('completion_node', ['--params-file', str(parameters), *remaps], options.out)
    try:
        rclpy.init()
        show = list(images)[:: max(1, len(images) // SHEETS)]
        watcher = watch(node, options, topics, show)
    finally:
        stop(node)
        rclpy.try_shutdown()
    write_sheets(options, topics.image, watcher)
    return write_report(options, images, watcher)


def keep_on_this_machine() -> None:
    """Keep DDS on this machine, on a domain of its own, with the shared-memory profile."""
    shipped = Path(__file__).parents[2] / 'config' / 'fastdds_shared_memory.xml'
    own = {
        'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
        'ROS_DOMAIN_ID': str(1 + os.getpid() % 100),
        **(launching.profile_environment('shared_memory', shipped) if shipped.is_file() else {}),
    }
    if os.environ.get('ROS_DISTRO') == 'humble':
        own['ROS_LOCALHOST_ONLY'] = '1'
    for name, value in own.items():
        os.environ.setdefault(name, value)


def clear(out: Path) -> None:
    """Empty the report folder of an earlier run."""
    out.mkdir(parents=True, exist_ok=True)
    for old in [*out.glob('*.png'), *out.glob('*.json'), *out.glob('*.log')]:
        old.unlink()


def start(module: str, ros_arguments: list[str], out: Path) -> subprocess.Popen:
    """Start a node of this package as a process that logs to OUT/MODULE.log."""
    command = [sys.executable, '-m', f'depth_kd_ros.nodes.{module}', '--ros-args', *ros_arguments]
    with (out / f'{module}.log').open('w') as log:
        return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)


def stop(process: subprocess.Popen) -> None:
    """Interrupt a process and wait for its end."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def watch(
    node: subprocess.Popen, options: argparse.Namespace, topics: launching.Topics, show: list[int]
) -> Watcher:
    """Wait for the node, start the player, and watch until the counts of the node stand still."""
    watcher = Watcher(show)
    player = None
    try:
        spin(watcher, lambda: watcher.is_heard, START_S, node, options.out)
        play = {'bag': options.bag, 'rate': options.rate, 'wait_for': json.dumps(topics[:3])}
        words = [word for name, value in play.items() for word in ('-p', f'{name}:={value}')]
        player = start('bag_player_node', words, options.out)
        spin(watcher, lambda: player.poll() is not None, PLAY_S, node, options.out)
        if player.returncode:
            raise RuntimeError(f'the player failed: see {options.out}/bag_player_node.log')
        ended = time.monotonic()
        spin(watcher, lambda: watcher.still_since(ended), END_S, node, options.out)
    finally:
        if player:
            stop(player)
        watcher.destroy_node()
    return watcher


def spin(
    watcher: Watcher, done: Callable[[], bool], limit_s: float, node: subprocess.Popen, out: Path
) -> None:
    """Let the watcher work until `done`; RuntimeError after `limit_s` or without the node."""
    end = time.monotonic() + limit_s
    while not done():
        rclpy.spin_once(watcher, timeout_sec=0.05)
        if node.poll() is not None:
            raise RuntimeError(
                f'the node ended with code {node.returncode}: see {out}/completion_node.log'
            )
        if time.monotonic() > end:
            raise RuntimeError(f'nothing more came within {limit_s:.0f} s: see the logs in {out}')


def write_sheets(options: argparse.Namespace, image_topic: str, watcher: Watcher) -> None:
    """Write a contact sheet of each frame to show: image, points on it, dense depth."""
    with Bag(options.bag) as bag:
        for _, message, _ in bag.messages([image_topic]):
            stamp = stamp_ns(message.header)
            shown = watcher.shown.get(stamp, {})
            if len(shown) == len(WATCHED):
                title = f'stamp {stamp * 1e-9:.3f} s, model {watcher.health["model"]}'
                sheet = pictures.contact_sheet(
                    rgb(message), shown['sparse'], shown['depth'], title
                )
                pictures.write(str(options.out / f'{stamp}.png'), sheet)


def write_report(
    options: argparse.Namespace, images: dict[int, str], watcher: Watcher
) -> dict[str, Any]:
    """Write report.json: the node's figures, and every output compared with its image's header."""
    wrong = [stamp for stamp, frame in watcher.frame_ids.items() if images.get(stamp) != frame]
    report = {
        'bag': str(options.bag),
        'frames_in_bag': len(images),
        **watcher.health,
        'depth_received': len(watcher.frame_ids),
        'stamp_or_frame_id_unlike_image': len(wrong),
    }
    (options.out / 'report.json').write_text(json.dumps(report, indent=1) + '\n')
    if not watcher.frame_ids:
        raise RuntimeError(f'no depth came out: see {options.out}/report.json and the logs there')
    return report


if __name__ == '__main__':
    sys.exit(main())

"""Enforce who may import whom, and the house's rules on files; prove that a breach is found."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
import re
import statistics
import subprocess
import sys
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
RUNTIME, TRAINING = 'depth_kd_ros', 'depth_kd_training'
FOLDERS = {RUNTIME: RUNTIME, TRAINING: f'training/{TRAINING}'}
ENTRY_POINTS = ('cli', 'nodes.bag_player_node', 'nodes.bag_recorder_node', 'nodes.completion_node')

# Module or folder of depth_kd_ros -> what it may import beside the standard library; a leading
# dot means depth_kd_ros itself. A module without a row is a breach: give it one.
MAY_IMPORT = {
    'geometry': 'numpy',
    'sync': '',
    'health': 'numpy',
    'rings': 'numpy',
    'lens': 'numpy torch .geometry',
    'projection': 'numpy torch .geometry .lens',
    'plugins': '',
    'networks': 'safetensors torch .geometry .networks .plugins',
    'example_inputs': 'torch .networks',
    'complexity': 'torch .example_inputs .networks',
    'latency': 'torch .example_inputs .networks',
    'messages': 'cv2 numpy .geometry',
    'clouds': 'numpy .messages .rings',
    'rectification': 'cv2 numpy .geometry',
    'frames': 'numpy .clouds .geometry .messages .rectification .rings',
    'transform_tree': 'numpy .geometry',
    'bag_reader': 'rosbags typing_extensions',
    'bag_writer': 'rosbags typing_extensions yaml .bag_reader',
    'bag_frames': '.messages .sync',
    'bags': 'numpy rosbags .bag_frames .bag_reader .geometry .messages .sync .transform_tree',
    'extrinsics': 'numpy yaml .bags .geometry',
    'launching': '.bags .extrinsics',
    'metadata': '',
    'files': '',
    'checkpoint': 'safetensors torch .files .metadata .networks .plugins',
    'catalogue': 'torch .checkpoint .complexity .latency .networks',
    'exporting': 'numpy torch .example_inputs .latency .metadata .networks',
    'classical': 'cv2 numpy .classical .plugins',
    'backends': 'torch .networks',
    'completer': 'numpy torch .backends .checkpoint .classical .geometry .networks .projection',
    'pictures': 'cv2 numpy',
    'folders': 'cv2 numpy yaml',
    'offline': 'numpy .bag_writer .bags .completer .extrinsics .folders .frames .geometry '
    '.messages .pictures',
    'bag_check': 'cv2 numpy rosbags torch yaml .bag_check .bags .clouds .extrinsics .frames '
    '.geometry .messages .pictures .projection .sync',
    'commands': 'typer .commands',
    'cli': 'typer .commands',
    'nodes': 'rclpy ament_index_python builtin_interfaces diagnostic_msgs geometry_msgs '
    'lifecycle_msgs rcl_interfaces rosgraph_msgs sensor_msgs std_msgs numpy rosbags yaml '
    '.bag_frames .bag_writer .bags .clouds .completer .extrinsics .frames .geometry .health '
    '.launching .messages .nodes .plugins .pictures .projection .rectification .sync',
}
# What may be imported inside functions (and for type checkers) only. '*': anything but ROS.
MAY_IMPORT_LATE = {
    'cli': '* .nodes',
    'commands': '* .nodes',
    'exporting': 'onnx onnxruntime',
    'nodes': 'cv_bridge message_filters sensor_msgs_py tf2_ros torch',
}
ROS = (
    'rclpy ament_index_python builtin_interfaces cv_bridge diagnostic_msgs geometry_msgs launch '
    'launch_ros lifecycle_msgs message_filters rcl_interfaces rosgraph_msgs sensor_msgs '
    'sensor_msgs_py std_msgs tf2_msgs tf2_ros'
)
# A plug-in knows its own folder's base and these parts of depth_kd_training, nothing else of it.
PLUG_INS = {
    'data': ['data.parts', 'samples', 'simulation'],
    'distillation': [
        'bn_statistics',
        'dcgan',
        'losses',
        'point_net',
        'samples',
        'transformation',
    ],
}

MOST_LINES, MOST_TEST_LINES, MEDIAN_LINES = 250, 500, 110
SAYS_NOTHING = re.compile(
    '(^|_)(utils?|helpers?|misc|common|managers?|handlers?|wrappers?|process|data2|new|final)(_|$)'
)


class Import(NamedTuple):
    """One import: where, of which dotted module, and whether only when a function runs."""

    line: int
    target: str
    late: bool


def modules(root: Path) -> dict[str, Path]:
    """Map the dotted names of both packages' modules to their files."""
    found = {}
    for package, folder in FOLDERS.items():
        for path in sorted((root / folder).rglob('*.py')):
            parts = path.relative_to(root / folder).with_suffix('').parts
            parts = parts[:-1] if parts[-1] == '__init__' else parts
            found['.'.join([package, *parts])] = path
    return found


def imports(name: str, known: dict[str, Path]) -> list[Import]:
    """List all imports of a module: relative ones resolved, import_module('...') too."""
    path = known[name]
    package = name if path.name == '__init__.py' else name.rpartition('.')[0]
    found: list[Import] = []

    def absolute(target: str, level: int) -> str:
        base = package.split('.')[: len(package.split('.')) - level + 1] if level else []
        return '.'.join([*base, *([target] if target else [])])

    def visit(node: ast.AST, late: bool) -> None:
        if isinstance(node, ast.Import):
            found.extend(Import(node.lineno, alias.name, late) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            stem = absolute(node.module or '', node.level)
            for alias in node.names:
                deeper = f'{stem}.{alias.name}'
                found.append(Import(node.lineno, deeper if deeper in known else stem, late))
        elif isinstance(node, ast.Call) and is_import_call(node):
            target = str(ast.literal_eval(node.args[0]))
            level = len(target) - len(target.lstrip('.'))
            found.append(Import(node.lineno, absolute(target.lstrip('.'), level), late))
        functions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
        late = late or isinstance(node, functions) or is_type_checking(node)
        for child in ast.iter_child_nodes(node):
            visit(child, late)

    visit(ast.parse(path.read_text(), str(path)), False)
    return found


def is_import_call(node: ast.Call) -> bool:
    named = ast.unparse(node.func).split('.')[-1] in ('import_module', '__import__')
    return named and bool(node.args) and isinstance(node.args[0], ast.Constant)


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith('TYPE_CHECKING')


def under(module: str, parent: str) -> bool:
    return module == parent or module.startswith(f'{parent}.')


def row_of(module: str) -> str | None:
    """Name the row of a module of depth_kd_ros, None where it has none."""
    inner = module.removeprefix(f'{RUNTIME}.')
    return next((row for row in MAY_IMPORT if under(inner, row)), None)


def runtime_breach(module: str, found: Import) -> str | None:
    """Say what is wrong with an import in depth_kd_ros, None where nothing is."""
    row = row_of(module) or ''
    words = MAY_IMPORT.get(row, '') + ' ' + (MAY_IMPORT_LATE.get(row, '') if found.late else '')
    if found.target == RUNTIME or any(permits(word, found.target) for word in words.split()):
        return None
    return f'must not import {found.target}'


def permits(word: str, target: str) -> bool:
    """Tell whether a word of a row permits a target."""
    if word == '*':
        return not is_ros(target) and not under(target, TRAINING)
    return under(target, RUNTIME + word if word.startswith('.') else word)


def is_ros(target: str) -> bool:
    """Tell whether a target is ROS or the ROS side of depth_kd_ros."""
    return target.split('.')[0] in ROS.split() or under(target, f'{RUNTIME}.nodes')


def training_breach(module: str, found: Import) -> str | None:
    """Say what is wrong with an import in depth_kd_training, None where nothing is."""
    wrong = is_ros(found.target) or under(found.target, f'{RUNTIME}.cli')
    for folder, parts in PLUG_INS.items():
        home = f'{TRAINING}.{folder}'
        if under(module, home) and under(found.target, TRAINING) and found.target != home:
            known = (f'{home}.base', *(f'{TRAINING}.{part}' for part in parts))
            wrong = wrong or not any(under(found.target, name) for name in known)
    return f'must not import {found.target}' if wrong else None


def breaches(root: Path) -> Iterator[str]:
    """Say which import breaks the table, file by file."""
    known = modules(root)
    for name, path in known.items():
        breach = runtime_breach if under(name, RUNTIME) else training_breach
        if under(name, RUNTIME) and name != RUNTIME and row_of(name) is None:
            yield f'{path.relative_to(root)}: {name} has no row in MAY_IMPORT'
            continue
        for found in imports(name, known):
            if found.target.split('.')[0] in sys.stdlib_module_names:
                continue
            wrong = breach(name, found)
            if wrong:
                yield f'{path.relative_to(root)}:{found.line}: {name} {wrong}'


def way_to(root: Path, start: str, target: str) -> list[str]:
    """Find how importing `start` imports `target` at once, [] where it does not."""
    known = modules(root)
    ways = [[start]]
    seen = {start}
    while ways:
        way = ways.pop(0)
        for found in imports(way[-1], known):
            if found.late:
                continue
            if under(found.target, target):
                return [*way, found.target]
            if found.target in known and found.target not in seen:
                seen.add(found.target)
                ways.append([*way, found.target])
    return []


def departures(root: Path) -> Iterator[str]:
    """Say which file departs from the house's rules on length, names and sys.path."""
    package = [path for name, path in modules(root).items() if under(name, RUNTIME)]
    lengths = [len(path.read_text().splitlines()) for path in package]
    if lengths and statistics.median(lengths) > MEDIAN_LINES:
        yield f'median length of {RUNTIME} is {statistics.median(lengths)} > {MEDIAN_LINES}'
    for folder, most in (
        *((folder, MOST_LINES) for folder in (RUNTIME, 'training', 'launch')),
        ('test', MOST_TEST_LINES),
    ):
        for path in sorted((root / folder).rglob('*.py')):
            where, text = path.relative_to(root), path.read_text()
            lines = len(text.splitlines())
            if lines > most:
                yield f'{where} has {lines} lines > {most}'
            if SAYS_NOTHING.search(path.stem):
                yield f'{where} has a name that says nothing'
            if path.name == '__init__.py' and folder in ('launch', 'test'):
                yield f'{where} must not exist'
            for node in ast.walk(ast.parse(text, str(path))):
                if isinstance(node, ast.Attribute) and ast.unparse(node) == 'sys.path':
                    yield f'{where}:{node.lineno} touches sys.path'


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_imports_follow_the_table() -> None:
    assert '\n'.join(breaches(ROOT)) == ''


def test_files_follow_the_house_rules() -> None:
    assert '\n'.join(departures(ROOT)) == ''


@pytest.mark.parametrize('name', ENTRY_POINTS)
def test_torch_is_imported_late(name: str) -> None:
    assert ' -> '.join(way_to(ROOT, f'{RUNTIME}.{name}', 'torch')) == ''


def test_help_imports_nothing_heavy() -> None:
    program = (
        'import sys; sys.argv = ["depth_kd", "--help"]\n'
        'from depth_kd_ros.cli import main\n'
        'try:\n    main()\n'
        'except SystemExit as end:\n    assert not end.code, end.code\n'
        'print("imported:", *sorted(sys.modules))'
    )
    printed = subprocess.run(
        [sys.executable, '-c', program], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout
    loaded = printed.rpartition('imported:')[2].split()

    assert 'Usage' in printed
    assert 'typer' in loaded
    assert {'torch', 'rclpy', 'cv2', 'scipy', 'matplotlib'}.isdisjoint(loaded)


@pytest.mark.parametrize('row', MAY_IMPORT)
def test_a_breach_is_found_in_every_row(tmp_path: Path, row: str) -> None:
    where = f'{RUNTIME}/{row}.py'
    write(tmp_path, {where: 'import os\nimport depth_kd_training.train\nimport pandas\n'})
    assert list(breaches(tmp_path)) == [
        f'{where}:2: {RUNTIME}.{row} must not import depth_kd_training.train',
        f'{where}:3: {RUNTIME}.{row} must not import pandas',
    ]


@pytest.mark.parametrize('row', [row for row in MAY_IMPORT if row != 'nodes'])
def test_only_nodes_import_ros(tmp_path: Path, row: str) -> None:
    source = 'def f():\n    import rclpy.node\n    from sensor_msgs.msg import Image\n'
    write(tmp_path, {f'{RUNTIME}/{row}.py': source})
    assert [breach.partition(' ')[2] for breach in breaches(tmp_path)] == [
        f'{RUNTIME}.{row} must not import rclpy.node',
        f'{RUNTIME}.{row} must not import sensor_msgs.msg',
    ]


@pytest.mark.parametrize(
    ('name', 'source', 'target'),
    [
        ('geometry', 'import numpy, torch', 'torch'),
        ('geometry', 'from . import projection', 'depth_kd_ros.projection'),
        ('geometry', 'from .projection import sparse_depth', 'depth_kd_ros.projection'),
        ('geometry', 'from depth_kd_ros import projection', 'depth_kd_ros.projection'),
        ('geometry', 'def f():\n    import cv2', 'cv2'),
        ('geometry', 'class A:\n    async def f(self):\n        import cv2', 'cv2'),
        ('geometry', 'try:\n    import cv2\nexcept ImportError:\n    cv2 = None', 'cv2'),
        ('geometry', 'if TYPE_CHECKING:\n    import torch', 'torch'),
        ('geometry', "import importlib\nimportlib.import_module('cv2')", 'cv2'),
        ('geometry', "import_module('.projection', __package__)", 'depth_kd_ros.projection'),
        ('geometry', "f = lambda: __import__('cv2')", 'cv2'),
        ('sync', 'import numpy', 'numpy'),
        ('messages', 'import rosbags.typesys', 'rosbags.typesys'),
        ('networks/lspkd', 'import cv2', 'cv2'),
        ('networks/lspkd', 'from ..completer import DepthCompleter', 'depth_kd_ros.completer'),
        ('cli', 'import torch', 'torch'),
        ('cli', 'from depth_kd_ros.nodes import demo', 'depth_kd_ros.nodes'),
        ('nodes/inputs', 'import torch', 'torch'),
        ('nodes/inputs', 'import tf2_ros', 'tf2_ros'),
    ],
)
def test_every_way_to_import_is_seen(tmp_path: Path, name: str, source: str, target: str) -> None:
    write(tmp_path, {f'{RUNTIME}/projection.py': '', f'{RUNTIME}/{name}.py': source})
    (breach,) = breaches(tmp_path)
    assert breach.endswith(f' must not import {target}')


@pytest.mark.parametrize(
    ('name', 'source'),
    [
        ('train', 'import rclpy'),
        ('train', 'def f():\n    from depth_kd_ros.nodes import demo'),
        ('train', 'from depth_kd_ros import cli'),
        ('data/kitti', 'from depth_kd_training.train import train'),
        ('data/kitti', 'from . import rosbag'),
        ('data/base', 'from depth_kd_training import config'),
        ('data/kitti', 'from ..distillation import base'),
        ('distillation/lspkd', 'from .attention import transfer'),
        ('distillation/lspkd', 'import depth_kd_training.config'),
        ('distillation/lspkd', 'from depth_kd_training.data.base import Sample'),
        ('distillation/lspkd', 'from depth_kd_training.data import rosbag'),
        ('distillation/__init__', 'from depth_kd_training.train import train'),
    ],
)
def test_training_breach_is_found(tmp_path: Path, name: str, source: str) -> None:
    others = ('data/rosbag', 'distillation/attention', 'distillation/base', 'config', 'train')
    write(tmp_path, {f'{RUNTIME}/nodes/demo.py': '', f'{RUNTIME}/cli.py': ''})
    write(tmp_path / FOLDERS[TRAINING], {f'{other}.py': '' for other in others})
    write(tmp_path / FOLDERS[TRAINING], {f'{name}.py': source})
    (breach,) = breaches(tmp_path)
    assert 'must not import' in breach


def test_module_without_a_row_is_found(tmp_path: Path) -> None:
    write(tmp_path, {'depth_kd_ros/novelty.py': ''})
    (breach,) = breaches(tmp_path)
    assert breach == 'depth_kd_ros/novelty.py: depth_kd_ros.novelty has no row in MAY_IMPORT'


def test_what_the_table_allows_passes(tmp_path: Path) -> None:
    late = 'def f():\n    from depth_kd_ros.nodes import demo\n    import torch, rich.console'
    runtime = {
        '__init__': '',
        'geometry': 'from __future__ import annotations\nimport numpy as np',
        'projection': 'import torch.nn\nfrom .geometry import Camera',
        'networks/lspkd': 'from .encoders.resnet import stage\nimport torch',
        'networks/encoders/resnet': 'from torch import nn',
        'cli': f'import typer\nfrom depth_kd_ros import __version__\n{late}',
        'completer': 'from . import checkpoint, projection',
        'nodes/demo': 'import rclpy\nfrom .inputs import Inputs\ndef f():\n    import tf2_ros',
    }
    training = {
        'train': 'import torch, pydantic\nfrom depth_kd_ros.completer import DepthCompleter',
        'data/kitti': 'from .base import Sample\nfrom depth_kd_ros import bags',
        'data/boxes': 'from depth_kd_training.simulation import world',
        'distillation/base': '',
        'distillation/none': 'from depth_kd_training.distillation import base',
    }
    for package, sources in ((RUNTIME, runtime), (TRAINING, training)):
        write(tmp_path / FOLDERS[package], {f'{name}.py': sources[name] for name in sources})
    assert list(breaches(tmp_path)) == []


def test_way_to_torch_is_found_across_modules(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            'depth_kd_ros/cli.py': 'from depth_kd_ros import frames\ndef f():\n    import torch',
            'depth_kd_ros/frames.py': 'from .projection import x',
            'depth_kd_ros/projection.py': 'from torch.nn import functional as F',
        },
    )
    way = ['depth_kd_ros.cli', 'depth_kd_ros.frames', 'depth_kd_ros.projection', 'torch.nn']
    assert way_to(tmp_path, 'depth_kd_ros.cli', 'torch') == way
    assert way_to(tmp_path, 'depth_kd_ros.cli', 'rclpy') == []


def test_departures_are_found(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            'depth_kd_ros/geometry.py': 'x = 1\n' * 251,
            'depth_kd_ros/sync.py': 'x = 1\n' * 250,
            'depth_kd_ros/depth_utils.py': 'import sys\nsys.path.append("x")',
            'launch/__init__.py': '',
            'test/test_long.py': 'x = 1\n' * 501,
            'test/test_fitting.py': 'x = 1\n' * 500,
        },
    )
    assert list(departures(tmp_path)) == [
        'median length of depth_kd_ros is 250 > 110',
        'depth_kd_ros/depth_utils.py has a name that says nothing',
        'depth_kd_ros/depth_utils.py:2 touches sys.path',
        'depth_kd_ros/geometry.py has 251 lines > 250',
        'launch/__init__.py must not exist',
        'test/test_long.py has 501 lines > 500',
    ]

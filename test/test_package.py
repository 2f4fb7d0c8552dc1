"""Build, install and test the package for real: colcon (both ways) and pip (both ways)."""

from __future__ import annotations

import ast
from collections.abc import Mapping
import importlib.metadata
import importlib.util
import os
from pathlib import Path
import re
import shutil
import subprocess
import sys
import sysconfig
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).resolve().parents[1]
NAME = 'depth_kd_ros'
SCRIPTS = (
    'bag_player_node', 'bag_recorder_node', 'completion_node', 'depth_kd', 'depth_kd_training',
)  # fmt: skip
NOT_SOURCE = shutil.ignore_patterns(
    '.*_cache', '.git', '.venv*', '__pycache__', '*.egg-info', 'build', 'install', 'log', 'out'
)
WHERE = (
    'import depth_kd_ros, depth_kd_training; '
    'print(depth_kd_ros.__file__); print(depth_kd_training.__file__)'
)

needs_colcon = pytest.mark.skipif(
    importlib.util.find_spec('colcon_ros') is None, reason='colcon-ros is not installed'
)


def older(package: str, major: int, minor: int) -> bool:
    """Tell whether an installed package is older than major.minor, or not there."""
    try:
        version = importlib.metadata.version(package).split('.')
    except importlib.metadata.PackageNotFoundError:
        return True
    return (int(version[0]), int(version[1])) < (major, minor)


needs_recent_pip = pytest.mark.skipif(
    older('pip', 22, 3) or older('setuptools', 64, 0),
    reason='needs pip >= 22.3 (--python) and setuptools >= 64 (editable wheels)',
)


def run(*command: object, cwd: Path, env: Mapping[str, str] | None = None) -> str:
    """Run a command to success and give what it printed."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={n: v for n, v in os.environ.items() if n != 'PYTHONPATH'} | dict(env or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, f'{command} gave {done.returncode}:\n{done.stdout}'
    return done.stdout


def copy_source(workspace: Path) -> Path:
    """Copy the checkout without what was built in it to workspace/src/depth_kd_ros."""
    source = workspace / 'src' / NAME
    shutil.copytree(ROOT, source, ignore=NOT_SOURCE)
    return source


def colcon(workspace: Path, *arguments: object) -> str:
    """Run colcon in the workspace with this Python and none of the user's settings."""
    home = {'COLCON_HOME': str(workspace / 'home'), 'COLCON_LOG_PATH': str(workspace / 'log')}
    return run(sys.executable, '-m', 'colcon', *arguments, cwd=workspace, env=home)


def files_below(folder: Path, pattern: str = '*') -> set[str]:
    """List the files below a folder relative to it, without what Python compiled."""
    return {
        str(path.relative_to(folder))
        for path in folder.rglob(pattern)
        if path.is_file() and '__pycache__' not in path.parts
    }


def setup_keyword(name: str) -> str:
    """Read a literal keyword of the setup() call in setup.py."""
    for node in ast.walk(ast.parse((ROOT / 'setup.py').read_text())):
        if isinstance(node, ast.keyword) and node.arg == name:
            return str(ast.literal_eval(node.value))
    raise AssertionError(f'setup.py has no {name}=')


def site_packages(venv: Path) -> Path:
    return next((venv / 'lib').glob('python*')) / 'site-packages'


@pytest.fixture(scope='module', params=['plain', 'symlink'])
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the workspace with colcon, by copying and by links."""
    workspace = tmp_path_factory.mktemp(request.param)
    copy_source(workspace)
    links = ['--symlink-install'] if request.param == 'symlink' else []
    colcon(workspace, 'build', *links)
    return workspace


@pytest.fixture(scope='module', params=['.', '-e'])
def installed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the package with pip into an environment of its own that borrows this one's rest."""
    workspace = tmp_path_factory.mktemp('pip')
    source = copy_source(workspace)
    venv = workspace / 'venv'
    borrowing = ['-m', 'venv', '--without-pip', '--system-site-packages', venv]
    run(sys.executable, *borrowing, cwd=workspace)
    (site_packages(venv) / 'borrowed.pth').write_text(sysconfig.get_path('purelib') + '\n')
    pip = [sys.executable, '-m', 'pip', '--python', venv / 'bin' / 'python']
    editable = ['-e'] if request.param == '-e' else []
    run(*pip, 'install', '--no-deps', '--no-build-isolation', *editable, '.', cwd=source)
    return workspace


def test_versions_agree() -> None:
    version = ElementTree.parse(ROOT / 'package.xml').findtext('version')
    changelog = (ROOT / 'CHANGELOG.rst').read_text()
    newest = re.search(r'^(\d+\.\d+\.\d+) \(\d{4}-\d\d-\d\d\)$', changelog, re.MULTILINE)

    assert setup_keyword('version') == version
    assert newest is not None and newest[1] == version


def test_package_xml_is_valid() -> None:
    catkin_pkg = pytest.importorskip('catkin_pkg.package', reason='catkin_pkg is not installed')
    warnings: list[str] = []
    package = catkin_pkg.parse_package(str(ROOT / 'package.xml'), warnings=warnings)
    package.validate(warnings=warnings)

    assert warnings == []
    assert package.name == NAME
    assert package.get_build_type() == 'ament_python'
    assert package.licenses == ['Apache-2.0'] == [setup_keyword('license')]


def test_every_folder_of_code_is_a_package() -> None:
    folders = {
        path.parent
        for package in (ROOT / NAME, ROOT / 'training' / 'depth_kd_training')
        for path in package.rglob('*.py')
    }
    assert [str(folder) for folder in folders if not (folder / '__init__.py').is_file()] == []


def source_of(module: str) -> Path:
    """Give the file of a module of either package."""
    folder = ROOT / 'training' if module.startswith('depth_kd_training') else ROOT
    return (folder / module.replace('.', '/')).with_suffix('.py')


def test_declared_commands_exist() -> None:
    declared = re.findall(r"'(\w+) = ([\w.]+):main'", (ROOT / 'setup.py').read_text())
    without_main = [
        module for _, module in declared if 'def main(' not in source_of(module).read_text()
    ]
    assert sorted(command for command, _ in declared) == list(SCRIPTS)
    assert without_main == []


@needs_colcon
def test_colcon_recognises_a_ros_package(tmp_path: Path) -> None:
    copy_source(tmp_path)
    assert colcon(tmp_path, 'list').split() == [NAME, f'src/{NAME}', '(ros.ament_python)']


@needs_colcon
def test_colcon_installs_commands_and_share(built: Path) -> None:
    prefix = built / 'install' / NAME
    share = prefix / 'share' / NAME
    commands = prefix / 'lib' / NAME

    assert files_below(commands) == set(SCRIPTS)
    assert all(os.access(commands / script, os.X_OK) for script in SCRIPTS)
    assert (prefix / 'share/ament_index/resource_index/packages' / NAME).is_file()
    assert (share / 'package.xml').read_text() == (ROOT / 'package.xml').read_text()
    assert files_below(share / 'launch') == files_below(built / 'src' / NAME / 'launch')
    assert files_below(share / 'config') == files_below(built / 'src' / NAME / 'config')
    assert 'fastdds_shared_memory.xml' in files_below(share / 'config')


@needs_colcon
def test_colcon_workspace_runs(built: Path) -> None:
    sourced = '. install/local_setup.bash && '
    help_text = run(
        'bash', '-c', sourced + f'install/{NAME}/lib/{NAME}/depth_kd --help', cwd=built
    )
    where = run('bash', '-c', sourced + f'"{sys.executable}" -c "{WHERE}"', cwd=built)
    runtime, training = (Path(line).resolve() for line in where.split())
    source = built / 'src' / NAME

    assert 'Usage' in help_text
    if built.name.startswith('symlink'):
        assert runtime == source / NAME / '__init__.py'
        assert training == source / 'training/depth_kd_training/__init__.py'
    else:
        assert built / 'install' / NAME in runtime.parents
        assert files_below(runtime.parent) == files_below(source / NAME)
        assert files_below(training.parent) == files_below(source / 'training/depth_kd_training')


@needs_colcon
def test_colcon_test_runs_tests(built: Path) -> None:
    colcon(
        built,
        *('test', '--return-code-on-test-failure', '--pytest-args'),
        *('test/test_package.py', '-k', 'versions_agree or is_valid'),
    )
    result = colcon(built, 'test-result', '--all', '--verbose')
    assert 'Summary: 2 tests, 0 errors, 0 failures, 0 skipped' in result


@needs_recent_pip
def test_pip_installs_packages_and_commands(installed: Path) -> None:
    source, venv = installed / 'src' / NAME, installed / 'venv'
    python = venv / 'bin' / 'python'
    runtime, training = map(Path, run(python, '-c', WHERE, cwd=installed).split())

    assert 'Usage' in run(venv / 'bin' / 'depth_kd', '--help', cwd=installed)
    assert set(SCRIPTS) <= files_below(venv / 'bin')
    if source in runtime.parents:
        assert runtime == source / NAME / '__init__.py'
        assert training == source / 'training/depth_kd_training/__init__.py'
    else:
        assert runtime == site_packages(venv) / NAME / '__init__.py'
        assert training == site_packages(venv) / 'depth_kd_training/__init__.py'
        assert files_below(runtime.parent) == files_below(source / NAME)
        assert files_below(venv / 'share' / NAME / 'config') == files_below(source / 'config')

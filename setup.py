"""Build depth_kd_ros (runtime) and depth_kd_training (offline) for colcon and pip."""

from pathlib import Path

from setuptools import find_packages, setup

NAME = 'depth_kd_ros'
SHARE = Path('share') / NAME


def shared(folder: str) -> list[tuple[str, list[str]]]:
    """List a folder's files, subfolders too, as data files below the package's share folder."""
    files = [
        path
        for path in sorted(Path(folder).rglob('*'))
        if path.is_file() and '__pycache__' not in path.parts
    ]
    return [(str(SHARE / path.parent), [str(path)]) for path in files]


setup(
    name=NAME,
    version='0.1.0',
    packages=find_packages(include=[NAME, f'{NAME}.*'])
    + find_packages('training', include=['depth_kd_training', 'depth_kd_training.*']),
    package_dir={'depth_kd_training': 'training/depth_kd_training'},
    package_data={
        NAME: ['py.typed', 'weights/*'],
        'depth_kd_training': ['py.typed', 'recipes/*.yaml', 'studies/*.yaml'],
    },
    data_files=[
        ('share/ament_index/resource_index/packages', [f'resource/{NAME}']),
        (str(SHARE), ['package.xml']),
        *shared('launch'),
        *shared('config'),
    ],
    python_requires='>=3.10',
    install_requires=[
        'numpy>=1.21',
        'opencv-python>=4.5',
        'PyYAML>=5.4',
        'rich>=12',
        'rosbags>=0.10',
        'safetensors>=0.4',
        'setuptools',
        'torch>=2.5',
        'typer>=0.9',
    ],
    extras_require={
        # colcon runs pytest only when it finds it here.
        'test': ['pytest>=6.2', 'scipy>=1.8'],
        # `depth_kd export`, with its parity check.
        'export': ['onnx>=1.15', 'onnxruntime>=1.17'],
        # Offline training: recipes, the loop and its curves, the NYU data set.
        'training': ['h5py>=3', 'lightning-fabric>=2.5', 'pydantic>=2', 'tensorboard>=2.14'],
        # `depth_kd_training study --ray`: one task per run on a cluster.
        'ray': ['ray>=2.9'],
        # Monocular teachers of Hugging Face transformers.
        'hugging-face': ['transformers>=4.45'],
        # ROS from PyPI, where no distribution is sourced.
        'jazzy': [
            'ros-jazzy-diagnostic-msgs',
            'ros-jazzy-rclpy[fastrtps]',
            'ros-jazzy-sensor-msgs',
        ],
    },
    entry_points={
        'console_scripts': [
            'depth_kd = depth_kd_ros.cli:main',
            'depth_kd_training = depth_kd_training.cli:main',
            'completion_node = depth_kd_ros.nodes.completion_node:main',
            'bag_player_node = depth_kd_ros.nodes.bag_player_node:main',
            'bag_recorder_node = depth_kd_ros.nodes.bag_recorder_node:main',
        ],
    },
    zip_safe=False,
    author='depth_kd_ros maintainers',
    maintainer='depth_kd_ros maintainers',
    maintainer_email='maintainers@users.noreply.github.com',
    description='Dense metric depth from a camera and a LiDAR with distilled networks, for ROS 2.',
    license='Apache-2.0',
)

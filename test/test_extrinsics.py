from depth_kd_ros import extrinsics
import numpy as np
import pytest

# The camera sits 0.3 m before, 0.1 m left of and 0.2 m below the LiDAR and looks along its x axis.
# (10, 0, 0) m in the LiDAR's frame is (9.7, -0.1, 0.2) from the camera: right 0.1, down -0.2.
AHEAD = np.array([10.0, 0.0, 0.0, 1.0])
SEEN = [0.1, -0.2, 9.7, 1.0]
LIDAR_TO_CAMERA = """
parent: camera_optical
child: velodyne
xyz: [0.1, -0.2, -0.3]
quaternion: [0.5, -0.5, 0.5, 0.5]
"""
CAMERA_TO_LIDAR = """
parent: velodyne
child: camera_optical
xyz: [0.3, 0.1, -0.2]
quaternion: [-0.5, 0.5, -0.5, 0.5]
"""
MATRIX = 'T_cam_lidar: [[0, -1, 0, 0.1], [0, 0, -1, -0.2], [1, 0, 0, -0.3], [0, 0, 0, 1]]'
FLAT = 'T_cam_lidar: [0, -1, 0, 0.1, 0, 0, -1, -0.2, 1, 0, 0, -0.3, 0, 0, 0, 1]'


@pytest.fixture
def write(tmp_path):
    def _write(text):
        path = tmp_path / 'rig.yaml'
        path.write_text(text)
        return path

    return _write


@pytest.mark.parametrize('text', [LIDAR_TO_CAMERA, CAMERA_TO_LIDAR, MATRIX, FLAT])
def test_every_form_maps_lidar_to_camera(write, text):
    T_cam_lidar = extrinsics.from_file(write(text)).T_cam_lidar
    np.testing.assert_allclose(T_cam_lidar @ AHEAD, SEEN, atol=1e-12)


@pytest.mark.parametrize('text', [LIDAR_TO_CAMERA, CAMERA_TO_LIDAR])
def test_parent_of_the_result_is_the_camera(write, text):
    _, parent, child = extrinsics.from_file(write(text))
    assert (parent, child) == ('camera_optical', 'velodyne')


def test_camera_frame_decides_where_names_do_not(write):
    text = CAMERA_TO_LIDAR.replace('camera_optical', 'cam2') + 'camera_frame: cam2'
    T_cam_lidar, parent, child = extrinsics.from_file(write(text))
    np.testing.assert_allclose(T_cam_lidar @ AHEAD, SEEN, atol=1e-12)
    assert (parent, child) == ('cam2', 'velodyne')


def test_camera_frame_wins_over_the_optical_suffix(write):
    text = LIDAR_TO_CAMERA.replace('velodyne', 'lidar_optical') + 'camera_frame: camera_optical'
    assert extrinsics.from_file(write(text)).parent == 'camera_optical'


def test_the_matrix_needs_no_frames(write):
    assert extrinsics.from_file(write(MATRIX))[1:] == ('', '')
    named = MATRIX + '\nparent: camera_optical\nchild: velodyne'
    assert extrinsics.from_file(write(named))[1:] == ('camera_optical', 'velodyne')


def test_numbers_that_yaml_reads_as_text(write):
    text = LIDAR_TO_CAMERA.replace('0.1,', '1e-1,')  # YAML 1.1: 1e-1 without a dot is a string
    T_cam_lidar = extrinsics.from_file(write(text)).T_cam_lidar
    np.testing.assert_allclose(T_cam_lidar @ AHEAD, SEEN, atol=1e-12)


def test_four_decimals_of_a_quaternion_are_normalised(write):
    text = LIDAR_TO_CAMERA.replace('[0.5, -0.5, 0.5, 0.5]', '[0.5003, -0.5, 0.5, 0.5]')
    R = extrinsics.from_file(write(text)).T_cam_lidar[:3, :3]
    np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-12)


def test_text_for_the_log(write):
    text = str(extrinsics.from_file(write(CAMERA_TO_LIDAR)))
    assert text.startswith('camera_optical <- velodyne: xyz 0.1000 -0.2000 -0.3000 m, rotation ')


SWAPPED = MATRIX + '\nparent: velodyne\nchild: camera_optical'


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('', r'rig\.yaml: keys expected .* got None'),
        ('- 1', r'rig\.yaml: keys expected .* got \[1\]'),
        ('a: [1', r'rig\.yaml: not valid YAML'),
        (LIDAR_TO_CAMERA.replace('xyz', 'translation'), r'rig\.yaml: missing xyz; needed: parent'),
        (LIDAR_TO_CAMERA + 'scale: 2', r'rig\.yaml: unknown key scale; known: parent, child'),
        (MATRIX + '\nxyz: [0, 0, 0]', r'rig\.yaml: unknown key xyz'),
        (LIDAR_TO_CAMERA.replace('0.1,', '.nan,'), r'xyz: \[nan, .* 3 finite numbers expected'),
        (LIDAR_TO_CAMERA.replace('0.1,', ''), r'xyz: \[-0\.2, -0\.3\]: 3 finite'),
        (LIDAR_TO_CAMERA.replace('0.1,', 'left,'), r"xyz: \['left', .* 3 finite"),
        (LIDAR_TO_CAMERA.replace('0.5]', '0.9]'), r'rig\.yaml: quaternion .* norm is 1\.249'),
        (LIDAR_TO_CAMERA.replace('0.5]', ']'), r'quaternion: .* 4 finite numbers expected'),
        (LIDAR_TO_CAMERA.replace('velodyne', '7'), r'rig\.yaml: child: 7: a frame id expected'),
        (LIDAR_TO_CAMERA.replace('velodyne', 'camera_optical'), r"both 'camera_optical'"),
        (LIDAR_TO_CAMERA.replace('_optical', ''), r'which one is the camera\? Add camera_frame'),
        (LIDAR_TO_CAMERA.replace('velodyne', 'b_optical'), r'which one is the camera\?'),
        (LIDAR_TO_CAMERA + 'camera_frame: cam9', r"camera_frame: 'cam9': must be parent"),
        (MATRIX.replace('-1, 0, 0.1', '1, 0, 0.1'), r'T_cam_lidar: .* not a rotation \(det -1'),
        (MATRIX.replace('-1, 0, 0.1', '-2, 0, 0.1'), r'T_cam_lidar: .* not a rotation'),
        (MATRIX.replace('0, 1]]', '0, 2]]'), r'T_cam_lidar: the last row must be 0 0 0 1'),
        (MATRIX.replace('0.1]', '.inf]'), r'T_cam_lidar: .* 4x4 or 16 finite numbers'),
        (SWAPPED, r'swap parent and child, or invert'),
    ],
)
def test_bad_files_are_refused(write, text, message):
    with pytest.raises(ValueError, match=message):
        extrinsics.from_file(write(text))


def test_missing_file(tmp_path):
    with pytest.raises(ValueError, match=r'none\.yaml: extrinsics file cannot be read: No such'):
        extrinsics.from_file(tmp_path / 'none.yaml')

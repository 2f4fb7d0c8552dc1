"""From messages to a frame: which of K, D, R, P holds, and what is refused."""

from depth_kd_ros.frames import FrameReader
from depth_kd_ros.geometry import transform
from depth_kd_ros.messages import MessageError
from depth_kd_ros.projection import sparse_depth
import numpy as np
import pytest
import ros_types
import torch

K = [[50.0, 0, 19], [0, 52, 14], [0, 0, 1]]
P = [[48.0, 0, 20, 0], [0, 48, 15, 0], [0, 0, 1, 0]]
D = (-0.2, 0.05, 0.001, -0.001, 0)
SIZE = (30, 40)
T = transform([0.1, -0.2, -0.3], [0.5, -0.5, 0.5, 0.5])
F32 = 7


@pytest.fixture(params=ros_types.KINDS)
def ros(request):
    return ros_types.load(request.param)


def messages_of(ros, size=SIZE, **info):
    """Give image, CameraInfo and cloud of one instant."""
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    image = ros_types.image(ros, 'rgb8', picture.tobytes(), size)
    image.header.stamp.sec, image.header.stamp.nanosec = 12, 34
    fields = [('x', 0, F32), ('y', 4, F32), ('z', 8, F32)]
    xyz = np.float32([[5.3, 0.6, 0.7], [np.nan, 0, 0], [6, 0, 0]])
    cloud = ros_types.cloud(ros, fields, xyz.tobytes(), (1, 3), 12)
    return image, ros_types.camera_info(ros, SIZE, **{'k': K, 'p': P, **info}), cloud, picture


def read(reader, ros, **options):
    image, info, cloud, picture = messages_of(ros, **options)
    return reader(image, info, cloud, T), picture


def test_a_rectified_frame(ros):
    frame, picture = read(FrameReader('none'), ros, d=D)
    np.testing.assert_array_equal(frame.image, picture)
    np.testing.assert_array_equal(frame.camera.K, np.array(P)[:, :3])
    assert frame.camera.model == '' and frame.camera.size == SIZE
    np.testing.assert_array_equal(frame.points.xyz, np.float32([[5.3, 0.6, 0.7], [6, 0, 0]]))
    np.testing.assert_array_equal(frame.T_cam_lidar, T)
    assert frame.stamp_ns == 12_000_000_034 and frame.frame_id == 'camera'


def test_a_raw_frame_is_rectified(ros):
    frame, picture = read(FrameReader('image'), ros, d=D)
    np.testing.assert_array_equal(frame.camera.K, np.array(P)[:, :3])
    assert frame.camera.model == '' and (frame.image != picture).any()
    np.testing.assert_array_equal(frame.T_cam_lidar, T)


def test_a_raw_frame_stays_raw_and_its_points_go_through_the_lens(ros):
    frame, picture = read(FrameReader('points'), ros, d=D)
    np.testing.assert_array_equal(frame.image, picture)
    np.testing.assert_array_equal(frame.camera.K, K)
    assert frame.camera.D == D and frame.camera.model == 'plumb_bob'


def test_rotation_of_the_rectified_frame(ros):
    """The camera frame is the rectified one; depth along a rotated raw axis is refused."""
    turn = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]  # raw x -> rectified y
    for mode in ('image', 'none'):
        frame, _ = read(FrameReader(mode), ros, r=turn, d=D)
        np.testing.assert_array_equal(frame.T_cam_lidar, T)
    with pytest.raises(MessageError, match=r'R is no identity .* set rectify to image'):
        read(FrameReader('points'), ros, r=turn, d=D)


def test_both_ways_see_the_points_on_the_same_colour(ros):
    v, u = np.indices(SIZE)
    picture = np.dstack([6 * u, 8 * v, 3 * (u + v)]).astype(np.uint8)
    colours = []
    for mode in ('image', 'points'):
        _, info, cloud, _ = messages_of(ros, d=D)
        image = ros_types.image(ros, 'rgb8', picture.tobytes(), SIZE)
        frame = FrameReader(mode)(image, info, cloud, T)
        found = sparse_depth(torch.from_numpy(frame.points.xyz), frame.T_cam_lidar, frame.camera)
        spots = [np.argwhere(found.index.numpy() == n)[0] for n in range(2)]
        colours.append([frame.image[tuple(spot)] for spot in spots])
    assert np.abs(np.subtract(*np.array(colours, int))).max() <= 8  # one pixel's step


@pytest.mark.parametrize(
    ('topic', 'fields', 'mode'),
    [
        ('/camera/image_rect_color', {'d': D}, 'none'),
        ('/camera/image_rect', {'d': D}, 'none'),
        ('/rectified/image', {'d': D}, 'none'),
        ('/direct/image_raw', {'d': D}, 'image'),
        ('/camera/unrectified', {'d': D}, 'image'),
        ('/camera/image_raw', {'d': D}, 'image'),
        ('/camera/image_raw', {'d': [0] * 5}, 'none'),
        ('/camera/image_raw', {'d': []}, 'none'),
        ('', {'d': [], 'p': np.zeros(12)}, 'points'),  # a simulator that leaves P out
        ('', {'d': D, 'p': np.zeros(12)}, 'image'),
        ('', {'d': [], 'p': np.zeros(12), 'k': np.zeros(9)}, 'none'),
    ],
)
def test_auto_decides_by_topic_and_calibration(ros, topic, fields, mode):
    info = messages_of(ros, **fields)[1]
    assert FrameReader('auto', topic).mode(info) == mode
    for fixed in ('none', 'image', 'points'):
        assert FrameReader(fixed, topic).mode(info) == fixed


def test_without_p_the_raw_matrix_holds(ros):
    for d in ((), D):
        frame, _ = read(FrameReader(), ros, d=d, p=np.zeros(12))
        np.testing.assert_array_equal(frame.camera.K, K)
        assert frame.camera.model == ''


def test_unknown_option():
    with pytest.raises(ValueError, match="rectify 'maybe': one of auto, none, image, points"):
        FrameReader('maybe')


@pytest.mark.parametrize('mode', ['none', 'image', 'points'])
def test_image_of_another_size_than_its_camera_info(ros, mode):
    with pytest.raises(MessageError, match='image is 15x20, its CameraInfo says 30x40'):
        read(FrameReader(mode), ros, size=(15, 20), d=D)


def test_binned_images_have_the_binned_size(ros):
    frame, _ = read(FrameReader(), ros, size=(15, 20), binning_x=2, binning_y=2)
    assert frame.camera.size == (15, 20) and frame.camera.K[0, 2] == 9.75
    with pytest.raises(MessageError, match='image is 30x40, its CameraInfo says 15x20'):
        read(FrameReader(), ros, binning_x=2, binning_y=2)


@pytest.mark.parametrize(
    ('fields', 'text'),
    [
        ({'k': np.zeros(9), 'p': np.zeros(12)}, 'is all zeros. Calibrate the camera first'),
        ({'d': D, 'distortion_model': 'odd'}, "distortion_model 'odd' is unknown; known"),
        ({'d': D, 'r': np.eye(3) * 3}, 'is not a rotation'),
    ],
)
def test_unusable_calibrations(ros, fields, text):
    with pytest.raises(MessageError, match=text):
        read(FrameReader(), ros, **fields)


def test_lens_is_prepared_once_and_anew_when_the_numbers_change(ros):
    reader = FrameReader()
    first, _ = read(reader, ros, d=D)
    assert read(reader, ros, d=D)[0].camera is first.camera
    other, _ = read(reader, ros, d=D, p=np.array(P) * [[2], [2], [1]])
    assert other.camera.K[0, 0] == 96
    back, _ = read(reader, ros, d=D)
    assert back.camera.K[0, 0] == 48 and back.camera is not first.camera
    flat, picture = read(reader, ros)
    np.testing.assert_array_equal(flat.image, picture)
    turned, _ = read(FrameReader('points'), ros, d=D)
    np.testing.assert_allclose(turned.T_cam_lidar, T)


def test_a_bad_calibration_in_between_leaves_no_trace(ros):
    reader = FrameReader()
    good, _ = read(reader, ros, d=D)
    with pytest.raises(MessageError):
        read(reader, ros, d=D, r=np.eye(3) * 3)
    again, _ = read(reader, ros, d=D)
    np.testing.assert_array_equal(again.image, good.image)
    np.testing.assert_array_equal(again.camera.K, good.camera.K)


def test_camera_alone(ros):
    camera = FrameReader().camera(messages_of(ros, d=D)[1])
    assert camera.size == SIZE and camera.K[0, 0] == 48


def test_decoder_is_used_for_what_the_table_lacks(ros):
    image, info, cloud, picture = messages_of(ros)
    image.encoding = 'bayer_rggb8'
    frame = FrameReader('none', decode=lambda message: picture)(image, info, cloud, T)
    assert frame.image is picture
    with pytest.raises(MessageError, match='cv_bridge'):
        FrameReader('none')(image, info, cloud, T)


def test_compressed_image(ros):
    import cv2

    _, info, cloud, picture = messages_of(ros)
    done, data = cv2.imencode('.png', picture[:, :, ::-1])
    image = ros_types.compressed(ros, 'rgb8; png compressed bgr8', data.tobytes())
    assert done
    np.testing.assert_array_equal(FrameReader()(image, info, cloud, T).image, picture)

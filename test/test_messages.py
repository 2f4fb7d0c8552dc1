"""Images and CameraInfo of both message families against bytes and numbers written by hand."""

import struct
from types import SimpleNamespace

import cv2
from depth_kd_ros import messages
from depth_kd_ros.geometry import Camera
from depth_kd_ros.messages import MessageError
import numpy as np
import pytest
import ros_types

K = [[700.0, 0, 610], [0, 710, 180], [0, 0, 1]]
P = [[690.0, 0, 600, -300], [0, 695, 175, 0], [0, 0, 1, 0]]


@pytest.fixture(params=ros_types.KINDS)
def ros(request):
    return ros_types.load(request.param)


def image(ros, encoding, data, size, **fields):
    return ros_types.image(ros, encoding, bytes(data), size, **fields)


def test_stamp_in_nanoseconds(ros):
    header = ros_types.header(ros, stamp_ns=1_700_000_000_123_456_789)
    assert messages.stamp_ns(header) == 1_700_000_000_123_456_789


# Two pixels: (R, G, B) = (10, 20, 30) and (250, 0, 5), or grey 7 and 255.
COLOURS = {
    'rgb8': ([10, 20, 30, 250, 0, 5], [[10, 20, 30], [250, 0, 5]]),
    'bgr8': ([30, 20, 10, 5, 0, 250], [[10, 20, 30], [250, 0, 5]]),
    '8UC3': ([30, 20, 10, 5, 0, 250], [[10, 20, 30], [250, 0, 5]]),  # OpenCV's order
    'rgba8': ([10, 20, 30, 99, 250, 0, 5, 0], [[10, 20, 30], [250, 0, 5]]),
    'bgra8': ([30, 20, 10, 99, 5, 0, 250, 0], [[10, 20, 30], [250, 0, 5]]),
    'mono8': ([7, 255], [[7] * 3, [255] * 3]),
    '8UC1': ([7, 255], [[7] * 3, [255] * 3]),
    'mono16': (struct.pack('<2H', 0x07FF, 0xFF01), [[7] * 3, [255] * 3]),  # the upper byte
}


def test_the_table_of_encodings_is_tested():
    assert set(COLOURS) | {'16UC1', '32FC1'} == set(messages.ENCODINGS)


@pytest.mark.parametrize('padding', [0, 3])
@pytest.mark.parametrize('encoding', COLOURS)
def test_every_encoding_becomes_rgb(ros, encoding, padding):
    row, expected = COLOURS[encoding]
    row = bytes(row) + b'\xaa' * padding
    found = messages.rgb(image(ros, encoding, row * 3, (3, 2)))
    assert found.dtype == np.uint8 and found.shape == (3, 2, 3)
    np.testing.assert_array_equal(found, [expected] * 3)
    found[:] = 0  # its own memory, contiguous, writable
    assert found.flags.c_contiguous


def test_big_endian_mono16(ros):
    data = struct.pack('>2H', 0x07FF, 0xFF01)
    found = messages.rgb(image(ros, 'mono16', data, (1, 2), is_bigendian=1))
    np.testing.assert_array_equal(found, [[[7] * 3, [255] * 3]])


def test_last_row_may_lack_its_padding(ros):
    data = bytes([1, 2, 0, 0, 3, 4])
    message = image(ros, 'mono8', data, (2, 2), step=4)
    np.testing.assert_array_equal(messages.pixels(message), [[1, 2], [3, 4]])


def test_pixels_view_the_message_and_keep_its_channels(ros):
    message = image(ros, 'bgra8', range(16), (2, 2))
    found = messages.pixels(message)
    assert found.shape == (2, 2, 4) and found[1, 0].tolist() == [8, 9, 10, 11]
    assert np.shares_memory(found, np.asarray(message.data))


@pytest.mark.parametrize(
    ('fields', 'text'),
    [
        ({'encoding': 'bayer_rggb8'}, "'bayer_rggb8' is not in the native table: mono8, mono16"),
        ({'size': (0, 2)}, 'image size 0x2: empty'),
        ({'size': (2, 0)}, 'image size 2x0: empty'),
        ({'step': 5}, 'image step 5 is shorter than a row: 2 pixels of bgr8'),
        ({'step': 0}, 'image step 0 is shorter'),
        ({'data': bytes(11)}, 'image data has 11 bytes, shorter than step 6 x height 2'),
        ({'data': b''}, 'image data has 0 bytes'),
        ({'step': 7}, 'image data has 12 bytes, shorter than step 7 x height 2'),
        ({'size': (2**20, 2)}, 'image data has 12 bytes, shorter than step 6 x height 1048576'),
    ],
)
def test_images_that_lie_are_refused(ros, fields, text):
    given = {'encoding': 'bgr8', 'data': bytes(12), 'size': (2, 2), 'step': 6, **fields}
    with pytest.raises(MessageError, match=text):
        messages.pixels(ros_types.image(ros, **given))


@pytest.mark.parametrize('encoding', ['16UC1', '32FC1'])
def test_depth_is_no_colour(ros, encoding):
    with pytest.raises(MessageError, match=f'{encoding}.* is depth, not colour: choose a camera'):
        messages.rgb(image(ros, encoding, bytes(16), (2, 2)))


def test_encodings_beyond_the_table_ask_the_decoder(ros):
    message = image(ros, 'bayer_rggb8', bytes(4), (2, 2))
    with pytest.raises(MessageError, match="'bayer_rggb8' needs the ROS package cv_bridge"):
        messages.rgb(message)
    answer = np.full((2, 2, 3), 9, np.uint8)
    asked = []
    assert messages.rgb(message, lambda m: asked.append(m) or answer) is answer
    assert asked == [message]
    native = image(ros, 'mono8', bytes(4), (2, 2))
    assert messages.rgb(native, lambda m: pytest.fail('asked without need')).shape == (2, 2, 3)


# A smooth picture: left half red-ish, right half blue-ish (RGB).
PICTURE = np.zeros((16, 32, 3), np.uint8)
PICTURE[:, :16], PICTURE[:, 16:] = (200, 40, 10), (20, 60, 220)


def encoded(suffix, picture):
    done, data = cv2.imencode(suffix, picture)
    assert done
    return data.tobytes()


@pytest.mark.parametrize(
    ('form', 'suffix', 'tolerance'),
    [
        ('jpeg', '.jpg', 12), ('png', '.png', 0), ('bgr8; jpeg compressed bgr8', '.jpg', 12),
        ('rgb8; png compressed bgr8', '.png', 0), ('rgb8; jpeg compressed ', '.jpg', 12),
        ('', '.png', 0),
    ],
)  # fmt: skip
def test_compressed_images(ros, form, suffix, tolerance):
    message = ros_types.compressed(ros, form, encoded(suffix, PICTURE[:, :, ::-1]))
    found = messages.rgb(message)
    assert found.shape == PICTURE.shape and found.dtype == np.uint8
    inner = np.abs(found.astype(int) - PICTURE)[:, [*range(2, 13), *range(19, 30)]]
    assert inner.max() <= tolerance


def test_compressed_images_that_were_stored_as_rgb(ros):
    """compressed_image_transport's word for it: red and blue lie swapped in the file."""
    message = ros_types.compressed(ros, 'rgb8; png compressed rgb8', encoded('.png', PICTURE))
    np.testing.assert_array_equal(messages.rgb(message), PICTURE)


@pytest.mark.parametrize(
    ('picture', 'expected'),
    [
        (np.array([[7, 255]], np.uint8), [[[7] * 3, [255] * 3]]),
        (np.array([[0x07FF, 0xFF01]], np.uint16), [[[7] * 3, [255] * 3]]),
        (np.array([[[30, 20, 10, 0]]], np.uint8), [[[10, 20, 30]]]),
        (np.array([[[0x1EFF, 0x1400, 0x0A01]]], np.uint16), [[[10, 20, 30]]]),
    ],
)
def test_compressed_grey_deep_and_transparent_images(ros, picture, expected):
    message = ros_types.compressed(ros, 'png', encoded('.png', picture))
    np.testing.assert_array_equal(messages.rgb(message), expected)


@pytest.mark.parametrize(
    ('form', 'data', 'text'),
    [
        ('32FC1; compressedDepth png', bytes(20), "compressedDepth png' is depth, not colour"),
        ('16UC1; compressedDepth rvl', b'', 'is depth, not colour: choose the camera topic'),
        ('16UC1; png compressed ', encoded('.png', np.ones((2, 2), np.uint16)), 'is depth'),
        ('jpeg', b'', "format 'jpeg': 0 bytes are no jpeg or png image"),
        ('jpeg', b'nonsense', 'format .jpeg.: 8 bytes are no jpeg'),
        ('png', encoded('.png', PICTURE)[:9], '9 bytes are no jpeg or png'),
    ],
)
def test_compressed_data_that_is_no_colour_image(ros, form, data, text):
    with pytest.raises(MessageError, match=text):
        messages.rgb(ros_types.compressed(ros, form, data))


@pytest.mark.parametrize(('order', 'big'), [('<', 0), ('>', 1)])
def test_depth_in_millimetres(ros, order, big):
    data = struct.pack(order + '4H', 0, 1, 1500, 65535)
    found = messages.depth(image(ros, '16UC1', data, (2, 2), is_bigendian=big))
    assert found.dtype == np.float32 and found.dtype.isnative
    np.testing.assert_array_equal(found, np.float32([[0, 0.001], [1.5, 65.535]]))


@pytest.mark.parametrize(('order', 'big'), [('<', 0), ('>', 1)])
def test_depth_in_metres_has_many_words_for_none(ros, order, big):
    data = struct.pack(order + '6f', 2.5, float('nan'), float('inf'), float('-inf'), -1, 0)
    found = messages.depth(image(ros, '32FC1', data, (2, 3), is_bigendian=big))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, [[2.5, 0, 0], [0, 0, 0]])


def test_depth_of_another_encoding(ros):
    with pytest.raises(MessageError, match="'mono16': depth is 16UC1"):
        messages.depth(image(ros, 'mono16', bytes(8), (2, 2)))


def test_no_depth_becomes_nan_in_the_message_only(ros):
    """REP 118: NaN in 32FC1; the caller's array keeps its zeros."""
    depth = np.float32([[0, 1.5, 80], [2, 0, 3]])
    message = messages.depth_image(depth, ros_types.header(ros), ros.Image)
    assert (message.encoding, message.step, message.is_bigendian) == ('32FC1', 12, 0)
    assert (message.height, message.width, len(message.data)) == (2, 3, 24)
    numbers = struct.unpack('<6f', bytes(message.data))
    assert np.isnan(numbers[0]) and np.isnan(numbers[4]) and numbers[1:4] == (1.5, 80, 2)
    np.testing.assert_array_equal(messages.depth(message), depth)
    assert depth[0, 0] == 0


@pytest.mark.parametrize(
    'change',
    [
        lambda d: np.asfortranarray(d),
        lambda d: np.ascontiguousarray(d.T).T,
        lambda d: np.repeat(np.repeat(d, 2, 0), 2, 1)[::2, ::2],
        lambda d: d.astype(np.float64),
        lambda d: d.astype('>f4'),
    ],
)
@pytest.mark.parametrize('size', [(2, 3), (1, 5), (5, 1)])
def test_writers_lay_out_any_array_row_by_row(ros, change, size):
    values = np.arange(1, size[0] * size[1] + 1, dtype=np.float32).reshape(size)
    for write in (messages.depth_image, messages.float_image):
        message = write(change(values), ros_types.header(ros), ros.Image)
        assert message.step == 4 * size[1]
        np.testing.assert_array_equal(messages.depth(message), values)


def test_confidence_keeps_its_zeros(ros):
    message = messages.float_image(np.float32([[0, 0.37, 1]]), ros_types.header(ros), ros.Image)
    assert struct.unpack('<3f', bytes(message.data)) == (0, np.float32(0.37), 1)


def test_rgb_round_trip(ros):
    for picture in (PICTURE, PICTURE[::2, 3:20:3], PICTURE[:, :1]):
        message = messages.rgb_image(picture, ros_types.header(ros), ros.Image)
        assert message.encoding == 'bgr8' and message.step == 3 * picture.shape[1]
        assert bytes(message.data[:3]) == bytes(picture[0, 0, ::-1].tolist())
        np.testing.assert_array_equal(messages.rgb(message), picture)


def test_rclpy_is_never_given_bytes():
    """Rclpy looks at each element of bytes; its setters take an array.array as it is."""
    ros = ros_types.load('rclpy')
    given = {}
    message_class = lambda **fields: given.update(fields)  # noqa: E731
    messages.depth_image(np.ones((2, 2)), ros_types.header(ros), message_class)
    assert type(given['data']).__name__ == 'array' and given['data'].typecode == 'B'
    messages.camera_info(Camera(K, 4, 4), None, message_class, ros.RegionOfInterest)
    assert type(given['d']).__name__ == 'array' and given['d'].typecode == 'd'


@pytest.mark.parametrize('values', [np.zeros((0, 3), np.float32), np.zeros(0, [('x', '<f4')])])
def test_buffer_of_nothing(ros, values):
    assert len(messages.buffer(values, ros.Image)) == 0


def info(ros, **fields):
    return ros_types.camera_info(ros, **{'k': K, 'p': P, **fields})


def test_rectified_camera_is_p_and_raw_one_k_and_d(ros):
    d = (0.1, -0.2, 0.01, 0.02, 0.3)
    rectified = messages.camera(info(ros, d=d), rectified=True)
    np.testing.assert_array_equal(rectified.K, np.array(P)[:, :3])
    assert (rectified.size, rectified.D, rectified.model) == ((375, 1242), (), '')
    raw = messages.camera(info(ros, d=d), rectified=False)
    np.testing.assert_array_equal(raw.K, K)
    assert (raw.size, raw.D, raw.model) == ((375, 1242), d, 'plumb_bob')


@pytest.mark.parametrize('rectified', [True, False])
def test_region_of_interest_and_binning_by_hand(ros, rectified):
    """Rows 101 to 300, columns 51 to 850; then 2 columns and 5 rows become one pixel."""
    plain = messages.camera(info(ros), rectified).K
    region = {'roi': (101, 51, 200, 800)}
    window = messages.camera(info(ros, **region), rectified)
    assert window.size == (200, 800)
    np.testing.assert_array_equal(window.K - plain, [[0, 0, -51], [0, 0, -101], [0, 0, 0]])
    binned = messages.camera(info(ros, **region, binning_x=2, binning_y=5), rectified)
    assert binned.size == (40, 400)
    expected = [
        [plain[0, 0] / 2, 0, (plain[0, 2] - 51 + 0.5) / 2 - 0.5],
        [0, plain[1, 1] / 5, (plain[1, 2] - 101 + 0.5) / 5 - 0.5],
        [0, 0, 1],
    ]
    np.testing.assert_allclose(binned.K, expected)


def test_binning_of_an_odd_size_still_halves_the_focal_length(ros):
    """375 rows in pairs are 187, and the scale is 1/2, not 187/375."""
    binned = messages.camera(info(ros, binning_x=2, binning_y=2), rectified=True)
    assert binned.size == (187, 621)
    assert binned.K[0, 0] == 345 and binned.K[1, 1] == 347.5 and binned.K[1, 2] == 87.25


@pytest.mark.parametrize(
    ('fields', 'rectified', 'text'),
    [
        ({'p': np.zeros(12)}, True, "CameraInfo of 'camera': P is all zeros. Calibrate"),
        ({'k': np.zeros(9)}, False, "CameraInfo of 'camera': K is all zeros. Calibrate"),
        ({'p': np.ones(12)}, True, "CameraInfo of 'camera': camera K = .* row by row"),
        ({'size': (0, 0)}, True, "CameraInfo of 'camera': camera size 0x0"),
        (
            {'d': [0.1] * 5, 'distortion_model': 'thin_lens'},
            False,
            "'thin_lens' is unknown; known",
        ),
        ({'d': [0.1] * 5, 'distortion_model': ''}, False, "distortion_model '' is unknown"),
        ({'d': [0.1] * 2}, False, 'needs at least 4 finite'),
        ({'binning_x': 2000}, True, 'camera size 375x0'),
    ],
)
def test_calibrations_that_cannot_be(ros, fields, rectified, text):
    with pytest.raises(MessageError, match=text):
        messages.camera(info(ros, **fields), rectified)


def test_unknown_model_without_distortion_is_harmless(ros):
    assert messages.camera(info(ros, distortion_model='none', d=[0] * 5), False).model == ''


def test_rectification(ros):
    turn = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    np.testing.assert_array_equal(messages.rectification(info(ros, r=turn)), turn)
    np.testing.assert_array_equal(messages.rectification(info(ros)), np.eye(3))
    for wrong in (np.eye(3) * 2, np.diag([1, 1, -1])):
        with pytest.raises(
            MessageError, match=r"CameraInfo of 'camera': R = .* is not a rotation"
        ):
            messages.rectification(info(ros, r=wrong))


@pytest.mark.parametrize(
    ('model', 'D'),
    [('', ()), ('plumb_bob', (0.1, 0, 0, 0, 0.2)), ('equidistant', (0.1, 0.2, 0.3, 0.4))],
)
def test_camera_info_round_trip(ros, model, D):
    camera = Camera(K, 375, 1242, D, model)
    message = messages.camera_info(
        camera, ros_types.header(ros), ros.CameraInfo, ros.RegionOfInterest
    )  # fmt: skip
    again = messages.camera(message, rectified=False)
    np.testing.assert_array_equal(again.K, K)
    assert (again.size, again.D, again.model) == (camera.size, D, model)
    assert message.distortion_model == (model or 'plumb_bob') and len(message.d) == (len(D) or 5)
    np.testing.assert_array_equal(np.reshape(message.p, (3, 4)), np.c_[K, [0, 0, 0]])
    np.testing.assert_array_equal(messages.rectification(message), np.eye(3))
    assert messages.camera(message, rectified=True).K[0, 0] == 700


def test_written_messages_serialise():
    """Through rosbags' CDR and back: nothing is lost."""
    from rosbags.typesys import get_typestore, Stores

    store, ros = get_typestore(Stores.ROS2_JAZZY), ros_types.load('rosbags')
    header = ros_types.header(ros, stamp_ns=5)
    depth = np.float32([[0, 1], [2, 3]])
    for message in (
        messages.depth_image(depth, header, ros.Image),
        messages.camera_info(Camera(K, 2, 2), header, ros.CameraInfo, ros.RegionOfInterest),
    ):
        kind = message.__msgtype__
        again = store.deserialize_cdr(store.serialize_cdr(message, kind), kind)
        if hasattr(again, 'encoding'):
            np.testing.assert_array_equal(messages.depth(again), depth)
        else:
            assert messages.camera(again, rectified=True).size == (2, 2)


def test_plain_objects_do_as_messages():
    plain = SimpleNamespace(
        encoding='mono8', height=1, width=2, step=2, is_bigendian=0, data=b'\x01\x02'
    )  # fmt: skip
    assert messages.rgb(plain)[0, 1].tolist() == [2, 2, 2]

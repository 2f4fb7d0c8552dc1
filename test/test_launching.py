import box_world
from depth_kd_ros import launching
from depth_kd_ros.launching import ArgumentError, Topics
import numpy as np
import pytest
from rosbags.rosbag2 import Writer
from rosbags.typesys import get_typestore, Stores

NOTHING = dict.fromkeys(
    ('image', 'points', 'camera_info', 'image_transport', 'extrinsics', 'bag'), ''
)
RIG = 'T_cam_lidar: [[0, -1, 0, 0.1], [0, 0, -1, -0.2], [1, 0, 0, -0.3], [0, 0, 0, 1]]'
STORE = get_typestore(Stores.ROS2_JAZZY)
INFO, CLOUD = 'sensor_msgs/msg/CameraInfo', 'sensor_msgs/msg/PointCloud2'
RAW, JPEG = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'


@pytest.fixture(scope='module')
def street(tmp_path_factory):
    path = tmp_path_factory.mktemp('bags') / 'street'
    box_world.write(path, count=1, size=(12, 32), beams=4, azimuths=36)
    return path


@pytest.fixture
def bag_with(tmp_path):
    """Write a bag with one tiny message on each topic {name: type}."""

    def write(topics):
        path = tmp_path / 'bag'
        t = STORE.types
        stamp = t['builtin_interfaces/msg/Time'](1, 0)
        header, cloud_header = (t['std_msgs/msg/Header'](stamp, name) for name in ('cam', 'lidar'))
        nothing = np.zeros(3, np.uint8)
        region = t['sensor_msgs/msg/RegionOfInterest'](0, 0, 0, 0, False)
        messages = {
            RAW: t[RAW](header, 1, 1, 'bgr8', 0, 3, nothing),
            JPEG: t[JPEG](header, 'jpeg', nothing),
            CLOUD: t[CLOUD](cloud_header, 1, 0, [], False, 1, 0, nothing[:0], True),
            INFO: t[INFO](
                header, 1, 1, '', np.zeros(0), np.eye(3).ravel(), np.eye(3).ravel(),
                np.zeros(12), 0, 0, region,
            ),
        }  # fmt: skip
        with Writer(path, version=9) as bag:
            for topic, kind in topics.items():
                connection = bag.add_connection(topic, kind, typestore=STORE)
                bag.write(connection, 10**9, STORE.serialize_cdr(messages[kind], kind))
        return path

    return write


def streams(**given):
    return launching.streams({**NOTHING, **{k: str(v) for k, v in given.items()}})


def test_nothing_given_leaves_the_nodes_own_names():
    topics, rig = streams()
    assert topics == Topics('', '', '', '')
    assert topics.remappings() == []
    assert rig is None


@pytest.mark.parametrize(
    ('image', 'camera_info'),
    [
        ('/camera/image_rect_color', '/camera/camera_info'),
        ('/camera/image/compressed', '/camera/camera_info'),
        ('/image', '/camera_info'),
        ('left/image', 'left/camera_info'),
        ('image_raw', 'camera_info'),
    ],
)
def test_camera_info_is_beside_the_image(image, camera_info):
    assert streams(image=image)[0].camera_info == camera_info
    assert streams(image=image, camera_info='/other')[0].camera_info == '/other'


def test_raw_image_is_remapped_with_its_compressed_form():
    topics, _ = streams(image='/cam/image', points='/lidar', camera_info='/info')
    assert topics.transport == ''
    assert dict(topics.remappings()) == {
        'image': '/cam/image',
        'image/compressed': '/cam/image/compressed',
        'points': '/lidar',
        'camera_info': '/info',
    }


@pytest.mark.parametrize(
    ('image', 'transport'),
    [
        ('/cam/image/compressed', ''),
        ('/cam/image/compressed', 'compressed'),
        ('/cam/image', 'compressed'),
    ],
)
def test_compressed_image_however_it_is_given(image, transport):
    topics, _ = streams(image=image, image_transport=transport)
    assert topics[:1] + topics[3:] == ('/cam/image/compressed', 'compressed')
    rules = dict(topics.remappings())
    assert rules['image'] == '/cam/image'
    assert rules['image/compressed'] == '/cam/image/compressed'


def test_raw_transport_of_a_compressed_topic_is_refused():
    with pytest.raises(ArgumentError, match=r'image:=/a/compressed is .* or image:=/a$'):
        streams(image='/a/compressed', image_transport='raw')


def test_a_bag_alone_gives_topics_and_extrinsics(street):
    topics, rig = streams(bag=street)
    assert topics == Topics(box_world.IMAGE, box_world.POINTS, box_world.INFO, 'raw')
    np.testing.assert_allclose(rig.T_cam_lidar, box_world.T_cam_lidar(), atol=1e-9)
    assert rig[1:] == (box_world.CAMERA_FRAME, box_world.LIDAR_FRAME)


def test_tf_beside_a_bag_reads_no_extrinsics(street):
    assert streams(bag=street, extrinsics='tf')[1] is None


def test_a_file_beside_a_bag_wins(street, tmp_path):
    (tmp_path / 'rig.yaml').write_text(RIG)
    _, rig = streams(bag=street, extrinsics=tmp_path / 'rig.yaml')
    assert rig.T_cam_lidar[:3, 3].tolist() == [0.1, -0.2, -0.3]


def test_given_topics_win_over_those_found(bag_with):
    topics = dict.fromkeys(('/left/image', '/right/image'), RAW)
    infos = dict.fromkeys(('/left/camera_info', '/right/camera_info'), INFO)
    path = bag_with({**topics, **infos, '/lidar': CLOUD})
    found, _ = streams(bag=path, image='/right/image', extrinsics='tf')
    assert found == Topics('/right/image', '/lidar', '/right/camera_info', 'raw')
    with pytest.raises(ArgumentError, match=r'^bag:=.*several image topics.* image:=TOPIC'):
        streams(bag=path, extrinsics='tf')
    with pytest.raises(ArgumentError, match=r'^camera_info:=/none: .*/none'):
        streams(bag=path, image='/left/image', camera_info='/none', extrinsics='tf')


def test_compressed_images_of_a_bag(bag_with):
    path = bag_with({'/cam/jpeg': JPEG, '/cam/camera_info': INFO, '/lidar': CLOUD})
    topics, _ = streams(bag=path, extrinsics='tf')
    assert topics == Topics('/cam/jpeg', '/lidar', '/cam/camera_info', 'compressed')
    assert dict(topics.remappings())['image/compressed'] == '/cam/jpeg'
    with pytest.raises(ArgumentError, match=r'image_transport:=raw, but /cam/jpeg .* compressed'):
        streams(bag=path, image_transport='raw', extrinsics='tf')


def test_compressed_is_taken_from_a_bag_with_both(bag_with):
    both = {'/cam/image': RAW, '/cam/image/compressed': JPEG}
    path = bag_with({**both, '/cam/camera_info': INFO, '/lidar': CLOUD})
    assert streams(bag=path, extrinsics='tf')[0].image == '/cam/image'
    topics, _ = streams(bag=path, image_transport='compressed', extrinsics='tf')
    assert topics.image == '/cam/image/compressed'
    topics, _ = streams(
        bag=path, image='/cam/image', image_transport='compressed', extrinsics='tf'
    )
    assert topics.image == '/cam/image/compressed'


def test_bag_without_tf_static(bag_with):
    path = bag_with({'/cam/image': RAW, '/cam/camera_info': INFO, '/lidar': CLOUD})
    with pytest.raises(ArgumentError, match=r'^bag:=.*tf_static'):
        streams(bag=path)


def test_bad_bags_and_files_name_the_argument(tmp_path):
    with pytest.raises(ArgumentError, match=r'^bag:=/none: nothing at /none; give a rosbag2'):
        streams(bag='/none')
    with pytest.raises(ArgumentError, match=f'^bag:={tmp_path}: '):
        streams(bag=tmp_path)
    with pytest.raises(ArgumentError, match=r'^extrinsics:=calib: nothing at .*tf, bag or an'):
        streams(extrinsics='calib')
    with pytest.raises(ArgumentError, match=r'^extrinsics:=bag, but no bag: give bag:=PATH'):
        streams(extrinsics='bag')
    (tmp_path / 'rig.yaml').write_text('scale: 2')
    with pytest.raises(ArgumentError, match=r'^extrinsics:=.*rig\.yaml: missing'):
        streams(extrinsics=tmp_path / 'rig.yaml')


def test_parameters_of_the_extrinsics(tmp_path):
    (tmp_path / 'rig.yaml').write_text(RIG)
    _, rig = streams(extrinsics=tmp_path / 'rig.yaml')
    parameters = launching.extrinsics_parameters(rig)
    assert parameters == {
        'extrinsics.source': 'parameter',
        'extrinsics.T_cam_lidar': [0, -1, 0, 0.1, 0, 0, -1, -0.2, 1, 0, 0, -0.3, 0, 0, 0, 1],
        'extrinsics.camera_frame': rig.parent,
        'extrinsics.lidar_frame': rig.child,
    }
    # rcl takes a list of whole numbers for another type.
    assert {type(v) for v in parameters['extrinsics.T_cam_lidar']} == {float}
    assert launching.extrinsics_parameters(None) == {
        'extrinsics.source': 'tf',
        'extrinsics.T_cam_lidar': [0.0] * 16,
        'extrinsics.camera_frame': '',
        'extrinsics.lidar_frame': '',
    }


def test_profile(tmp_path):
    shipped, own = tmp_path / 'shipped.xml', tmp_path / 'own.xml'
    own.touch()
    names = {'FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE'}
    for value, path in (('shared_memory', shipped), (str(own), own)):
        environment = launching.profile_environment(value, shipped)
        assert environment == dict.fromkeys(names, str(path))
    assert launching.profile_environment('keep', shipped) == {}
    with pytest.raises(ArgumentError, match=r'^middleware_profile:=no\.xml: nothing at /'):
        launching.profile_environment('no.xml', shipped)


def test_numbers():
    assert launching.number('bag_rate', '0.5', 0.01) == 0.5
    for value in ('0', '-1', 'fast', 'nan', 'inf', ''):
        with pytest.raises(ArgumentError, match=f'^bag_rate:={value}: give a number of at least'):
            launching.number('bag_rate', value, 0.01)
    assert launching.number('split_size_mb', '1e3', 0, whole=True) == 1000
    with pytest.raises(ArgumentError, match=r'^split_size_mb:=0\.5: give a whole number'):
        launching.number('split_size_mb', '0.5', 0, whole=True)


def test_notes_on_what_would_be_overlooked():
    declared = ['device', 'model', 'bag']
    assert launching.notes(['device', 'robot'], declared, {}, {'A': 'new'}) == []
    assert launching.notes(['devise'], declared, {'A': 'old'}, {'A': 'new'}) == [
        'devise:= is unknown and ignored: device:= meant?',
        'A=old is replaced; middleware_profile:=keep leaves it',
    ]
    assert launching.notes([], declared, {'A': 'new'}, {'A': 'new'}) == []

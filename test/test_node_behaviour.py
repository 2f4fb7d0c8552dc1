"""What the completion node does with slow models, faults, silence, signals and bad starts."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import cv2
from depth_kd_ros import messages
from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from node_harness import AXES, cloud_message, Harness, image_message, info_message, wall
from node_rig import FIXED, LIMIT_S, RAW, Rig
import numpy as np
import pytest
from rcl_interfaces.srv import SetParameters
import rclpy
from rclpy.parameter import Parameter
from rclpy.qos import ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage
import torch


@pytest.fixture
def rig():
    """Start nodes in this process, and stop them."""
    rigs = []

    def start(*given, **settings):
        rigs.append(Rig(*given, **settings))
        return rigs[-1]

    yield start
    for each in rigs:
        each.__exit__()


def test_frame_status_tells_stamp_model_and_stage_times_and_makes_the_model_run(rig):
    run, heard = rig(outputs=()), []
    run.peer.create_subscription(DiagnosticStatus, 'completion/frame_status', heard.append, 10)
    run.send_until(lambda: heard)
    values = {pair.key: pair.value for pair in heard[-1].values}
    assert heard[-1].name == f'{run.namespace}/completion: depth completion'
    assert (heard[-1].level, heard[-1].message) == (DiagnosticStatus.OK, 'completed')
    assert int(values['stamp_ns']) % 10**8 == 0 and int(values['stamp_ns']) >= 10**9
    assert (values['model'], values['model_hash']) == ('nearest', 'classical')
    assert 0 < int(values['points']) <= 400
    stages = ('match', 'wait', 'decode', 'project', 'infer', 'publish', 'total')
    times = [float(values[f'{stage}_ms']) for stage in stages]
    assert min(times) >= 0 and times[-1] >= max(times[:-1])
    assert run.model.calls >= 1


@pytest.mark.parametrize('output', ['sparse', 'camera_info'])
def test_measured_outputs_never_call_the_model(rig, output):
    run = rig(outputs=(output,))
    stamps = [run.flow(output) for _ in range(3)]
    assert run.model.calls == 0 and set(stamps) <= set(run.got[output])
    run.hear('depth')
    run.flow('depth')
    assert run.model.calls > 0


def test_frames_nobody_wants_are_counted_and_not_computed(rig):
    run = rig(outputs=())
    run.send_until(lambda: run.count('no_subscriber') >= 3)
    assert (run.model.calls, run.total('frames_out')) == (0, 0)
    run.send_until(lambda: run.status and run.status.message.startswith('0 frames completed'))
    assert run.status.level == DiagnosticStatus.OK  # nothing was lost
    assert run.health['dropped']['no_subscriber'] > 3


def test_newest_wins_while_the_model_is_slow_and_callbacks_go_on(rig):
    run = rig()
    run.flow()
    run.got['depth'].clear()
    run.model.gate.clear()
    before, calls, busy = run.total('frames_in')['points'], run.model.calls, run.count('busy')
    first = run.send()
    run.until(lambda: run.model.calls == calls + 1)
    waiting = []
    for sent in range(1, 6):
        matched = run.total('frames_matched')
        waiting.append(run.send())
        run.until(lambda m=matched: run.total('frames_matched') == m + 1)
        assert run.count('busy') - busy == sent - 1
    assert run.model.calls == calls + 1 and not run.got['depth']  # still at the gate
    assert run.total('frames_in')['points'] == before + 6
    run.model.gate.set()
    run.until(lambda: waiting[-1] in run.got['depth'])
    assert sorted(run.got['depth']) == [first, waiting[-1]]
    assert run.count('busy') - busy == 4


def test_frames_that_waited_too_long_are_stale(rig):
    run = rig(settings={'max_age_s': 0.5})
    run.flow()
    calls = run.model.calls
    run.model.gate.clear()
    run.send_until(lambda: run.model.calls > calls)
    stale, before, late = run.count('stale'), run.total('frames_in')['points'], run.send()
    run.until(lambda: run.total('frames_in')['points'] > before)
    old = time.monotonic() + 0.6
    run.until(lambda: time.monotonic() > old)
    run.model.gate.set()
    run.until(lambda: run.count('stale') == stale + 1)
    run.flow()
    assert late not in run.got['depth']


def test_min_confidence_turns_depth_into_nan(rig):
    run = rig(outputs=('depth', 'confidence'))
    confidence = np.full((24, 32), 0.9, np.float32)
    confidence[:, :10] = 0.2
    run.model.confidence = confidence
    stamp = run.flow()
    assert (run.depth(stamp) > 0).all()  # 0: nothing is cut
    assert run.node.set_parameters([Parameter('min_confidence', value=0.5)])[0].successful
    stamp = run.flow()
    pixels = messages.pixels(run.got['depth'][stamp])
    assert np.isnan(pixels[:, :10]).all() and pixels[:, 10:] == pytest.approx(5.0)
    run.until(lambda: stamp in run.got['confidence'])
    assert (messages.pixels(run.got['confidence'][stamp]) == confidence).all()


@pytest.mark.parametrize('kind', ['jpeg', 'png'])
def test_compressed_images(rig, kind):
    run = rig(
        ('depth', 'points'),
        {'image_transport': 'compressed'},
        ('camera_info', 'image/compressed', 'points'),
    )
    assert run.node.reader.topic == f'{run.namespace}/image/compressed'
    assert not run.node.count_subscribers('image')
    bgr = np.full((24, 32, 3), (60, 30, 200), np.uint8)
    message = CompressedImage(format=f'bgr8; {kind} compressed bgr8')
    message.data = messages.buffer(cv2.imencode(f'.{kind}', bgr)[1], CompressedImage)
    stamp = run.flow(compressed=message)
    assert run.depth(stamp) == pytest.approx(np.full((24, 32), 5.0))
    run.until(lambda: stamp in run.got['points'])
    packed = np.frombuffer(run.got['points'][stamp].data, '<u4').reshape(-1, 4)[:, 3]
    rgb = np.stack([packed >> 16 & 255, packed >> 8 & 255, packed & 255], 1).astype(int)
    assert np.abs(rgb - (200, 30, 60)).max() <= (4 if kind == 'jpeg' else 0)


SIZE, D = (120, 160), [-0.3, 0.1, 0.002, -0.001, 0.0]
K = np.array([[100.0, 0, 78], [0, 102.0, 61], [0, 0, 1]])
P = np.array([[98.0, 0, 80], [0, 98.0, 60], [0, 0, 1]])
TURN = np.array([0.02, -0.03, 0.01])  # of R, as a rotation vector


@pytest.mark.parametrize('mode', ['image', 'points'])
def test_raw_lens_projects_a_point_to_the_right_pixel(rig, mode):
    run = rig(('sparse', 'camera_info'), {'rectify': mode})
    info = info_message(0, SIZE)
    info.k, info.d = K.ravel(), D
    info.p = np.c_[P, np.zeros(3)].ravel()
    turn = TURN if mode == 'image' else np.zeros(3)  # depth along a turned axis is refused
    info.r = cv2.Rodrigues(turn)[0].ravel()
    at = np.array([1.5, -1.1, 3.0])  # in the rectified camera's frame, far from the axis
    cloud = cloud_message(0, np.array([[at[2], -at[0], -at[1]]]))
    stamp = run.flow('sparse', camera_info=info, image=image_message(0, SIZE), points=cloud)
    u, v = (P @ at / at[2])[:2]
    raw = cv2.projectPoints(at[None], -turn, np.zeros(3), K, np.array(D))[0].ravel()
    assert np.hypot(*(raw - (u, v))) > 4  # ignoring the lens would show
    if mode == 'points':
        u, v = raw
    sparse = messages.depth(run.got['sparse'][stamp])
    (row,), (column,) = np.nonzero(sparse)
    assert (abs(column - u) <= 0.5, abs(row - v) <= 0.5) == (True, True), (column, row, u, v)
    run.until(lambda: stamp in run.got['camera_info'])
    out = run.got['camera_info'][stamp]
    assert (out.height, out.width) == SIZE
    if mode == 'image':
        assert not any(out.d) and out.k.reshape(3, 3) == pytest.approx(P)
        assert sparse[row, column] == pytest.approx(3.0)
    else:
        assert list(out.d) == D and out.k.reshape(3, 3) == pytest.approx(K)


def test_silence_is_told_with_its_kind_and_topic(rig):
    run = rig(settings={'silence_s': 0.1}, inputs=())

    def told(level, *texts):
        there = run.status is not None and run.status.level == level
        return there and all(text in run.status.message for text in texts)

    topics = [f'{run.namespace}/{name}' for name in RAW]
    run.until(lambda: told(DiagnosticStatus.ERROR, 'nobody publishes', *topics))
    run.senders['points'] = run.sender('points')
    quiet = f'{topics[2]}: published, but nothing arrives'
    run.until(lambda: told(DiagnosticStatus.ERROR, 'nobody publishes', quiet))
    absent = run.status.message.partition(':')[0]
    assert topics[0] in absent and topics[2] not in absent
    run.senders |= {name: run.sender(name) for name in RAW[:2]}

    def others_flow():
        run.senders['camera_info'].publish(info_message(1))
        run.senders['image'].publish(image_message(1))
        return told(DiagnosticStatus.WARN, quiet)

    run.until(others_flow)
    assert 'nobody publishes' not in run.status.message and topics[1] not in run.status.message


def test_unforeseen_error_of_the_model_loses_one_frame(rig):
    run = rig()
    run.flow()
    run.model.error = RuntimeError('CUDA error: boom')
    bad = run.send()
    run.until(lambda: run.count('error') == 1)
    run.model.error = None
    good = run.flow()
    assert bad not in run.got['depth'] and good in run.got['depth']
    run.until(lambda: 'error' in run.health.get('why_dropped', {}))
    assert run.health['why_dropped']['error'] == 'RuntimeError: CUDA error: boom'
    assert run.health['dropped']['error'] == 1 == run.count('error')


def test_model_that_fails_to_load_at_run_time_is_refused(rig, monkeypatch):
    run = rig()
    run.flow()

    def fail(*given):
        raise RuntimeError('out of memory')

    monkeypatch.setattr('depth_kd_ros.completer.DepthCompleter', fail)
    client = run.peer.create_client(SetParameters, 'completion/set_parameters')
    run.until(client.service_is_ready)
    change = Parameter('model', value='linear').to_parameter_msg()
    answer = client.call_async(SetParameters.Request(parameters=[change]))
    run.until(answer.done)
    (result,) = answer.result().results
    assert (result.successful, result.reason) == (False, 'RuntimeError: out of memory')
    calls = run.model.calls
    run.flow()
    assert run.node.completer is run.model and run.model.calls > calls
    assert run.node.get_parameter('model').value == 'nearest' == run.node.settings.model


def test_clock_that_jumps_back(rig, capfd):
    run, text = rig(settings={'use_sim_time': True}), ''
    run.flow()
    clock = run.peer.create_publisher(Clock, '/clock', 10)

    def reached(seconds):
        message = Clock()
        message.clock.sec = seconds
        clock.publish(message)
        return run.node.get_clock().now().nanoseconds == seconds * 10**9

    for seconds in (100, 130):
        run.until(lambda s=seconds: reached(s))
    assert 'the clock went back' not in capfd.readouterr().err
    run.until(lambda: reached(90))

    def logged():
        nonlocal text
        text += capfd.readouterr().err
        return 'the clock went back by 40.000 s' in text

    run.until(logged)
    old = max(run.got['depth'])
    run.stamps = iter(range(10**8, old, 10**8))  # the bag begins anew
    assert run.flow() < old


def test_qos_overrides_hold_for_their_topic_only(rig):
    overrides = {
        'qos_overrides.{ns}/points.subscription.reliability': 'reliable',
        'qos_overrides.{ns}/depth_registered/image_rect.publisher.reliability': 'best_effort',
    }
    run = rig((), overrides)
    weak, strong = ReliabilityPolicy.BEST_EFFORT, ReliabilityPolicy.RELIABLE
    expected = {
        'points': strong, 'image': weak, 'camera_info': weak,
        'depth_registered/image_rect': weak, 'depth_registered/camera_info': strong,
        'depth_registered/points': strong, 'sparse_depth/image_rect': strong,
    }  # fmt: skip

    def found(name):
        topic, peer = f'{run.namespace}/{name}', run.peer
        ends = peer.get_publishers_info_by_topic(topic) if '/' in name else None
        ends = peer.get_subscriptions_info_by_topic(topic) if ends is None else ends
        return [end.qos_profile.reliability for end in ends]

    run.until(lambda: all(found(name) for name in expected))
    assert {name: found(name) for name in expected} == {n: [p] for n, p in expected.items()}


def started(log, *words):
    """Start completion_node as a process that writes to `log`."""
    arguments = ['--ros-args', *(word for given in words for word in ('-p', given))]
    return subprocess.Popen(
        [sys.executable, '-m', 'depth_kd_ros.nodes.completion_node', *arguments],
        stdout=log.open('w'),
        stderr=subprocess.STDOUT,
    )


EXTRINSICS = ('extrinsics.source:=parameter', f'extrinsics.T_cam_lidar:={AXES}')


@pytest.mark.parametrize(
    ('word', 'text'),
    [
        ('model:=linaer', "no model 'linaer'; did you mean 'linear'?"),
        pytest.param(
            'device:=cuda',
            'finds 0 CUDA devices',
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason='this machine has CUDA'),
        ),
        ('devise:=cpu', "unknown parameter 'devise'; did you mean 'device'?"),
        ('points_stride:=0', 'points_stride'),
        ('qos_overrides./points.subscription.reliability:=strong', 'QoS override'),
        ("max_depth_m:='far'", "parameter max_depth_m = 'far': float expected"),
    ],
)
def test_bad_start_ends_with_one_clear_message(tmp_path, word, text):
    log = tmp_path / 'log'
    process = started(log, *EXTRINSICS, word)
    assert process.wait(LIMIT_S) == 2
    (line,) = (each for each in log.read_text().splitlines() if '[INFO]' not in each)
    assert text in line and 'Traceback' not in line


def test_interrupt_while_frames_flow(tmp_path):
    """An integer serves as float, here max_depth_m:=6, and holds."""
    settings = {name.replace('.', '__'): value for name, value in FIXED.items()}
    with Harness(tmp_path / 'log', **settings, max_depth_m=6) as run:
        stamps = iter(range(10**8, 10**13, 10**8))

        def send(distance_m=5.0):
            stamp = next(stamps)
            run.send(
                image_message(stamp), info_message(stamp), cloud_message(stamp, wall(distance_m))
            )

        run.until(lambda: send() or run.depth)
        run.until(lambda: send(7.0) or run.count('dropped', 'no_points'))
        run.depth.clear()
        run.until(lambda: send() or len(run.depth) > 5)
        run.process.send_signal(signal.SIGINT)
        end = time.monotonic() + LIMIT_S
        while run.process.poll() is None and time.monotonic() < end:
            send()
            run.executor.spin_once(timeout_sec=0.02)
        assert run.process.poll() == 0, run.log.read_text()
    text = run.log.read_text()
    assert 'Traceback' not in text and 'RCLError' not in text and 'Error' not in text


def test_lifecycle_services_bring_the_node_up_and_end_it(tmp_path):
    log = tmp_path / 'log'
    process = started(log, *EXTRINSICS, 'model:=nearest', 'autostart:=false')
    context = rclpy.Context()
    rclpy.init(context=context)
    peer = rclpy.create_node('lifecycle_peer', context=context)
    executor = rclpy.executors.SingleThreadedExecutor(context=context)
    executor.add_node(peer)

    def until(done):
        end = time.monotonic() + LIMIT_S
        while not done():
            executor.spin_once(timeout_sec=0.02)
            assert process.poll() is None and time.monotonic() < end, log.read_text()

    kinds = {'change_state': ChangeState, 'get_state': GetState}
    clients = {name: peer.create_client(kinds[name], f'/completion/{name}') for name in kinds}

    def call(name, request):
        """Call; ask for the state again after 5 s: an answer sent too early is lost."""
        until(clients[name].service_is_ready)
        future, asked = clients[name].call_async(request), time.monotonic()
        while name == 'get_state' and not future.done():
            until(lambda: future.done() or time.monotonic() > asked + 5)  # noqa: B023
            if not future.done():
                future, asked = clients[name].call_async(request), time.monotonic()
        until(future.done)
        return future.result()

    def change(transition):
        request = ChangeState.Request(transition=Transition(id=transition))
        return call('change_state', request).success

    def state():
        return call('get_state', GetState.Request()).current_state.label

    try:
        assert state() == 'unconfigured' and not peer.count_subscribers('/points')
        assert change(Transition.TRANSITION_CONFIGURE) and state() == 'inactive'
        assert not peer.count_subscribers('/points')
        assert change(Transition.TRANSITION_ACTIVATE) and state() == 'active'
        until(lambda: peer.count_subscribers('/points') == 1)
        assert change(Transition.TRANSITION_ACTIVE_SHUTDOWN)
        assert process.wait(LIMIT_S) == 0
    finally:
        process.kill()
        process.wait()
        executor.shutdown()
        rclpy.shutdown(context=context)
    assert 'Traceback' not in log.read_text()

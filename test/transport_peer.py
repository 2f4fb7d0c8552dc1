"""A second process for the transport tests: send large messages, or listen to depth."""

from __future__ import annotations

import sys
import time

from depth_kd_ros.messages import buffer
import numpy as np
import rclpy
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data, QoSProfile
from sensor_msgs.msg import Image, PointCloud2, PointField

SIZE, POINTS, COUNT = (375, 1242), 114_000, 50
PERIOD_S, LIMIT_S, COUNTED_S = 0.1, 60.0, 10**9


def send(node: Node) -> None:
    """Publish COUNT images and clouds of KITTI's size, best effort, once they are subscribed."""
    image = Image(height=SIZE[0], width=SIZE[1], encoding='bgr8', step=3 * SIZE[1])
    image.data = buffer(np.zeros((*SIZE, 3), np.uint8), Image)
    fields = [PointField(name=n, offset=4 * i, datatype=7, count=1) for i, n in enumerate('xyzi')]
    cloud = PointCloud2(height=1, width=POINTS, fields=fields, point_step=16, is_dense=True)
    cloud.row_step = 16 * POINTS
    cloud.data = buffer(np.zeros((POINTS, 4), np.float32), PointCloud2)
    senders = [
        (node.create_publisher(Image, 'transport_image', qos_profile_sensor_data), image),
        (node.create_publisher(PointCloud2, 'transport_cloud', qos_profile_sensor_data), cloud),
    ]
    wait(node, lambda: all(sender.get_subscription_count() for sender, _ in senders))
    wait(node, lambda: sys.stdin.readline())  # the other side has found this one, too
    for number in range(COUNT):
        for sender, message in senders:
            message.header.stamp.sec = number
            sender.publish(message)
        rclpy.spin_once(node, timeout_sec=0)
        time.sleep(PERIOD_S)  # the sensors' rate


def listen(node: Node, topic: str, count: int) -> None:
    """
    Say `ready`, `heard` with the first depth, and then how many stamps from COUNTED_S on came in.

    Ends at `count` of them or at the limit. Stamps below COUNTED_S only serve to find each other.
    """
    stamps = set()
    node.create_subscription(
        Image, topic, lambda m: stamps.add((m.header.stamp.sec, m.header.stamp.nanosec)),
        QoSProfile(depth=50),
    )  # fmt: skip
    print('ready', flush=True)
    wait(node, lambda: stamps)
    print('heard', flush=True)
    wait(node, lambda: sum(sec >= COUNTED_S for sec, _ in stamps) >= count)
    print(sum(sec >= COUNTED_S for sec, _ in stamps), flush=True)


def wait(node: Node, done) -> None:
    """Spin until `done` or the limit."""
    end = time.monotonic() + LIMIT_S
    while not done() and time.monotonic() < end:
        rclpy.spin_once(node, timeout_sec=0.05)


if __name__ == '__main__':
    rclpy.init()
    peer = Node('peer')
    if sys.argv[1] == 'send':
        send(peer)
    else:
        listen(peer, sys.argv[2], int(sys.argv[3]))
    peer.destroy_node()
    rclpy.shutdown()

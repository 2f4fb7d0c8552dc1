"""
Play a rosbag2 over ROS topics where `ros2 bag` is not installed.

    bag_player_node --ros-args -p bag:=FOLDER [-p rate:=1.0] [-p loop:=true] [-p clock:=true]

Messages are published as the bytes that were recorded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
import math
import sys
import time

from builtin_interfaces.msg import Time
from depth_kd_ros.bags import Bag, BagError, TYPES
from depth_kd_ros.nodes.bag_topics import is_latched, message_class, publisher_qos, RELIABILITIES
from depth_kd_ros.nodes.command import Job, run
from rclpy.duration import Duration
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock

CLOCK_PERIOD_S, REPORT_PERIOD_S, FLUSH_S = 0.01, 5.0, 5
LATE_S = 0.1
LITTLE_ENDIAN_CDR = b'\x00\x01'
SENSOR_TYPES = {kind for kinds in TYPES.values() for kind in kinds}
USAGE = 'give the bag: bag_player_node --ros-args -p bag:=FOLDER'


class Player:
    """Publishers for a bag's topics and the clock that paces them; raises ValueError on bad settings."""

    def __init__(self, job: Job, bag: Bag, settings: Settings) -> None:
        pass

"""Message classes and QoS between bags (rosbags) and topics (rclpy)."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from depth_kd_ros.bags import TopicInfo
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rosbags.interfaces import (
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)

RELIABILITIES = ('recorded', 'reliable', 'best_effort')
PLAY_DEPTH, RECORD_DEPTH = 10, 100
LATCHED_DEPTH = 100  # at most as many latched messages are kept for late subscribers


def message_class(msgtype: str) -> Any:
    """Import the class of `package/msg/Name`; raise ImportError where its package is missing."""
    package, _, name = msgtype.split('/')
    module = import_module(f'{package}.msg')
    try:
        return getattr(module, name)
    except AttributeError:
        raise ImportError(f'{package}.msg has no {name}') from None


def without_padding(types: Any, msgtype: str, data: bytes) -> bytes:
    """
    Cut the up to 3 zero bytes that DDS appends: RTPS aligns its submessages to 4 bytes.

    `types` is a rosbags typestore; how long the message is shows only when it is decoded.
    """
    if len(data) % 4 or data[-1]:
        return data
    exact = bytes(types.serialize_cdr(types.deserialize_cdr(data, msgtype), msgtype))
    return exact if len(data) - len(exact) < 4 and data.startswith(exact) else data


def is_latched(topic: str, info: TopicInfo) -> bool:
    """Tell whether a topic keeps its messages for late subscribers (transient local)."""
    offered = any(q.durability is QosDurability.TRANSIENT_LOCAL for q in info.offered_qos)
    return offered or topic.endswith('/tf_static')


def publisher_qos(topic: str, info: TopicInfo, reliability: str) -> QoSProfile:
    """
    Give the QoS to play a topic with: the strongest of the recorded offers, else reliable.

    `reliability` reliable or best_effort overrides the recorded one. The depth is at least 10, and
    that of a latched topic holds its messages, which may stem from several publishers.
    """
    offered = info.offered_qos
    latched = is_latched(topic, info)
    weak = bool(offered) and all(q.reliability is QosReliability.BEST_EFFORT for q in offered)
    best_effort = reliability == 'best_effort' or (reliability == 'recorded' and weak)
    keep_all = any(q.history is QosHistory.KEEP_ALL for q in offered)
    depths = [PLAY_DEPTH, *(q.depth for q in offered), latched * min(info.count, LATCHED_DEPTH)]
    return QoSProfile(
        history=HistoryPolicy.KEEP_ALL if keep_all else HistoryPolicy.KEEP_LAST,
        depth=max(depths),
        reliability=ReliabilityPolicy.BEST_EFFORT if best_effort else ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


def subscription_qos(offered: Sequence[QoSProfile]) -> QoSProfile:
    """Give the strongest QoS that is compatible with every publisher of a topic."""
    reliable = all(q.reliability == ReliabilityPolicy.RELIABLE for q in offered)
    latched = all(q.durability == DurabilityPolicy.TRANSIENT_LOCAL for q in offered)
    return QoSProfile(
        depth=RECORD_DEPTH,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


def recorded_qos(offered: QoSProfile) -> Qos:
    """Translate a publisher's QoS for the bag."""
    deadline, lifespan, lease = (
        QosTime(*divmod(duration.nanoseconds, 10**9))
        for duration in (offered.deadline, offered.lifespan, offered.liveliness_lease_duration)
    )
    return Qos(
        QosHistory(int(offered.history)),
        offered.depth,
        QosReliability(int(offered.reliability)),
        QosDurability(int(offered.durability)),
        deadline,
        lifespan,
        QosLiveliness(int(offered.liveliness)),
        lease,
        offered.avoid_ros_namespace_conventions,
    )

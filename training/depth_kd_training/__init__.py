"""Train and distil the networks of depth_kd_ros, offline."""

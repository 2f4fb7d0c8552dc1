"""Whether a recording can be used: what `depth_kd check-bag` measures and how it judges."""

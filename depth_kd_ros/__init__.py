"""Complete sparse LiDAR depth to dense metric depth with a camera's help, on the robot."""

__version__ = '0.1.0'

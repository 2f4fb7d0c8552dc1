"""Procedural worlds, cameras and LiDARs: a data set that needs no download."""

"""Measurements, as ratios of things run side by side in one go. `make bench`."""

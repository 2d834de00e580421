"""Traces of torch.profiler: what ran, at which shapes, and what share of the device's time each took."""

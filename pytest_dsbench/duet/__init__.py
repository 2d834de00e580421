"""The duet: an old and a new provider, alive together on one device, timed in alternating slices."""

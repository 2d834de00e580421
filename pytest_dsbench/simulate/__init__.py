"""Simulation: nights of noise as a GPU makes it, with slowdowns of known size, through the real gate and through simpler rules.

Needs numpy.
"""

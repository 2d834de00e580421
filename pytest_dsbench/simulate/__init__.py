"""Simulation: nights of noise as a GPU makes it, with slowdowns of known size, through the gate and through simpler rules."""

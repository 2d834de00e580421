"""From kernels to tokens: what a fleet that serves a model reaches, from the bounds of the kernels of its layers."""

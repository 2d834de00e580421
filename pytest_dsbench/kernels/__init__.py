"""Our own Triton kernels, one file per operator. Importing a module of this package imports triton."""

"""flag_gems: the Triton kernels of FlagGems, a file per family. They allocate what they return, but where they take an output.

The package imports on machines with a GPU only, and pins exact versions of its dependencies: it is best installed without them.
"""

from .._case import only

NEEDS = ("flag-gems", "sqlalchemy", "pyyaml", "torch")


def with_block_pointers(what: str) -> None:
    """Raises Unsupported where Triton has no block pointers, with which `what` is written."""
    import triton
    from triton import language

    # Triton 3.9 keeps the name, for a function that says that they were removed.
    found = getattr(language, "make_block_ptr", None)
    there = found is not None and "removed" not in (found.__doc__ or "")
    only(there, f"{what} is written with block pointers, which Triton {triton.__version__} does not have")

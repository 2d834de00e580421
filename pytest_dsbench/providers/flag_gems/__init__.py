"""flag_gems: the Triton kernels of FlagGems, a file per family. They allocate what they return, but where they take an output.

The package imports on machines with a GPU only, and pins exact versions of its dependencies: it is best installed without them.
"""

NEEDS = ("flag-gems", "sqlalchemy", "pyyaml", "torch")

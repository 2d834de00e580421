"""sglang: kernels that SGLang compiles or writes itself, where sgl_kernel no longer has them.

Its calls are known from the published signatures alone: no wheel of it was at hand.
"""

NEEDS = ("sglang", "torch")

"""At which sizes the Triton kernels are tested. A new kernel is tested without an entry here; an entry makes its tests sharper.

Without one, Triton's interpreter runs the sizes of `samples.SMALL`, and the smallest and largest production shapes are compiled.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from samples import SMALL

from pytest_dsbench import providers
from pytest_dsbench.operator import Operator, registered
from pytest_dsbench.shapes import Case, load

Dims = dict[str, Any]


def _plain(tokens: int, hidden: int) -> Dims:
    return {"tokens": tokens, "hidden": hidden}


#: Kernels that take tiles of [tokens, hidden]: by operator, its dimensions where the kernel sees `tokens` rows of `hidden`
#: elements. These are tested at every edge of a tile, must make 16-byte accesses, and are compiled in every configuration.
ROW_WISE: dict[str, Callable[[int, int], Dims]] = {
    "rms_norm": _plain,
    "fused_add_rms_norm": _plain,
    "layer_norm": _plain,
    "l2_norm": _plain,
    "gated_rms_norm": lambda tokens, hidden: {"rows": tokens, "hidden": hidden},
    "fused_qk_rmsnorm": lambda tokens, hidden: {"tokens": tokens, "q_heads": 1, "kv_heads": 1, "head_dim": hidden},
    "silu_and_mul": _plain,
    "fp8_dynamic_per_token_quant": _plain,
    "per_token_group_quant_fp8": lambda tokens, hidden: {"tokens": tokens, "hidden": hidden, "group": hidden},
    "fused_rmsnorm_quant": _plain,
    "moe_sum_reduce": lambda tokens, hidden: {"tokens": tokens, "top_k": 3, "hidden": hidden},
    "moe_topk_gating_softmax": lambda tokens, hidden: {"tokens": tokens, "experts": hidden, "top_k": min(6, hidden)},
    "reshape_and_cache": lambda tokens, hidden: {"tokens": tokens, "heads": 1, "head_dim": hidden},
}
#: Rows of the kernel per token of the operator, where that is not one.
ROWS_PER_TOKEN = {"fused_qk_rmsnorm": 2}
#: Of those, kernels with another path for rows that do not fit into registers.
IN_PIECES = ("rms_norm", "fp8_dynamic_per_token_quant")
#: (1, 1) to (3, 1000): the interpreter's one configuration holds 4096 elements, so rows per program are 4096 down to 4, and never
#: divide the rows. 1023 and 1536 are more than one program wide where programs take pieces, with a masked tail and without.
_EDGES = [(1, 1), (5, 1), (3, 127), (19, 129), (2, 128), (6, 1000), (3, 1023), (5, 1536), (2, 4097)]
#: Past the pieces of 4096 that the interpreter reads long rows in, by nothing, by one and by half.
_LONG = [(1, 20480), (2, 16385), (2, 22528)]
#: More sizes for the interpreter, by operator.
MORE: dict[str, list[Dims]] = {
    # 8 experts are added up at a time.
    "moe_sum_reduce": [{"tokens": 3, "top_k": top_k, "hidden": 130, "scale": 2.5} for top_k in (1, 8, 9, 17)],
    "moe_topk_gating_softmax": [{"tokens": 9, "experts": 128, "top_k": 8}, {"tokens": 3, "experts": 33, "top_k": 33}],
    "fused_qk_rmsnorm": [{"tokens": 70, "q_heads": 6, "kv_heads": 2, "head_dim": 64}],
    "per_token_group_quant_fp8": [{"tokens": 7, "hidden": 1024}],
    "mrope": [{"tokens": 3, "q_heads": 5, "kv_heads": 3, "head_dim": 96, "sections": [5, 1, 7, 3]}],
    # More rows of tiles than are visited at a time; groups that are no power of two, half a tile and two tiles deep.
    "block_scaled_mm": [
        {"m": 580, "n": 96, "k": 32, "group_n": 48, "group_k": 16},
        {"m": 9, "n": 70, "k": 288, "group_n": 1, "group_k": 144, "out_dtype": "fp16"},
        {"m": 65, "n": 64, "k": 512, "group_n": 64, "group_k": 256},
    ],
    # Blocks of 128 tokens, two to an expert; and of 32, with experts that have none.
    "fused_moe": [
        {"tokens": 150, "hidden": 64, "intermediate": 72, "experts": 2, "top_k": 2},
        {"tokens": 1, "hidden": 32, "intermediate": 16, "experts": 9, "top_k": 1},
        {"tokens": 61, "hidden": 40, "intermediate": 24, "experts": 12, "top_k": 4, "dtype": "fp16"},
    ],
    # Three parts of a sequence beside one; heads that are no power of two, one of them joined in two pieces; more query heads to
    # a head than the least rows.
    "paged_attention_decode": [
        {"q_heads": 4, "kv_heads": 2, "head_dim": 72, "kv_lens": [1, 513, 64, 300, 257], "page_size": 64},
        {"q_heads": 34, "kv_heads": 2, "head_dim": 136, "kv_lens": [65, 260], "layout": "nhd"},
        {"q_heads": 1, "kv_heads": 1, "head_dim": 96, "kv_lens": [130], "page_size": 24, "dtype": "fp16"},
    ],
}
#: What is compiled instead of the smallest and largest production shapes, by operator.
COMPILED: dict[str, list[Dims]] = {}
#: Operators whose launch looks at values, such as lengths, and so cannot be recorded with inputs that have none.
NEEDS_VALUES: tuple[str, ...] = ()
#: Operators whose kernel writes in place what it never reads: running it again changes nothing, so tuning needs no copies.
ONLY_WRITTEN = ("reshape_and_cache",)
#: Kernels that need not make 16-byte accesses, as file.function, and why.
NARROW: dict[str, str] = {"moe_align.place": "one id per thread, from and to anywhere"}

providers.load()
#: Every operator with a kernel of ours.
OPERATORS = {name: kind for name, kind in sorted(registered().items()) if "triton" in kind.providers}


def small(name: str) -> list[Operator]:
    """The sizes at which the interpreter runs a kernel."""
    kind = OPERATORS[name]
    dims = [some for operator, some in SMALL if operator == name] + MORE.get(name, [])
    if name in ROW_WISE:
        shape = ROW_WISE[name]
        dims += [shape(*edge) for edge in _EDGES + (_LONG if name in IN_PIECES else [])]
        if "dtype" in kind.__struct_fields__:
            dims += [shape(5, 257) | {"dtype": dtype} for dtype in ("fp16", "fp32")]
    return [kind.build(some) for some in dims]


def in_production(name: str) -> list[Operator]:
    """The sizes at which a kernel is compiled."""
    kind = OPERATORS[name]
    if name in COMPILED:
        return [kind.build(dims) for dims in COMPILED[name]]
    found = sorted((case.op for case in _shapes() if case.op.name == name), key=lambda op: op.work().bytes)
    some = found[-1:] if name in ROW_WISE else found[:1] + found[1:][-1:]
    return some + [kind.build(ROW_WISE[name](64, 20480)) for _ in range(name in IN_PIECES)]


@cache
def _shapes() -> list[Case]:
    root = Path(__file__).parent.parent
    return load([root / "shapes"], root).cases

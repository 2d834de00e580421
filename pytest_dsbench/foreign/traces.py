"""Reads traces of flashinfer-bench: JSON lines, each one solution on one workload of a definition.

The schema (`definition`, `workload`, `solution`, `evaluation`) is that of docs/flashinfer_trace/trace.md in
flashinfer-ai/flashinfer-bench. A definition's name holds its constant axes and the workload the others; where these do not
determine the shape, since lengths or routing are in tensors beside the trace, the workload is not mapped.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..formula import Condition
from ..mistake import Mistake
from ..operators import find
from ..textfile import text_of
from ..units import show_number
from .config import Config, Definition
from .found import Found, Unusable, json_of, single
from .imported import moment
from .rule import rule
from .values import positive

_LENGTHS = "the length of each sequence is in a tensor beside the trace (kv_indptr)"
_ONE = "batch_size == 1"
_ROUTING = "which experts have a token is decided by the routing logits, a tensor beside the trace"
_PAGED = {"q_heads": "h", "kv_heads": "kv", "head_dim": "d", "kv_lens": "= [num_kv_indices]"}
_NORM = {"tokens": "batch_size", "hidden": "h"}
#: What the definitions of the data set are to us. Element types are those of its definitions: fp16 for gemm, bf16 elsewhere.
#: Pages of one key are as good as no pages: the number of pages is that of keys.
DEFINITIONS = {
    "gemm_n{n}_k{k}": Definition(operator="matmul", map={"m": "M", "n": "n", "k": "k"}, set={"dtype": "fp16"}),
    "rmsnorm_h{h}": Definition(operator="rms_norm", map=_NORM, set={"dtype": "bf16"}),
    "fused_add_rmsnorm_h{h}": Definition(operator="fused_add_rms_norm", map=_NORM, set={"dtype": "bf16"}),
    "gqa_paged_decode_h{h}_kv{kv}_d{d}_ps1": Definition(
        operator="paged_attention_decode",
        map=_PAGED,
        set={"page_size": 1, "layout": "nhd", "dtype": "bf16"},
        when=_ONE,
        otherwise=_LENGTHS,
    ),
    "gqa_paged_prefill_causal_h{h}_kv{kv}_d{d}_ps1": Definition(
        operator="unified_attention",
        map={**_PAGED, "q_lens": "= [total_q]"},
        set={"page_size": 1, "dtype": "bf16"},
        when="len_indptr == 2",
        otherwise=_LENGTHS,
    ),
    "mla_paged_decode_h{h}_ckv{ckv}_kpe{kpe}_ps1": Definition(
        operator="paged_mla_decode",
        map={"heads": "h", "kv_lora_rank": "ckv", "rope_dim": "kpe", "kv_lens": "= [num_kv_indices]"},
        set={"page_size": 1, "dtype": "bf16"},
        when=_ONE,
        otherwise=_LENGTHS,
    ),
}
#: Families that are known, and why nothing of them can be mapped.
_NEVER = {
    r"(gqa|mla)_paged_\w+_ps\d+": "how full the last page of each sequence is, is in a tensor beside the trace",
    r"(gqa|mla)_ragged_\w+": "no operator here is this attention over ragged keys, and their lengths are in a tensor",
    r"moe_\w+": _ROUTING,
}

NOTE = "a definition's name does not have its element type: fp16 for gemm and bf16 elsewhere, as in the published data set"


def files(paths: list[Path]) -> list[Path]:
    """The trace files, those of folders among them. Raises Mistake where there is none."""
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise Mistake(f"{path}: no such file or folder")
        inside = sorted(path.rglob("*.jsonl")) if path.is_dir() else [path]
        if not inside:
            raise Mistake(f"{path}: no traces (*.jsonl) in this folder")
        found += inside
    return found


def found(path: Path, config: Config) -> Iterator[Found | Unusable]:
    """What the lines of one trace file say, in order, each mistake in its place. Raises Mistake for an empty file."""
    known = {_pattern(name): one for name, one in {**DEFINITIONS, **config.definitions}.items()}
    lines = [(number, line) for number, line in enumerate(text_of(path).splitlines(), 1) if line.strip()]
    if not lines:
        raise Mistake(f"{path}: empty; expected a trace as a JSON object on each line")
    for number, line in lines:
        where = f"{path}:{number}"
        try:
            yield _found(where, json_of(line, path, number), known, config)
        except Mistake as error:
            yield Unusable(where=where, reason=str(error).removeprefix(f"{where}: "))


def _pattern(name: str) -> re.Pattern[str]:
    """A name with {axis} in it as an expression that reads the numbers."""
    parts = re.split(r"\{(\w+)\}", name)
    return re.compile("".join(rf"(?P<{one}>\d+)" if at % 2 else re.escape(one) for at, one in enumerate(parts)))


def _found(where: str, trace: Any, known: Mapping[re.Pattern[str], Definition], config: Config) -> Found:
    if not isinstance(trace, dict):
        raise Mistake("no trace: expected a JSON object")
    name, workload, evaluation = (trace.get(key) for key in ("definition", "workload", "evaluation"))
    if not isinstance(name, str) or not isinstance(workload, dict):
        raise Mistake("no trace: expected the keys definition, workload, solution and evaluation")
    if not isinstance(evaluation, dict):
        raise Mistake(f"{name}: a workload without an evaluation; nothing was measured")
    operator, dims = _shape(name, _axes(name, workload), known)
    environment = _table(evaluation, "environment")
    libs = {lib: version for lib, version in _table(environment, "libs").items() if isinstance(version, str)}
    status, reason = evaluation.get("status"), _failure(evaluation)
    provider = config.provider or trace.get("solution")
    if not isinstance(provider, str) or not provider:
        raise Mistake(f"{name}: the solution has no name; --provider NAME gives one")
    gpu, at = environment.get("hardware"), evaluation.get("timestamp")
    return Found(
        where=where,
        operator=operator,
        dims=dims,
        provider=provider,
        gpu=gpu if isinstance(gpu, str) else None,
        time=None if reason else single(_latency(evaluation)),
        status="failed" if reason else "passed",
        reason=reason,
        notes=(f"definition {name}, workload {workload.get('uuid', '?')}", *([] if reason else [f"{status}; a mean latency"])),
        packages={lib: version for lib, version in libs.items() if lib not in ("torch", "cuda")},
        at=moment(at).timestamp() if isinstance(at, str) else None,
        torch=libs.get("torch"),
        cuda=libs.get("cuda"),
    )


def _axes(name: str, workload: dict[str, Any]) -> dict[str, int]:
    axes = workload.get("axes")
    if not isinstance(axes, dict) or not all(isinstance(one, int) and not isinstance(one, bool) for one in axes.values()):
        raise Mistake(f"{name}: the workload's axes are {axes!r}; expected whole numbers by name")
    return axes


def _shape(name: str, axes: dict[str, int], known: Mapping[re.Pattern[str], Definition]) -> tuple[str, dict[str, Any]]:
    """The operator and dimensions that a definition is at some axes. Raises Mistake where these do not say."""
    # What an import file says of a definition comes after ours, and goes before it.
    for pattern, one in reversed(list(known.items())):
        match = pattern.fullmatch(name)
        if match:
            scope = {**axes, **{axis: int(size) for axis, size in match.groupdict().items()}}
            if one.when is not None and not Condition(one.when).holds(scope):
                raise Mistake(f"{name}: {one.otherwise}; mapped only where {one.when}")
            cls = find(one.operator)
            # An axis has a meaning of its own, whatever dimension happens to bear its name: only what is mapped counts.
            return one.operator, rule(cls, list(scope), one.map, one.set, by_name=False).dims(cls, scope)
    why = next((why for pattern, why in _NEVER.items() if re.fullmatch(pattern, name)), None)
    raise Mistake(f"{name}: {why or 'not known here; `definitions` of an import file says which operator it is'}")


def _table(table: dict[str, Any], key: str) -> dict[str, Any]:
    found = table.get(key)
    return found if isinstance(found, dict) else {}


def _failure(evaluation: dict[str, Any]) -> str | None:
    """Why a solution failed, in one sentence; None where it passed."""
    status = evaluation.get("status")
    if status == "PASSED":
        return None
    if not isinstance(status, str):
        raise Mistake(f"the status of the evaluation is {status!r}; expected such as PASSED or RUNTIME_ERROR")
    error = _table(evaluation, "correctness").get("max_relative_error")
    size = f", largest relative error {show_number(error)}" if isinstance(error, float) else ""
    return f"flashinfer-bench says {status}{size}"


def _latency(evaluation: dict[str, Any]) -> float:
    milliseconds = _table(evaluation, "performance").get("latency_ms")
    if milliseconds is None:
        raise Mistake("PASSED, but without performance.latency_ms")
    return positive(milliseconds, f"latency_ms {milliseconds!r}") * 1e-3

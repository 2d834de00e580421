"""How far an output is from its reference: every element, all of them together, the worst tile; or the steps between codes."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from .operator import Tolerance
from .record import Record
from .tensors import our_dtype

#: Elements compared at a time: few enough for a cache, and for little memory beside the tensors themselves.
_CHUNK = 1 << 20
_TILE = 128
#: From this many elements of comparable size on, a relative Frobenius error is an average.
_MANY = 256


class Deviation(Record):
    """How far one output is from its reference."""

    #: ||o - r|| / ||r||
    rel_l2: float
    #: largest |o - r| / allowed; 1 is the tolerance. For quantised outputs: share of codes that differ / allowed share
    worst: float
    #: the sentence that says what is wrong, or None
    wrong: str | None = None


def deviation(got: Tensor, want: Tensor, tolerance: Tolerance) -> Deviation:
    """How far `got` is from `want`, and whether that is too far."""
    if tolerance.codes_off:
        return _codes(got, want, tolerance.codes_off)
    columns = got.shape[-1] if got.dim() else 1
    got, want = got.reshape(-1, columns), want.reshape(-1, columns)
    # fp32 holds every narrower float exactly; wide floats and integers need fp64 to be told apart.
    wide = torch.float32 if got.dtype.is_floating_point and got.dtype != torch.float64 else torch.float64
    atol = tolerance.atol + (tolerance.rms * _root_mean_square(want, wide) if tolerance.rms else 0.0)
    error = norm = worst = 0.0
    wrong = None
    for start, o, r in _chunks(got, want, wide):
        diff = o - r
        part = _norm(diff)
        if not math.isfinite(part):
            r = _as_stored(r, got.dtype)
            if not _same_specials(o, r):
                return Deviation(rel_l2=math.inf, worst=math.inf, wrong=_specials(o, r, start))
            diff, r = (o - r).nan_to_num_(0.0, 0.0, 0.0), r.nan_to_num(0.0, 0.0, 0.0)
            part = _norm(diff)
        diff = diff.abs_()
        allowed = r.abs().mul_(tolerance.rtol).add_(atol)
        # An exact output meets an exact tolerance: 0 over 0 is 0, anything else over 0 is infinite.
        ratios = (diff / allowed).nan_to_num_(0.0, math.inf)
        ratio = float(ratios.max()) if ratios.numel() else 0.0
        if ratio > max(worst, 1.0):
            wrong = _element(int(ratios.argmax()), diff, allowed, o, start)
        worst = max(worst, ratio)
        error += part**2
        norm += _norm(r) ** 2
        if tolerance.rel_l2 is not None and wrong is None:
            wrong = _worst_tile(diff, r, tolerance, atol, start)
    # Beside a reference of zeros a relative error says nothing; the bound on every element covers it.
    relative = (error / norm) ** 0.5 if norm else 0.0
    beyond = tolerance.rel_l2 is not None and relative > tolerance.rel_l2
    if wrong is None and beyond and relative > _fair(tolerance, want):
        wrong = f"relative error {relative:.2e}, over the tolerance of {tolerance.rel_l2:.2e}"
    return Deviation(rel_l2=relative, worst=worst, wrong=wrong)


def _chunks(got: Tensor, want: Tensor, wide: torch.dtype) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Both tensors widened, some rows at a time: (first row, got, want). Rows come in multiples of a tile."""
    step = max(_CHUNK // max(got.shape[-1], 1) // _TILE, 1) * _TILE
    for start in range(0, got.shape[0], step):
        yield start, got[start : start + step].to(wide), want[start : start + step].to(wide)


def _root_mean_square(want: Tensor, wide: torch.dtype) -> float:
    total = sum(_norm(r.nan_to_num(0.0, 0.0, 0.0)) ** 2 for _, _, r in _chunks(want, want, wide))
    return math.sqrt(total / max(want.numel(), 1))


def _norm(values: Tensor) -> float:
    """The Frobenius norm; in fp64, far slower, only where the squares do not fit in fp32."""
    norm = float(torch.linalg.vector_norm(values))
    return norm if math.isfinite(norm) else float(torch.linalg.vector_norm(values, dtype=torch.float64))


def _fair(tolerance: Tolerance, want: Tensor) -> float:
    """rel_l2 for this reference. The norm of few elements, or of one that dwarfs the rest, averages no rounding away: there the
    bound on every element is the fair one."""
    assert tolerance.rel_l2 is not None
    squares = want.double().nan_to_num(0.0, 0.0, 0.0).square()
    fourth = float(squares.square().sum())
    effective = float(squares.sum()) ** 2 / fourth if fourth else 0.0
    return tolerance.rel_l2 if effective >= _MANY else max(tolerance.rel_l2, tolerance.rtol + tolerance.rms)


def _as_stored(r: Tensor, dtype: torch.dtype) -> Tensor:
    """The reference with infinities where it is beyond the largest value of the output's dtype: nothing else can stand there."""
    return torch.where(r.to(dtype).isinf(), r.to(dtype).to(r.dtype), r) if dtype.is_floating_point else r


def _same_specials(o: Tensor, r: Tensor) -> bool:
    return bool((o.isnan() == r.isnan()).all()) and bool(((o == r) | ~(o.isinf() | r.isinf())).all())


def _specials(o: Tensor, r: Tensor, start: int) -> str:
    bad = (o.isnan() != r.isnan()) | ((o.isinf() | r.isinf()) & (o != r))
    row, column = (int(i) for i in bad.nonzero()[0])
    count = int(bad.sum())
    got, want = float(o[row, column]), float(r[row, column])
    hint = "; perhaps it was never written" if math.isnan(got) and not math.isnan(want) else ""
    return f"{got:g} at [{start + row}, {column}] where the reference is {want:g} ({count} such elements){hint}"


def _element(at: int, diff: Tensor, allowed: Tensor, o: Tensor, start: int) -> str:
    over = diff > allowed
    row, column = divmod(at, diff.shape[-1])
    return (
        f"|o - r| = {float(diff[row, column]):.3g} at [{start + row}, {column}] (o = {float(o[row, column]):.5g}),"
        f" over the allowed {float(allowed[row, column]):.3g}; {int(over.sum())} of {over.numel()} elements are off"
    )


def _worst_tile(diff: Tensor, r: Tensor, tolerance: Tolerance, atol: float, start: int) -> str | None:
    """A tile whose error is beyond twice the tolerance of the whole: a wrong corner drowns in a large tensor, not in its tile.

    `atol`: what every element may be off beside rtol. A tile of few elements may be that: all of them may be near zero.
    """
    assert tolerance.rel_l2 is not None
    error, norm = _tile_norms(diff), _tile_norms(r)
    # A tile of zeros has no relative error; its elements were bounded one by one.
    over = (error > 2 * tolerance.rel_l2 * norm + tolerance.atol * _TILE) & (norm > 0)
    for row, column in over.nonzero().tolist():
        rows, columns = slice(row * _TILE, (row + 1) * _TILE), slice(column * _TILE, (column + 1) * _TILE)
        relative, tile = float(error[row, column] / norm[row, column]), r[rows, columns]
        few = tile.numel() < _MANY and float(error[row, column]) <= atol * tile.numel() ** 0.5 + tolerance.rtol * float(
            tile.norm()
        )
        if not few and relative > 2 * _fair(tolerance, tile):
            return f"relative error {relative:.2e} in the 128 x 128 tile at [{start + row * _TILE}, {column * _TILE}]"
    return None


def _tile_norms(values: Tensor) -> Tensor:
    """Frobenius norms of each 128 x 128 tile; the last ones may be smaller."""
    rows, columns = values.shape
    if rows % _TILE or columns % _TILE:
        values = torch.nn.functional.pad(values, (0, -columns % _TILE, 0, -rows % _TILE))
    squares = values.view(values.shape[0], -1, _TILE).square().sum(-1)
    return squares.view(values.shape[0] // _TILE, _TILE, -1).sum(1).sqrt_()


def _codes(got: Tensor, want: Tensor, share: float) -> Deviation:
    """Quantised outputs: codes in order of value, at most one apart, and few of them."""
    if got.dtype != want.dtype:
        return Deviation(rel_l2=math.inf, worst=math.inf, wrong=f"dtype {our_dtype(got.dtype)}, not {our_dtype(want.dtype)}")
    columns = got.shape[-1] if got.dim() else 1
    got, want = got.reshape(-1, columns), want.reshape(-1, columns)
    different = 0
    error = norm = 0.0
    wrong = None
    for start, o, r in _chunks(got, want, torch.float32):
        if not _same_specials(o, r):
            return Deviation(rel_l2=math.inf, worst=math.inf, wrong=_specials(o, r, start))
        some = slice(start, start + len(o))
        apart = (_ordered(got[some]) - _ordered(want[some])).abs()
        different += int((apart > 0).sum())
        furthest = int(apart.max()) if apart.numel() else 0
        if furthest > 1 and wrong is None:
            row, column = divmod(int(apart.argmax()), columns)
            wrong = f"code {furthest} steps from the reference at [{start + row}, {column}]; at most one step is allowed"
        error += _norm((o - r).nan_to_num_(0.0, 0.0, 0.0)) ** 2
        norm += _norm(r.nan_to_num(0.0, 0.0, 0.0)) ** 2
    off = different / max(got.numel(), 1)
    if wrong is None and off > share:
        wrong = f"{100 * off:.2f} % of the codes differ from the reference; at most {100 * share:g} % may"
    return Deviation(rel_l2=(error / norm) ** 0.5 if norm else 0.0, worst=off / share, wrong=wrong)


def _ordered(codes: Tensor) -> Tensor:
    """8-bit float codes as integers in order of value: sign and magnitude, both zeros at 0."""
    raw = codes.view(torch.uint8).to(torch.int16)
    return torch.where(raw >= 128, 128 - raw, raw)

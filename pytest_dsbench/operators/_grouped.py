"""Positions grouped by expert: right in any order within the group of one expert, wrong anywhere else."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def misplaced(positions: "Tensor", groups: "Tensor", topk_ids: "Tensor", padded: bool = False) -> str | None:
    """One sentence where `positions` are not each flat position of topk_ids once, in the group of its expert; or None.

    groups: the expert that each of the places belongs to. `padded`: the places left over hold the number of positions.
    """
    positions, flat = positions.long(), topk_ids.flatten()
    count = len(flat)
    outside = (positions < 0) | (positions > count if padded else positions >= count)
    if bool(outside.any()):
        place = _first(outside)
        end = f"{count}, which is padding" if padded else f"{count - 1}"
        return f"sorted_token_ids[{place}] is {int(positions[place])}; expected 0 to {end}"
    real = positions < count
    astray = real & (flat[positions.clamp(max=count - 1)] != groups)
    if bool(astray.any()):
        place = _first(astray)
        position = int(positions[place])
        return (
            f"sorted_token_ids[{place}] is {position}, which goes to expert {int(flat[position])};"
            f" expected one that goes to expert {int(groups[place])}"
        )
    times = positions[real].bincount(minlength=count)
    for wrong, what in ((times > 1, "more than once"), (times == 0, "nowhere")):
        if bool(wrong.any()):
            return f"sorted_token_ids holds position {_first(wrong)} {what}"
    return None


def _first(where: "Tensor") -> int:
    return int(where.nonzero()[0])

"""How many tokens each expert gets: the same for every content of a shape, without torch, so that its work is a number.

Every content of a case sends other tokens to other experts, but with these loads: what must move is the same for all of them,
and is counted from the ids that are really drawn.
"""

from functools import cache
from itertools import cycle
from statistics import NormalDist

#: From this standard deviation on a binomial distribution is as good as normal.
_WIDE = 5.0


@cache
def loads(tokens: int, experts: int, top_k: int) -> tuple[int, ...]:
    """Tokens per expert where every token goes to `top_k` distinct experts, all of them alike: sums to tokens * top_k.

    The load of one expert is then binomial; here they are its quantiles, the middle of each of `experts` equal shares. So the
    loads are as uneven as chance makes them, and a larger shape never meets fewer experts by luck.
    """
    shares = [(number + 0.5) / experts for number in range(experts)]
    found = _quantiles(tokens, top_k / experts, shares)
    # Quantiles are whole numbers: their sum is off by a few, which the largest loads hide best.
    missing = tokens * top_k - sum(found)
    step = 1 if missing > 0 else -1
    largest_first = cycle(range(experts - 1, -1, -1))
    while missing:
        expert = next(largest_first)
        if 0 <= found[expert] + step <= tokens:
            found[expert] += step
            missing -= step
    return tuple(found)


def _quantiles(count: int, chance: float, shares: list[float]) -> list[int]:
    """Of a binomial distribution, for ascending shares."""
    spread = (count * chance * (1 - chance)) ** 0.5
    if spread > _WIDE:
        normal = NormalDist(count * chance, spread)
        return [min(max(round(normal.inv_cdf(share)), 0), count) for share in shares]
    if chance > 0.5:
        # From the other end, where the first term of the sum is no tiny number.
        return [count - missed for missed in reversed(_quantiles(count, 1 - chance, [1 - share for share in reversed(shares)]))]
    found, value, mass = [], 0, (1 - chance) ** count
    total = mass
    for share in shares:
        while total < share and value < count:
            mass *= (count - value) / (value + 1) * chance / (1 - chance)
            value += 1
            total += mass
        found.append(value)
    return found


def active(tokens: int, experts: int, top_k: int) -> int:
    """Experts that get at least one token."""
    return sum(load > 0 for load in loads(tokens, experts, top_k))

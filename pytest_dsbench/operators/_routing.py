"""How many tokens each expert gets: drawn once per shape, without torch, so that the work of a routed operator is a number.

Every content of a case routes other tokens to other experts, but with these loads: what must move is the same for all of them,
and is counted from the ids that are really drawn.
"""

from functools import cache
from random import Random


@cache
def loads(tokens: int, experts: int, top_k: int) -> tuple[int, ...]:
    """Tokens per expert where every token goes to `top_k` distinct experts, all of them alike: sums to tokens * top_k.

    Every load is a binomial draw, as it is for independent tokens; single tokens are then moved until the sum is right.
    """
    random = Random(f"{tokens} {experts} {top_k}")
    found = [_binomial(random, tokens, top_k / experts) for _ in range(experts)]
    missing = tokens * top_k - sum(found)
    step = 1 if missing > 0 else -1
    while missing:
        expert = random.randrange(experts)
        if 0 <= found[expert] + step <= tokens:
            found[expert] += step
            missing -= step
    return tuple(found)


def _binomial(random: Random, count: int, chance: float) -> int:
    """One draw; by the normal distribution where it is wide enough to be one."""
    spread = (count * chance * (1 - chance)) ** 0.5
    if spread > 5:
        return min(max(round(random.gauss(count * chance, spread)), 0), count)
    if count <= 64 or chance >= 0.5:
        return sum(random.random() < chance for _ in range(count))
    # Inversion: the chance of 0, then each from the one before it.
    draw, found, mass = random.random(), 0, (1 - chance) ** count
    while draw > mass and found < count:
        draw -= mass
        mass *= (count - found) / (found + 1) * chance / (1 - chance)
        found += 1
    return found


def active(tokens: int, experts: int, top_k: int) -> int:
    """Experts that get at least one token."""
    return sum(load > 0 for load in loads(tokens, experts, top_k))

"""Links: what it takes to send tokens to their experts and back, and to share the heads of a sequence. Seconds, bytes.

All GPUs are alike. Of the `ep` GPUs that hold the experts, those of one NVLink domain reach each other over `link`, all others
over a NIC of their own; both carry their share at the same time, and the longer one counts.
"""

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np

from ...hardware import Hardware
from ...mistake import Mistake
from ...record import Record
from ..model.architecture import Moe
from .assumed import Assumed
from .nic import Nic


class Traffic(Record):
    """What the busiest GPU sends in one direction for one micro-batch, bytes by link."""

    rdma: Any = 0.0
    nvlink: Any = 0.0


class Leg(Record):
    """What one link carries, and how long: bytes over its bandwidth and over the share of it that is reached, and the latency."""

    kind: Literal["rdma", "nvlink"]
    bytes: Any
    bandwidth: float
    latency: float
    seconds: Any


def traffic(tokens: Any, moe: Moe, hidden: int, value: float, ep: int, domain: int, decode: bool, busy: float) -> Traffic:
    """Bytes of `tokens` tokens of `hidden` values of `value` bytes on their way to `moe.top_k` experts each, or back.

    In decode every copy goes straight to its GPU: of the ep GPUs, domain - 1 are reached over NVLink and ep - domain over RDMA.
    In prefill a token crosses to each other node once, and is copied there over NVLink. Spread evenly over n nodes, k copies
    meet n (1 - (1 - 1/n)^k) of them, and no more than the groups of experts that routing keeps. `busy`: the rows of the busiest
    GPU over those of the mean one.
    """
    near = min(ep, domain)
    each = busy * tokens * hidden * value
    if decode or ep <= domain:
        return Traffic(rdma=each * moe.top_k * (ep - near) / ep, nvlink=each * moe.top_k * (near - 1) / ep)
    nodes = ep / domain
    met = nodes * (1 - (1 - 1 / nodes) ** moe.top_k)
    met = min(met, moe.kept_groups) if moe.groups > 1 else met
    return Traffic(rdma=each * met * (nodes - 1) / nodes, nvlink=each * moe.top_k * (domain - 1) / domain)


def exchanged(tokens: Any, hidden: int, tp: int) -> Traffic:
    """Of `tp` GPUs that share the heads: each gathers the rows of the others, or adds up its own of theirs, once.

    `tokens` of the whole group, `hidden` bf16 values each; (tp - 1) / tp of them come from others.
    """
    return Traffic(nvlink=2.0 * tokens * hidden * (tp - 1) / tp)


def legs(sent: Traffic, hardware: Hardware, nic: Nic | None, assumed: Assumed) -> Iterator[Leg]:
    """The links that are used. Raises Mistake where one of them is not on a sheet."""
    if np.any(sent.nvlink):
        if hardware.link is None:
            raise Mistake(f"{hardware.name}: its sheet has no link, over which GPUs exchange tokens; expected such as 450 GB/s")
        yield _leg("nvlink", sent.nvlink, hardware.link, assumed.number("link.nvlink_latency"), assumed)
    if np.any(sent.rdma):
        if nic is None:
            raise Mistake("--nic: experts lie on more than one NVLink domain; expected the NIC between them, such as cx7")
        latency = assumed.number("link.rdma_latency") if nic.latency is None else nic.latency
        yield _leg("rdma", sent.rdma, nic.bandwidth, latency, assumed)


def _leg(kind: Literal["rdma", "nvlink"], amount: Any, bandwidth: float, latency: float, assumed: Assumed) -> Leg:
    moved = amount / (bandwidth * assumed.number(f"link.{kind}"))
    return Leg(kind=kind, bytes=amount, bandwidth=bandwidth, latency=latency, seconds=np.where(amount > 0, moved + latency, 0.0))


def seconds(sent: Traffic, hardware: Hardware, nic: Nic | None, assumed: Assumed) -> Any:
    """What it takes: all links carry their share at the same time, and the longest counts."""
    found = 0.0 * (sent.rdma + sent.nvlink)
    for leg in legs(sent, hardware, nic, assumed):
        found = np.maximum(found, leg.seconds)
    return found


def domain(hardware: Hardware) -> int:
    """GPUs that reach each other over `link`; 1 where the sheet does not say."""
    return hardware.link_gpus or 1

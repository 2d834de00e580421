"""Options of the command line that describe how a model is served, one configuration or many, and what runs say of it."""

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from .. import runs
from ..hardware import Hardware
from ..mistake import Mistake

if TYPE_CHECKING:
    from ..serving.model.architecture import Architecture
    from ..serving.price.assumed import Assumed
    from ..serving.price.efficiencies import Efficiencies


def add_configuration_options(parser: argparse.ArgumentParser, many: bool = False) -> None:
    """Adds the options; with `many` every axis takes a list."""
    word, words, numbers = ("NAME", "NAMES", "LIST") if many else ("NAME", "NAME", "N")
    axes: tuple[tuple[str, str, str], ...] = (
        ("gpu", words, f"data sheets by name or path{' (default: eight of them)' if many else ''}"),
        ("nic", words, "the NIC of each GPU, by name or path of its sheet (default: cx7)"),
        (
            "ep",
            numbers,
            f"GPUs that share the experts (default: {'all numbers that divide them' if many else 'as few as hold them'})",
        ),
        ("tp", numbers, "GPUs that share the heads of a sequence (default: 1)"),
        (
            "precision",
            words,
            "of the weights: bf16, fp8, fp8_experts, fp4, fp4_experts (default: as published, bf16 or fp8)",
        ),
        ("cache", words, "of the cache: bf16, fp8 (default: bf16)"),
        ("policy", words, f"naive, or dual for two micro-batches (default: {'both' if many else 'dual, of one GPU naive'})"),
        ("mtp", numbers, "tokens that are guessed ahead in a step (default: 0)"),
        (
            "batch",
            numbers,
            f"sequences for each GPU (default: {'8:512:8, 8 to 512 by 8; in prefill 1:32' if many else '64; in prefill 4'})",
        ),
    )
    parser.add_argument("--model", metavar=word, help="the model: deepseek_v3 and others by name, or a .toml or .json file")
    parser.add_argument("--config", type=Path, metavar="PATH", help="instead: the config.json of a model of Hugging Face")
    parser.add_argument("--ignore-field", action="append", metavar="NAME", help="leave out a field of the config (repeatable)")
    for name, metavar, said in axes:
        parser.add_argument(f"--{name}", metavar=metavar, help=said)
    parser.add_argument("--context", type=int, metavar="N", help="tokens that a sequence has on average (default: 4096)")
    parser.add_argument("--phase", metavar="NAME", help="decode or prefill (default: decode)")
    parser.add_argument(
        "--redundant", type=int, metavar="N", help="experts that stand twice (default: what divides of none, 1/8, 1/4)"
    )
    parser.add_argument("--assume", action="append", metavar="NAME=VALUE", help="change an assumption (repeatable)")


def assumed(given: argparse.Namespace) -> "Assumed":
    """What is assumed, with the changes that were asked for."""
    from ..serving.price.assumed import defaults

    return defaults().changed_by(given.assume or ())


def efficiencies(paths: Iterable[Path], gpus: Iterable[Hardware]) -> tuple["Efficiencies", list[str]]:
    """What runs say of some GPUs, and a sentence for what of them is not used.

    Raises Mistake for a run of a kind of device that says nothing about any of them.
    """
    from ..serving.price.efficiencies import Efficiencies

    found = [runs.read(path) for path in paths]
    known = Efficiencies(found)
    said = [complaint for run in found for complaint in run.complaints] + known.left_out
    kinds = {gpu.kind for gpu in gpus}
    for run in found:
        if run.header is not None and run.header.hardware.kind not in kinds:
            device = run.header.hardware
            raise Mistake(f"--run {run.path}: of {device.name}, a {device.kind.upper()}, whose times say nothing about a GPU")
    return known, said


def model(given: argparse.Namespace) -> "Architecture":
    """The model that was asked for. Raises Mistake."""
    from ..serving.model import architecture

    ignored = tuple(given.ignore_field or ())
    if given.model is not None and given.config is not None:
        raise Mistake("--config: --model names a model already; leave one of them out")
    if given.config is not None:
        return architecture.from_config(given.config, ignored)
    if given.model is None:
        raise Mistake(
            f"{given.name}: expected --model and one of {', '.join(architecture.names())}, or --config and a config.json"
        )
    return architecture.named(given.model, ignored)

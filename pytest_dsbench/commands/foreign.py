"""The command that reads other people's measurements: import."""

import argparse
import re
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import Any

from ..foreign import config as configs
from ..foreign import harness, imported, production, rule, table, traces
from ..foreign.config import Config
from ..foreign.found import Found, Unusable, traced
from ..foreign.gpus import Gpus
from ..foreign.imported import Source
from ..mistake import Mistake
from ..operators import find
from ..plan import sheet
from ..report.foreign import imported_lines, unusable_lines


def add(commands: Any) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser("import", help="times that were measured elsewhere as a run, with T_SOL and efficiency")
    forms = parser.add_subparsers(dest="format", metavar="FORMAT")
    one = forms.add_parser("table", help="a published table: CSV, TSV or separated by semicolons")
    one.add_argument("file", type=Path, metavar="FILE")
    one.add_argument("--unit", choices=("s", "ms", "us", "ns"), help="unit of a time column that does not name one")
    _shape(one, "COLUMN")
    one.set_defaults(form=_table)
    one = forms.add_parser("pytest-benchmark", help="what pytest --benchmark-json wrote, of our own benches or of any other ones")
    one.add_argument("file", type=Path, metavar="FILE.json")
    _shape(one, "PARAMETER")
    one.set_defaults(form=_harness)
    one = forms.add_parser("flashinfer-bench", help="traces of flashinfer-bench (*.jsonl)")
    one.add_argument("file", type=Path, nargs="+", metavar="TRACES", help="files, or folders of them")
    _common(one)
    one.set_defaults(form=_traces)
    one = forms.add_parser("published", help="the production times that were published with the package's shapes")
    one.add_argument("--hw", default="xpu_a", metavar="NAME", help="the device they were measured on (default: xpu_a)")
    _out(one)
    one.set_defaults(form=_published)
    for form in forms.choices.values():
        form.set_defaults(options=sorted(set(re.findall(r"--[a-z-]+", form.format_help()))))
    parser.set_defaults(command=_import, form=None, forms=list(forms.choices))


def _shape(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("--operator", metavar="NAME", help="the operator that its rows measure")
    parser.add_argument(
        "--map",
        action="append",
        default=[],
        metavar="MAP",
        help=f"DIM={what}, or DIM==FORMULA over all of them, such as 'm=M,kv_lens==[kv_len] * batch_size'",
    )
    parser.add_argument("--set", action="append", default=[], metavar="DIM=VALUE", help="what a dimension is in every row")
    parser.add_argument("--ignore", action="append", default=[], metavar=what, help="one that is passed over")
    parser.add_argument("--version", metavar="VERSION", help="version of the provider")
    _common(parser)


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--provider", metavar="NAME", help="whose kernel it is, where the file does not say")
    parser.add_argument("--hw", metavar="NAME", help="data sheet of the GPU, where the file does not say; or a .toml file")
    parser.add_argument("--config", type=Path, metavar="FILE.toml", help="an import file, which says all of this")
    parser.add_argument("--date", metavar="DATE", help="when it was measured, such as 2025-06-01")
    _out(parser)


def _out(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, default=Path("runs"), metavar="DIR", help="folder of run files (default: runs)")


def _import(given: argparse.Namespace) -> Generator[str, None, int]:
    """The exit code is 1 where no row could be used."""
    if given.form is None:
        raise Mistake(f"import: expected a format: {', '.join(given.forms)}")
    code: int = yield from given.form(given)
    return code


def _table(given: argparse.Namespace) -> Generator[str, None, int]:
    config = _config(given)
    found = table.read(given.file, config)
    code = yield from _written(given, config, table.found(found, config), _of_file(given, config, "the table"))
    if found.columns.unused:
        yield f"columns that are not used: {', '.join(found.columns.unused)}"
    return code


def _harness(given: argparse.Namespace) -> Generator[str, None, int]:
    config = _config(given)
    rows = list(harness.found(given.file, config))
    return (yield from _written(given, config, rows, _of_file(given, config, "pytest-benchmark's JSON")))


def _traces(given: argparse.Namespace) -> Generator[str, None, int]:
    config = _config(given)
    files = traces.files(given.file)
    sentence = f"imported from traces of flashinfer-bench: {traced(files)}{_origin(config)}"
    return (yield from _written(given, config, _each(files, config), sentence, traces.NOTE))


def _each(files: list[Path], config: Config) -> Iterator[Found | Unusable]:
    """The rows of several files; one that cannot be read costs its own rows."""
    for file in files:
        try:
            yield from traces.found(file, config)
        except Mistake as error:
            if len(files) == 1:
                raise
            yield Unusable(where=f"{file}:1", reason=str(error).removeprefix(f"{file}: "))


def _published(given: argparse.Namespace) -> Generator[str, None, int]:
    hardware = sheet(given.hw)
    rows = list(production.found(hardware))
    files = sorted({row.where.rpartition(":")[0] for row in rows})
    shown = traced([Path(one) for one in files])
    sentence = f"imported from the published production times in the package's shape files: {shown}"
    config = Config(hw=given.hw)
    return (yield from _written(given, config, rows, sentence, production.NOTE))


def _config(given: argparse.Namespace) -> Config:
    """What was said of the file: on the command line, and after that in the import file. Raises Mistake."""
    stored = configs.load(given.config) if given.config else Config()
    mapping: dict[str, str] = {}
    for text in getattr(given, "map", []):
        for target, source in rule.split(text).items():
            if target in mapping:
                raise Mistake(f"--map: {target!r} is mapped twice")
            mapping[target] = source
    operator = getattr(given, "operator", None) or stored.operator
    settings = getattr(given, "set", [])
    if settings and operator is None:
        raise Mistake("--set needs --operator, whose dimensions it sets")
    here = Config(
        operator=getattr(given, "operator", None),
        hw=given.hw,
        provider=given.provider,
        version=getattr(given, "version", None),
        unit=getattr(given, "unit", None),
        map=mapping,
        set=rule.settings(find(operator), settings) if operator else {},
        ignore=tuple(name for names in getattr(given, "ignore", []) for name in names.split(",")),
        date=given.date,
    )
    return here.over(stored)


def _of_file(given: argparse.Namespace, config: Config, what: str) -> str:
    return f"imported from {what} {traced([given.file])}{_origin(config)}"


def _origin(config: Config) -> str:
    """Title and source, as an import file has them."""
    words = [one for one in (config.title, config.source) if one]
    return f": {', '.join(words)}" if words else ""


def _written(
    given: argparse.Namespace, config: Config, rows: Iterable[Found | Unusable], sentence: str, note: str | None = None
) -> Generator[str, None, int]:
    """Writes the runs that the rows make, and says what became of each row."""
    gpus = Gpus(sheet(config.hw) if config.hw else None, config.gpus)
    source = Source(
        sentence=sentence,
        arguments=_words(given),
        notes=(note,) if note else (),
        date=imported.date(config.date) if config.date else None,
    )
    runs, unusable = imported.assembled(rows, source, gpus)
    if len(runs) > 1:
        yield f"rows of {len(runs)} GPUs: a run file for each"
    for run in runs:
        yield from imported_lines(run, imported.write(run, given.out))
    yield from unusable_lines(unusable)
    if not runs:
        yield "no row could be used; nothing was written"
    return int(not runs)


def _words(given: argparse.Namespace) -> tuple[str, ...]:
    """The command line, as the run file keeps it."""
    files = getattr(given, "file", [])
    words = ["import", given.format, *map(str, files if isinstance(files, list) else [files])]
    for name in ("operator", "map", "set", "ignore", "unit", "provider", "version", "hw", "config", "date"):
        said = getattr(given, name, None)
        words += [f"--{name}={one}" for one in (said if isinstance(said, list) else [said]) if one is not None]
    return tuple(words)

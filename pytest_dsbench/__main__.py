"""dsbench: what can be asked without running a bench. `python -m pytest_dsbench` is the same."""

import argparse
import os
import re
import sys
from collections.abc import Iterable, Sequence
from typing import NoReturn

from .commands import bounds, doctor, duet, foreign, gate, history, impact, layer, profile, report, score, serve, simulate, trace
from .mistake import Mistake, unknown


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit code: a command's own, or 2 after a mistake, which is one sentence on stderr."""
    code = 0
    try:
        given, rest = _parser().parse_known_args(arguments)
        if rest:
            what = f"argument of {given.name}" if given.name else "argument"
            raise Mistake(unknown(what, rest[0].partition("=")[0], given.options))
        code = _print(given.command(given))
        sys.stdout.flush()
    except Mistake as error:
        print(f"dsbench: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough; what is still buffered must not fail once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def _print(lines: Iterable[str]) -> int:
    """Prints the lines of a command as they come. A command that is a generator returns its exit code; all others succeed."""
    source = iter(lines)
    while True:
        try:
            print(next(source))
        except StopIteration as end:
            return end.value or 0


class _Parser(argparse.ArgumentParser):
    """A parser that says what is wrong in one sentence, as everything else here does."""

    def error(self, message: str) -> NoReturn:
        """Raises Mistake."""
        command = self.prog.removeprefix("dsbench").strip()
        choice = re.fullmatch(r"argument (\w+): invalid choice: '(.*)' \(choose from (.*)\)", message)
        if choice:
            message = unknown(choice[1].lower(), choice[2], re.findall(r"[\w.-]+", choice[3]))
        raise Mistake(f"{command}: {message}" if command else message)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="dsbench", description="Kernels against the speed of light of the hardware.")
    commands = parser.add_subparsers(dest="name", metavar="COMMAND")
    for group in (bounds, doctor, layer, serve, impact, score, report, gate, history, duet, simulate, profile, foreign, trace):
        group.add(commands)
    parser.set_defaults(command=_nothing, options=list(commands.choices))
    for command in commands.choices.values():
        command.set_defaults(options=set(re.findall(r"--[a-z-]+", command.format_help())))
    return parser


def _nothing(given: argparse.Namespace) -> list[str]:
    raise Mistake(f"expected a command: {', '.join(given.options)}; dsbench --help says what each does")


if __name__ == "__main__":
    sys.exit(main())

"""The program of one side of a duet: `python -P -m pytest_dsbench.duet.worker SETUP`, in the root folder of its benches.

It runs in whatever environment it is to measure; that has to have torch and msgspec, and needs neither pytest nor this package.
"""

import sys
from pathlib import Path

from ..mistake import Mistake
from ..record import from_line
from .link import Link
from .orders import PROTOCOL, Setup, Sorry, protocol


def main(argument: str) -> None:
    """Says hello, then answers orders until it is told to end."""
    link = Link.claim()
    try:
        if protocol(argument.encode()) != PROTOCOL:
            raise Mistake(f"this side of the duet speaks protocol {PROTOCOL}")
        setup: Setup = from_line(argument, Setup, "the duet's setup")
        # Only now, since loading torch may already print.
        from .serve import Server

        server = Server(link, setup, Path.cwd())
    except Mistake as error:
        link.send(Sorry(reason=str(error)))
        return
    link.send(server.hello())
    server.serve()


if __name__ == "__main__":
    main(sys.argv[1])

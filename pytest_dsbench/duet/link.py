"""The worker's end of the conversation. What a kernel's library prints, or reads, does not get into it."""

import os
from typing import BinaryIO

from ..record import from_line, to_line
from .orders import Answer, Order


class Link:
    """Reads orders and writes answers."""

    def __init__(self, orders: BinaryIO, answers: BinaryIO) -> None:
        self._orders = orders
        self._answers = answers

    @classmethod
    def claim(cls) -> "Link":
        """Takes stdin and stdout of this process for itself; for everybody else they are /dev/null and stderr from now on."""
        orders, answers = os.dup(0), os.dup(1)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        os.dup2(2, 1)
        return cls(os.fdopen(orders, "rb"), os.fdopen(answers, "wb"))

    def send(self, answer: Answer) -> None:
        """Writes one answer."""
        self._answers.write(to_line(answer))
        self._answers.flush()

    def receive(self) -> Order:
        """Waits for the next order; ends the process where nobody is left to give one. Raises Mistake for one it cannot read."""
        line = self._orders.readline()
        if not line:
            raise SystemExit
        order: Order = from_line(line, Order, "the duet's order")
        return order

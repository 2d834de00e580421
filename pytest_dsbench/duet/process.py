"""A worker as the conductor sees it: started, asked with a deadline, and gone when it is not needed any more."""

import os
import selectors
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Literal, Self

import msgspec

from ..mistake import Mistake
from ..record import Record, from_line, to_line
from .orders import PROTOCOL, Answer, Hello, Order, Quit, Setup, Sorry, protocol

_PACKAGE = Path(__file__).parent.parent
#: How long a worker that was told to end may take before it is killed, and how often one that is silent is looked at, seconds.
_PARTING = 5.0
_GLANCE = 0.5


class Side(Record):
    """One side of a duet: which interpreter runs the benches of which folder."""

    python: Path
    root: Path
    #: what messages call it, such as "old (HEAD~1)"
    label: str


class Lost(Exception):
    """A worker is gone; `str()` of it is one sentence."""

    def __init__(self, outcome: Literal["crashed", "timed_out"], reason: str) -> None:
        super().__init__(reason)
        self.outcome = outcome


class Worker:
    """One worker process, from `with` to the end of it."""

    def __init__(self, side: Side, setup: Setup) -> None:
        self.side = side
        self._setup = setup
        self._stack = ExitStack()
        self._buffer = b""
        #: its version, once it said hello
        self.torch = ""

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dsbench-duet-")))
            (folder / "pytest_dsbench").symlink_to(package(self.side.root), target_is_directory=True)
            self._errors = stack.enter_context(tempfile.TemporaryFile())
            self._selector = stack.enter_context(selectors.DefaultSelector())
            self._process = stack.enter_context(self._started(folder))
            stack.callback(self._kill)
            assert self._process.stdout is not None
            self._selector.register(self._process.stdout, selectors.EVENT_READ)
            self._stack = stack.pop_all()
        return self

    def _started(self, folder: Path) -> subprocess.Popen[bytes]:
        setup = msgspec.json.encode(self._setup).decode()
        return subprocess.Popen(
            [str(self.side.python), "-P", "-m", "pytest_dsbench.duet.worker", setup],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            cwd=self.side.root,
            env=environ(folder),
            # A group of its own: it ends with all that it started, and Ctrl-C reaches the conductor alone.
            start_new_session=True,
        )

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._stack:
            if kind is None:
                self.dismiss()
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(_PARTING)

    def dismiss(self) -> None:
        """Tells it to end, and does not wait for that."""
        assert self._process.stdin is not None
        if not self._process.stdin.closed:
            with suppress(BrokenPipeError):
                self._process.stdin.write(to_line(Quit()))
            self._process.stdin.close()

    def _kill(self) -> None:
        # Its own children may outlive it.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def hello(self, seconds: float) -> Hello:
        """What it says when it has started. Raises Lost, or Mistake where it cannot work."""
        line = self._line(seconds)
        if protocol(line) != PROTOCOL:
            spoken = f"protocol {protocol(line)}" if protocol(line) is not None else "another language"
            raise Mistake(f"{self.side.label} speaks {spoken}, and this side of the duet protocol {PROTOCOL}")
        answer = self._decoded(line)
        if not isinstance(answer, Hello):
            raise Mistake(f"{self.side.label}: {answer.reason if isinstance(answer, Sorry) else answer}")
        self.torch = answer.torch
        return answer

    def ask(self, order: Order, seconds: float) -> Answer:
        """The answer to an order. Raises Lost where there is none within so many seconds."""
        self.send(order)
        return self.answer(seconds)

    def send(self, order: Order) -> None:
        """Gives an order."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(to_line(order))
        except BrokenPipeError:
            raise self._dead() from None

    def answer(self, seconds: float) -> Answer:
        """The answer to an order that was given. Raises Lost."""
        return self._decoded(self._line(seconds))

    def _decoded(self, line: bytes) -> Answer:
        try:
            answer: Answer = from_line(line, Answer, self.side.label)
        except Mistake as error:
            raise Lost("crashed", str(error)) from None
        return answer

    def _line(self, seconds: float) -> bytes:
        until = monotonic() + seconds
        while b"\n" not in self._buffer:
            left = until - monotonic()
            if left <= 0:
                self._kill()
                raise Lost("timed_out", f"{self.side.label} hung: no answer within {seconds:g} s{self._last_words()}")
            if self._selector.select(min(left, _GLANCE)):
                self._read()
            elif self._process.poll() is not None:
                raise self._dead()  # though a child of its holds the pipe open
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def _read(self) -> None:
        assert self._process.stdout is not None
        more = os.read(self._process.stdout.fileno(), 2**16)
        if not more:
            raise self._dead()
        self._buffer += more

    def _dead(self) -> Lost:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_PARTING)
        self._kill()
        code = self._process.returncode
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return Lost("crashed", f"{self.side.label} {how}{self._last_words()}")

    def _last_words(self) -> str:
        """The last line of its stderr, where it left one."""
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return f": {lines[-1].strip()}" if lines else ""


@contextmanager
def pair(old: Side, new: Side, setup: Setup, seconds: float) -> Iterator[tuple[Worker, Worker]]:
    """A fresh process of each side, started at the same time. Raises Lost or Mistake where they do not come up as equals."""
    with Worker(old, setup) as first, Worker(new, setup) as second:
        one, other = first.hello(seconds), second.hello(seconds)
        if (one.device, one.hardware) != (other.device, other.hardware):
            ran = f"{old.label} runs on {one.device} ({one.hardware}) and {new.label} on {other.device} ({other.hardware})"
            raise Mistake(f"{ran}; a duet needs both on one device")
        yield first, second
        first.dismiss()


def package(root: Path) -> Path:
    """The harness that runs the benches below `root`: its own where they are part of it, or else this one."""
    own = root / "pytest_dsbench"
    if not (own / "__init__.py").is_file():
        return _PACKAGE
    if not (own / "duet").is_dir():
        raise Mistake(f"{root} has a pytest_dsbench of its own that knows no duet; choose a later commit")
    return own.resolve()


def environ(folder: Path | None = None) -> dict[str, str]:
    """The environment of another interpreter: nothing that leads it to the packages of this one; `folder` comes first."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONHOME", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__")}
    paths = [str(folder) if folder else "", kept.pop("PYTHONPATH", "")]
    return {**kept, "PYTHONPATH": os.pathsep.join(filter(None, paths))}

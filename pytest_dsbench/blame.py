"""The boundary between the harness and its users' code: whatever that raises becomes one sentence that names it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from .check import Wrong
from .provider import Unsupported
from .rig import Rig
from .sticky import lasting

#: Code in which nobody looks for the cause of an error.
_OWN = (Path(__file__).parent, Path(__file__).parent / "clock")
_TORCH = Path(torch.__file__).parent
#: What a reason says where the device had too little memory.
OUT_OF_MEMORY = "ran out of memory"
#: What torch says where it fails to allocate on a CPU, in a plain RuntimeError.
_NO_MEMORY = ("not enough memory", "can't allocate memory")


@contextmanager
def blame(who: str, rig: Rig) -> Iterator[None]:
    """Turns whatever foreign code raises into one sentence that names it: the boundary between the harness and its users."""
    try:
        yield
    except Unsupported:
        raise
    except Wrong as error:
        if str(error).startswith("the reference"):
            raise
        raise Wrong(f"{who} {error}") from None
    except Exception as error:
        text = headline(error)
        rig.lost = rig.lost or lasting(error)
        if isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(words in text for words in _NO_MEMORY):
            rig.forget()
            title = rig.hardware.title
            raise Wrong(f"{who} {OUT_OF_MEMORY} on {title}; a smaller --dsbench-budget skips cases of this size") from None
        raise Wrong(f"{who} raised {type(error).__name__}: {text}{_raised_at(error)}") from error


def headline(error: BaseException) -> str:
    """The first line of what it says."""
    return (str(error).strip().splitlines() or ["no message"])[0]


def _raised_at(error: BaseException) -> str:
    """ " (file:line)" of the innermost frame that is neither torch's nor the harness's own, where there is one."""
    frames, place = error.__traceback__, ""
    while frames is not None:
        path = Path(frames.tb_frame.f_code.co_filename)
        if path.is_absolute() and path.parent not in _OWN and not path.is_relative_to(_TORCH):
            shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
            place = f" ({shown}:{frames.tb_lineno})"
        frames = frames.tb_next
    return place

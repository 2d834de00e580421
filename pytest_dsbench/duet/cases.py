"""What a pytest session that only collects tells the command line: which cases are selected, and where they run."""

from ..measurement import Planned
from ..record import Record

#: The environment variable with the name of the file that the plugin `pytest_dsbench.listing` writes.
FILE = "DSBENCH_LISTING"


class Listing(Record):
    """The cases of a session."""

    #: pytest's root folder, to which the paths of benches are relative
    root: str
    #: key of the lock of the GPU that they would run on; None on a CPU
    lock: str | None = None
    cases: tuple[Planned, ...] = ()
    #: items that no other process can measure by name, such as drawn shapes
    left_out: int = 0

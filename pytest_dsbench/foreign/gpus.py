"""Which data sheet a GPU is held against that a foreign file names."""

import re
from collections.abc import Mapping

from ..hardware import named, sheets
from ..hardware.sheet import Hardware
from ..mistake import Mistake, unknown


class Gpus:
    """Finds the sheet of a row: what its file says counts, then what was said of the file."""

    def __init__(self, stated: Hardware | None, aliases: Mapping[str, str]) -> None:
        """`stated`: the sheet of --hw. Raises Mistake for an alias to a sheet that there is not."""
        self._stated = stated
        self._known: dict[str, Hardware] = {}
        # Of several sheets of one GPU the shortest name wins, as where a device is detected.
        for sheet in sorted(sheets().values(), key=lambda one: len(one.name)):
            for name in (sheet.name, sheet.title, *sheet.match):
                self._known.setdefault(_plain(name), sheet)
        if stated is not None:
            self._known |= {_plain(name): stated for name in (stated.name, stated.title, *stated.match)}
        self._known |= {_plain(name): named(sheet) for name, sheet in aliases.items()}

    def of(self, name: str | None) -> tuple[Hardware, str | None]:
        """The sheet of a row whose file names its GPU so, and a note where that had to be taken on trust. Raises Mistake."""
        if name == "cpu" and (self._stated is None or self._stated.kind != "cpu"):
            raise Mistake("measured on a CPU, and no sheet is that of a CPU; --hw cpu takes it as one like the CPU here")
        sheet = self._known.get(_plain(name)) if name else None
        if sheet is None and self._stated is None:
            if not name:
                raise Mistake("the file does not say on which GPU it was measured; --hw NAME does, such as --hw h20")
            hint = unknown("GPU", name, sheets()).partition("; ")[2]
            raise Mistake(f"no data sheet is known for {name!r}; --hw NAME or `gpus` of an import file names one; {hint}")
        if sheet is None:
            assert self._stated is not None
            return self._stated, f"the file names the GPU {name!r}; the sheet was named on import" if name else None
        if self._stated is not None and sheet.name != self._stated.name:
            raise Mistake(f"measured on {name}, which is {sheet.name}; --hw says {self._stated.name}")
        return sheet, None


def _plain(name: str) -> str:
    """A GPU's name without the vendor, spaces and punctuation: "NVIDIA_H100-80GB HBM3" -> "h10080gbhbm3"."""
    return re.sub(r"[^a-z0-9]+", "", name.casefold()).removeprefix("nvidia")

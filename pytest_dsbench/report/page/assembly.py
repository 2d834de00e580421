"""The parts of the page put together: template, style, script, data and plotting library, all inside one file."""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

from ...mistake import Mistake
from ...results import Collection
from .data import Packed, pack
from .environments import environments
from .overview import overviews
from .sides import runs_that_fit

#: The page stays below this; where it would not, it leaves out the oldest runs of its comparison.
LIMIT = 5_000_000
#: The scripts in the order in which they run; they share one scope.
SCRIPTS = ("base.js", "table.js", "cases.js", "roofline.js", "compare.js", "main.js")
_HERE = Path(__file__).parent


def render(collection: Collection) -> bytes:
    """The page as UTF-8. Raises Mistake where jinja2 or bokeh is missing."""
    packed = pack(collection)
    parts = _parts(collection, packed)
    bare = _page(parts, packed.data | {"sides": [], "left_out": []})
    # A run costs its own bytes and a comma.
    sides, left_out = runs_that_fit(collection, packed, LIMIT - len(bare))
    return _page(parts, packed.data | {"sides": sides, "left_out": left_out})


def _page(parts: dict[str, Any], data: dict[str, Any]) -> bytes:
    text: str = parts["template"].render(**parts["values"], data=in_script(data))
    # A path that is no UTF-8 must not cost the page.
    return text.encode("utf-8", "replace")


def _parts(collection: Collection, packed: Packed) -> dict[str, Any]:
    """What does not depend on how many runs are in it."""
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined

        from .figure import figures, library
    except ModuleNotFoundError as error:
        raise Mistake(f"the web page needs {error.name}, which is not installed; pip install 'pytest-dsbench[report]'") from None
    jinja = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    app = "'use strict';(() => {\n" + "".join(_asset(name) for name in SCRIPTS) + "})();\n"
    plots = library()
    values = {
        "collection": collection,
        "files": [source.path for device in collection.devices for source in device.sources],
        "overviews": overviews(collection),
        "environments": environments(collection),
        "style": _asset("page.css"),
        "app": app,
        "library": plots,
        "policy": _policy(app, plots),
        "figures": in_script(figures(packed.data["categories"])),
    }
    return {"template": jinja.get_template("page.html.jinja"), "values": values}


def in_script(value: Any) -> str:
    """JSON that cannot end the script element it stands in, whatever is in its strings."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _asset(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _policy(*scripts: str) -> str:
    """Content-Security-Policy: no network at all, and no script but these. Bokeh writes style elements into the page."""
    allowed = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in scripts)
    rules = ("default-src 'none'", f"script-src {allowed}", "style-src 'unsafe-inline'", "img-src data: blob:")
    return "; ".join([*rules, "base-uri 'none'", "form-action 'none'"])

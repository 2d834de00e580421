"""Files for further work: CSV, Parquet, JSON and a summary in markdown, all from one collection."""

from collections.abc import Iterator
from pathlib import Path

from ...results import Collection
from .document import as_json, document
from .summary import summary_lines
from .tables import ALL, csv_files, parquet


def write(collection: Collection, folder: Path, version: str) -> Iterator[Path | str]:
    """Writes them into `folder`; gives the path of each, and a sentence for one that could not be made. Raises OSError."""
    found = document(collection, version)
    (folder / "kernels").mkdir(parents=True, exist_ok=True)
    for path, text in csv_files(found).items():
        (folder / path).write_text(text, encoding="utf-8")
        yield folder / path
    table = folder / f"{ALL}.parquet"
    yield table if parquet(found, table) else f"no {table.name}: pyarrow is not installed"
    (folder / "results.json").write_bytes(as_json(found))
    yield folder / "results.json"
    (folder / "summary.md").write_text("\n".join(summary_lines(collection, version)) + "\n", encoding="utf-8")
    yield folder / "summary.md"

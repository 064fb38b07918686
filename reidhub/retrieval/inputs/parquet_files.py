"""Parquet files with paths or encoded images. Rows are read in small batches, so a row group may be of any size."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reidhub.errors import DatasetError
from reidhub.retrieval.inputs.addresses import explain_errors
from reidhub.retrieval.inputs.input import Input
from reidhub.retrieval.inputs.storage import FileInfo, describe_entry, is_address, join, open_file, read

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_ROWS = 4096  # rows of texts and numbers in memory
_IMAGES = 16  # rows of encoded images in memory
_BUFFER = 1 << 20  # bytes read at once from a column
_HINT = (
    "a Parquet file has a column path with texts, or a column image with bytes or with {bytes, path}, as datasets of "
    "Hugging Face have it; a column id is optional"
)


def list_parquet(file: FileInfo) -> Iterator[Input]:
    """Yield the images of a Parquet file in the order of its rows. Encoded images are not read yet.

    Raises:
        DatasetError: the file cannot be read, or has other columns; or a row has no path or another type.
    """
    with _open(file.path) as table:
        kinds = find_kinds(table.schema_arrow)
        has_id = "id" in kinds
        if has_id and kinds["id"] not in ("text", "integer"):
            raise DatasetError(
                f"{file.path}: the column id has texts or integers, got {_type(table, 'id')}", hint=_HINT
            )
        if kinds.get("image") in ("bytes", "struct"):
            yield from _list_encoded(file, table, has_id=has_id)
        elif kinds.get("path") == "text":
            for row, cells in read_rows(file.path, table, ["path", *["id"] * has_id]):
                if not cells[0]:
                    raise DatasetError(f"{file.path}: row {row} has no path")
                found = describe_entry(resolve(cells[0], file.path[: file.path.rfind("/") + 1]))
                yield Input(found.path, found.size, found.modified_ns, id=_label(cells[-1]) if has_id else None)
        else:
            columns = ", ".join(f"{field.name} ({field.type})" for field in table.schema_arrow)
            raise DatasetError(f"{file.path} has no column with images, but the columns {columns}", hint=_HINT)


def resolve(path: str, folder: str) -> str:
    """Return the path of a table's cell: an address or absolute path as it is, another path below ``folder``."""
    return path if is_address(path) or Path(path).is_absolute() else join(folder, path)


def _list_encoded(file: FileInfo, table: "pq.ParquetFile", *, has_id: bool) -> Iterator[Input]:
    labels = (cells[0] for _, cells in read_rows(file.path, table, ["id"])) if has_id else None
    for row in range(table.metadata.num_rows):
        label = _label(next(labels)) if labels else None
        yield Input(f"{file.path}/{row}", -1, file.modified_ns, id=label, container=file.path, position=row)


def _label(cell: object) -> str | None:
    return None if cell is None else str(cell)


def _type(table: "pq.ParquetFile", name: str) -> str:
    return str(table.schema_arrow.field(name).type)


def find_kinds(schema: "pa.Schema") -> dict[str, str]:
    """Return name -> ``text``, ``integer``, ``float``, ``bytes``, ``struct`` or ``other`` of the columns."""
    import pyarrow as pa

    def find_kind(given: "pa.DataType") -> str:
        if pa.types.is_dictionary(given):
            return find_kind(given.value_type)
        if pa.types.is_struct(given):
            return "struct" if given.get_field_index("bytes") >= 0 else "other"
        checks = {
            "text": (pa.types.is_string, pa.types.is_large_string),
            "integer": (pa.types.is_integer,),
            "float": (pa.types.is_floating,),
            "bytes": (pa.types.is_binary, pa.types.is_large_binary),
        }
        return next((kind for kind, tests in checks.items() if any(test(given) for test in tests)), "other")

    return {field.name: find_kind(field.type) for field in schema}


@contextmanager
def _open(path: str) -> Iterator["pq.ParquetFile"]:
    import pyarrow.parquet as pq

    with ExitStack() as stack:
        file = stack.enter_context(open_file(path))
        with explain_errors(path):
            table = stack.enter_context(pq.ParquetFile(file, buffer_size=_BUFFER))
        yield table


def read_table(path: str, columns: Sequence[str], optional: Sequence[str] = ()) -> Iterator[tuple[int, list[Any]]]:
    """Yield number, from 0, and cells of each row of a Parquet file; None for an optional column that is missing.

    Raises:
        DatasetError: the file cannot be read, or a column is missing or is there twice.
    """
    with _open(path) as table:
        names = table.schema_arrow.names
        if missing := [name for name in columns if names.count(name) != 1]:
            raise DatasetError(f"{path}: expected one column {', '.join(missing)}, got the columns {', '.join(names)}")
        found = [name for name in (*columns, *optional) if name in names]
        for row, cells in read_rows(path, table, found):
            by_name = dict(zip(found, cells, strict=True))
            yield row, [by_name.get(name) for name in (*columns, *optional)]


def read_rows(path: str, table: "pq.ParquetFile", columns: Sequence[str]) -> Iterator[tuple[int, list[Any]]]:
    """Yield number, from 0, and cells of each row of an open Parquet file."""
    row = 0
    with explain_errors(path):
        for batch in table.iter_batches(_ROWS, columns=list(columns), use_threads=False):
            cells = [batch.column(name).to_pylist() for name in columns]
            for values in zip(*cells, strict=True):
                yield row, list(values)
                row += 1


class ImageRows:
    """The encoded images of a Parquet file; reading rows in order reads each row group once.

    Args:
        path: path or address of the file.

    Raises:
        DatasetError: the file cannot be read, or has no column with encoded images.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._closing = ExitStack()
        self._table = self._closing.enter_context(_open(path))
        if find_kinds(self._table.schema_arrow).get("image") not in ("bytes", "struct"):
            self.close()
            raise DatasetError(f"{path} has no column image with encoded images; it had one when it was planned")
        self._next = 0  # row that the batches give next
        self._batches: Iterator[Any] = iter(())
        self._ends = self._find_ends()
        self._stop = 0  # end of the row group of these batches

    def close(self) -> None:
        """Close the file."""
        self._closing.close()

    def _find_ends(self) -> list[int]:
        metadata, ends, end = self._table.metadata, [], 0
        for group in range(metadata.num_row_groups):
            end += metadata.row_group(group).num_rows
            ends.append(end)
        return ends

    def read(self, row: int) -> bytes:
        """Return the image of a row, encoded.

        Raises:
            DatasetError: the file cannot be read or has no such row, or the row has no image.
        """
        if not 0 <= row < self._table.metadata.num_rows:
            raise DatasetError(f"{self._path} has no row {row}")
        with explain_errors(self._path):
            if not self._next <= row < self._stop:
                self._enter_group(row)
            while True:
                cell = next(self._batches)
                self._next += 1
                if self._next > row:
                    return self._find_bytes(cell.as_py(), row)

    def _enter_group(self, row: int) -> None:
        group = next(number for number, end in enumerate(self._ends) if row < end)
        self._next, self._stop = (self._ends[group - 1] if group else 0), self._ends[group]
        batches = self._table.iter_batches(_IMAGES, row_groups=[group], columns=["image"], use_threads=False)
        self._batches = (cell for batch in batches for cell in batch.column("image"))

    def _find_bytes(self, cell: object, row: int) -> bytes:
        content, path = (cell.get("bytes"), cell.get("path")) if isinstance(cell, dict) else (cell, None)
        if content is None and isinstance(path, str) and path:
            return read(resolve(path, self._path[: self._path.rfind("/") + 1]))
        if not isinstance(content, bytes):
            raise DatasetError(f"{self._path}: row {row} has no image")
        return content

"""Makes the plans of an embeddings folder: adds the inputs that no earlier plan has, and finds changed files.

An index on the disk, a temporary SQLite file, knows which inputs are planned already. So memory does not grow with
their number.
"""

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Self

from reidhub.datasets.folders import printable
from reidhub.errors import CacheError, DatasetError, DiskFullError
from reidhub.files.atomic import TEMPORARY, AtomicFile, explain_write_errors
from reidhub.files.lock import take_turn
from reidhub.retrieval.embeddings_folder import EmbeddingsFolder
from reidhub.retrieval.inputs.input import Input
from reidhub.retrieval.plan import SHARD_SIZE, Plan, Shard, cut_into_shards, encode_batch, make_schema, plan_path

_SHOWN = 20  # changed files in a message
_CACHE_KIB = 64 << 10  # memory of the index


@dataclass(slots=True)
class Planned:
    """What planning has found.

    Attributes:
        new: number of inputs in the new plan.
        known: number of inputs that an earlier plan has.
        repeated: number of inputs that repeat an earlier input of this run; each is embedded once.
        changed: number of planned inputs whose files have changed; their shards are embedded again.
    """

    new: int = 0
    known: int = 0
    repeated: int = 0
    changed: int = 0


def extend_plan(
    folder: EmbeddingsFolder, inputs: Iterable[Input], *, update: bool = False, by_image: bool = False
) -> Planned:
    """Write a new plan with the inputs that no earlier plan has; write nothing if there are none.

    Path and box identify an input. An input has changed if its size, its modification time, its label or its place in
    an archive differs from the plan. If it could not be read so far, a change is no error.

    Args:
        folder: the embeddings folder; created if it does not exist.
        inputs: the inputs, taken one by one.
        update: accept inputs that have changed: their plan is corrected, and their shards are embedded again.
        by_image: plan the inputs in the order of their paths, so that the boxes of an image are together.

    Raises:
        DatasetError: inputs have changed, and ``update`` is False; or another process has changed the plans at the same
            time.
        CacheError: the folder cannot be written.
        DiskFullError: the disk has no room for the plan.
    """
    plans = plan_path(folder.path, 0).parent
    with explain_write_errors(f"write the plan in {folder.path}"):
        plans.mkdir(parents=True, exist_ok=True)
        with take_turn(plans / "lock", f"planning in {folder.path}", lambda: True):
            for left in plans.glob(TEMPORARY + "*"):
                left.unlink(missing_ok=True)
            try:
                return _extend(folder, plans, inputs, update=update, by_image=by_image)
            except (FileExistsError, FileNotFoundError) as error:
                raise DatasetError(
                    f"another process has changed {plans} at the same time", hint="run the same command again"
                ) from error
            except sqlite3.Error as error:
                full = error.sqlite_errorcode == sqlite3.SQLITE_FULL
                raise (DiskFullError if full else CacheError)(
                    f"cannot write the index of the plan in {plans}: {error}", hint="make room on that disk"
                ) from error


def _extend(folder: EmbeddingsFolder, plans: Path, inputs: Iterable[Input], *, update: bool, by_image: bool) -> Planned:
    found, plan = Planned(), folder.plan
    with _Index.open(plans) as index, AtomicFile(plans) as new:
        index.read_plan(plan)
        index.read_unreadable(folder)
        _write_plan(new, index.find_new(index.sort(inputs) if by_image else inputs, found))
        if found.changed and not update:
            raise _explain_changes(folder, index, found.changed)
        found.changed = _correct_plans(folder, plan, index)
        if found.new:
            new.publish(plan_path(folder.path, len(plan.files)), exclusive=True)
    return found


def _write_plan(new: AtomicFile, inputs: Iterator[Input]) -> None:
    import pyarrow as pa

    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_file(new.file, make_schema(), options=options) as writer:
        for part in cut_into_shards(inputs):
            writer.write_batch(encode_batch(part))


def _correct_plans(folder: EmbeddingsFolder, plan: Plan, index: "_Index") -> int:
    """Write the changed inputs into their plans, and remove the embeddings of their shards; return their number.

    The embeddings are removed first: if the process is killed, embeddings of an old file never belong to a new plan.
    """
    total = 0
    for number, file in enumerate(plan.files):
        changes = index.read_changes(number)
        if not changes:
            continue
        total += len(changes)
        for shard in {row // SHARD_SIZE for row in changes}:
            folder.remove(Shard(number, shard, file.size_of(shard)))
        with AtomicFile(file.path.parent) as new:
            rows = enumerate(plan.read_all(number))
            _write_plan(new, (changes.get(row, given) for row, given in rows))
            new.publish(file.path)
    return total


def _explain_changes(folder: EmbeddingsFolder, index: "_Index", count: int) -> DatasetError:
    names = [printable(path) for path in index.list_changes(_SHOWN)]
    more = [f"and {count - len(names)} more"] if count > len(names) else []
    return DatasetError(
        "\n  ".join([f"images have changed since they were planned in {folder.path} ({count}):", *names, *more]),
        hint="to embed them again, add --update (update=True in Python)",
    )


class _Index:
    """A temporary SQLite file with a hash of each planned input.

    Args:
        connection: an open, empty database.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        for setting in ("journal_mode=OFF", "synchronous=OFF", f"cache_size=-{_CACHE_KIB}"):
            connection.execute(f"PRAGMA {setting}")
        connection.execute("CREATE TABLE planned (key BLOB PRIMARY KEY, state BLOB, plan, row) WITHOUT ROWID")
        connection.execute("CREATE TABLE unreadable (plan, row, PRIMARY KEY (plan, row)) WITHOUT ROWID")
        connection.execute("CREATE TABLE changed (plan, row, input, allowed, PRIMARY KEY (plan, row)) WITHOUT ROWID")

    @classmethod
    @contextmanager
    def open(cls, folder: Path) -> Iterator[Self]:
        """Make an index in a folder, and remove it at the end of the ``with`` block."""
        with AtomicFile(folder) as file, closing(sqlite3.connect(file.path, isolation_level=None)) as connection:
            yield cls(connection)

    def read_plan(self, plan: Plan) -> None:
        """Add the inputs of all plans of a folder."""
        for number in range(len(plan.files)):
            rows = enumerate(plan.read_all(number))
            values = ((_make_key(given), _hash_state(given), number, row) for row, given in rows)
            self._connection.executemany("INSERT INTO planned VALUES (?, ?, ?, ?)", values)

    def read_unreadable(self, folder: EmbeddingsFolder) -> None:
        """Add the indices in their plans of the images that could not be read."""
        rows = ((one.shard.plan, one.shard.number * SHARD_SIZE + one.place) for one in folder.list_unreadable())
        self._connection.executemany("INSERT INTO unreadable VALUES (?, ?)", rows)

    def sort(self, inputs: Iterable[Input]) -> Iterator[Input]:
        """Yield inputs in the order of their paths; those of one path in the order in which they were given."""
        self._connection.execute(
            "CREATE TABLE sorted (path BLOB, place, input, PRIMARY KEY (path, place)) WITHOUT ROWID"
        )
        rows = ((os.fsencode(given.path), place, _write(given)) for place, given in enumerate(inputs))
        self._connection.executemany("INSERT INTO sorted VALUES (?, ?, ?)", rows)
        for (text,) in self._connection.execute("SELECT input FROM sorted ORDER BY path, place"):
            yield _read(text)

    def find_new(self, inputs: Iterable[Input], found: Planned) -> Iterator[Input]:
        """Yield each input that no plan has, once; count new, known, repeated and changed inputs in ``found``."""
        for given in inputs:
            key, state = _make_key(given), _hash_state(given)
            added = self._connection.execute("INSERT OR IGNORE INTO planned VALUES (?, ?, NULL, NULL)", (key, state))
            if added.rowcount:
                found.new += 1
                yield given
                continue
            query = "SELECT state, plan, row FROM planned WHERE key = ?"
            before, plan, row = self._connection.execute(query, (key,)).fetchone()
            if plan is None:
                found.repeated += 1
            else:
                found.known += 1
                if state and before != state:
                    found.changed += self._note_change(given, plan, row, was_missing=not before)

    def _note_change(self, given: Input, plan: int, row: int, *, was_missing: bool) -> bool:
        """Remember a changed input; return True if embeddings of its old file may exist."""
        query = "SELECT 1 FROM unreadable WHERE plan = ? AND row = ?"
        allowed = was_missing or bool(self._connection.execute(query, (plan, row)).fetchone())
        values = plan, row, _write(given), allowed
        added = self._connection.execute("INSERT OR IGNORE INTO changed VALUES (?, ?, ?, ?)", values)
        return bool(added.rowcount) and not allowed

    def read_changes(self, plan: int) -> dict[int, Input]:
        """Return the changed inputs of a plan: index in the plan -> input."""
        rows = self._connection.execute("SELECT row, input FROM changed WHERE plan = ?", (plan,))
        return {row: _read(text) for row, text in rows}

    def list_changes(self, most: int) -> list[str]:
        """Return the paths of the first changed inputs that need ``update``."""
        query = "SELECT input FROM changed WHERE NOT allowed ORDER BY plan, row LIMIT ?"
        rows = self._connection.execute(query, (most,))
        return [_read(text).path for (text,) in rows]


def _make_key(given: Input) -> bytes:
    """Return a hash of what identifies an input: its path and its box."""
    return blake2b(repr((given.path, given.box)).encode(errors="surrogateescape"), digest_size=16).digest()


def _hash_state(given: Input) -> bytes:
    """Return a hash of what may change: size, time, label and place; empty for a file that is missing."""
    if given.size < 0 and not given.modified_ns:
        return b""
    state = given.size, given.modified_ns, given.id, given.container, given.position
    return blake2b(repr(state).encode(errors="surrogateescape"), digest_size=8).digest()


def _write(given: Input) -> str:
    return json.dumps(astuple(given))


def _read(text: str) -> Input:
    path, size, modified_ns, box, label, container, position = json.loads(text)
    return Input(path, size, modified_ns, box and tuple(box), label, container, position)

"""Reads the results of all queries from a receipt. A receipt may come from others, so nothing in it is trusted."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from reidhub.errors import UsageError
from reidhub.files.regular_file import open_regular_file
from reidhub.files.strict_json import from_json
from reidhub.verification.comparison import CONDITIONS, Retrieval
from reidhub.verification.receipt import FORMAT

T = TypeVar("T")
_LONGEST = 1 << 28  # bytes; a receipt of the whole zoo has less than a quarter of this


def read_receipt(path: Path) -> list[Retrieval]:
    """Read the measured results of a receipt, in its order.

    Raises:
        UsageError: the file cannot be read, is no receipt, was made by an older version, or is damaged.
    """
    receipt = parse_receipt(path)
    if "queries" not in receipt:
        raise UsageError(
            f"{path} was made by an older version of reidhub: it has no results of single queries",
            hint="run `reidhub verify --receipt` again",
        )
    try:
        results = {_read_key(result): result for result in _read(receipt, "results", list)}
        return [_read_retrieval(queries, results) for queries in _read(receipt, "queries", list)]
    except ValueError as error:
        raise UsageError(f"{path} is a damaged receipt: {error}", hint="run `reidhub verify --receipt` again") from None


def parse_receipt(path: Path) -> dict[str, Any]:
    """Read the JSON object of a receipt, and check that it is a receipt of this format.

    Raises:
        UsageError: the file cannot be read, is too large, or is no receipt of this format.
    """
    try:
        with open_regular_file(path) as file:
            text = file.read(_LONGEST + 1)
        receipt = from_json(dict[str, Any], text) if len(text) <= _LONGEST else {}
    except OSError as error:
        raise UsageError(f"cannot read the receipt {path}: {error.strerror}") from error
    except ValueError:
        receipt = {}
    hint = "`reidhub verify --receipt FILE` writes a receipt"
    if "format" not in receipt:
        raise UsageError(f"{path} is not a receipt", hint=hint)
    if receipt["format"] != FORMAT:
        raise UsageError(f"{path} is a receipt of format {receipt['format']!r}, expected {FORMAT}", hint=hint)
    return receipt


def _read_retrieval(queries: object, results: Mapping[tuple[str, str], Any]) -> Retrieval:
    key = _read_key(queries)
    if key not in results:
        raise ValueError(f"it has queries, but no result, of {key[0]} on {key[1]}")
    file, copy, conditions = (_read(results[key], name, dict) for name in ("file", "copy", "conditions"))
    images = _read(copy, "images", dict)
    retrieval = Retrieval(
        *key,
        sha256=_read(file, "sha256", str),
        fingerprint=_read(copy, "fingerprint", str),
        images={str(split): _read(images, split, int) for split in images},
        partial=None if copy.get("partial") is None else _read(copy, "partial", str),
        conditions={name: conditions.get(name) for name in CONDITIONS},
        first_match_rank=_read_numbers(queries, "first_match_rank", int, math.inf),
        average_precision=_read_numbers(queries, "average_precision", float, 1),
        inverse_negative_penalty=_read_numbers(queries, "inverse_negative_penalty", float, 1),
    )
    _check_queries(retrieval)
    return retrieval


def _check_queries(retrieval: Retrieval) -> None:
    """Raise ValueError if all queries were skipped, or lists differ in length or in the queries that were skipped."""
    ranks, means = retrieval.first_match_rank, (retrieval.average_precision, retrieval.inverse_negative_penalty)
    if not any(ranks):
        raise ValueError(f"no query of {retrieval.checkpoint} has a match")
    if any(means) and any([rank == 0 for rank in ranks] != [math.isnan(value) for value in values] for values in means):
        raise ValueError(f"ranks and precisions of {retrieval.checkpoint} do not belong to the same queries")


def _read_key(data: object) -> tuple[str, str]:
    return _read(data, "checkpoint", str), _read(data, "dataset", str)


def _read(data: object, name: str, kind: type[T]) -> T:
    """Return a field of a JSON object; raise ValueError if it is missing or of another type."""
    value = data.get(name) if isinstance(data, dict) else None
    if type(value) is not kind:
        raise ValueError(f"expected {name!r} of type {kind.__name__}, got {type(value).__name__}")
    return value


def _read_numbers(data: object, name: str, read: Callable[[str], T], largest: float) -> tuple[T, ...]:
    """Read numbers from 0 to ``largest``, or NaN, that are separated by spaces."""
    numbers = tuple(read(word) for word in _read(data, name, str).split())
    if any(number < 0 or number > largest for number in numbers):  # type: ignore[operator]
        raise ValueError(f"a number of {name!r} is not between 0 and {largest}")
    return numbers

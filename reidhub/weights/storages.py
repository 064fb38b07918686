"""The references of a pickle to the bytes of its tensors."""

from collections.abc import Mapping
from typing import Any

from reidhub.errors import WeightsError
from reidhub.files.sniff import make_printable
from reidhub.weights.stand_ins import Storage, StorageType

AGAIN = "fetch the file again"
"""Hint for a damaged file."""

MOST_TENSORS = 50_000  # the largest file of the zoo has 900
MOST_DIMENSIONS = 32  # of a tensor; the weights of a convolution have four


class Storages:
    """Converts the references of one pickle to bytes into `Storage`, and records the sizes of the storages.

    Attributes:
        element_sizes: key of a storage -> bytes of one element.
        sizes: key of a storage -> bytes of the whole storage, as the pickle claims.
    """

    def __init__(self) -> None:
        self.element_sizes: dict[str, int] = {}
        self.sizes: dict[str, int] = {}

    def __call__(self, pid: Any) -> Any:
        """Convert a reference ``("storage", type, key, device, elements)`` into a `Storage`.

        A sixth item, if there is one, selects a part of the elements. Legacy files also refer to classes of modules
        with ``("module", class, ...)``, to keep their source code; the class is then returned.
        """
        if isinstance(pid, tuple) and pid and pid[0] == "module":
            return pid[1]
        storage = _parse_storage(pid[:5])
        key, element_size = storage.key, 1 if storage.dtype is None else storage.dtype.itemsize
        self.element_sizes[key] = element_size
        self.sizes[key] = max(storage.numel * element_size, self.sizes.get(key, 0))
        view = pid[5] if len(pid) > 5 else None
        if view is None:
            return storage
        _, offset, numel = view
        if not (_is_count(offset) and _is_count(numel) and offset + numel <= storage.numel):
            raise WeightsError("a view lies outside its storage")
        return Storage(key, storage.dtype, offset, numel)

    def check_sizes(self, places: Mapping[str, slice]) -> None:
        """Compare the sizes of the storages with the file.

        Args:
            places: key of a storage -> its byte range in the file.

        Raises:
            WeightsError: the file has fewer bytes for a storage than the pickle claims.
        """
        for key, size in self.sizes.items():
            place = places.get(key, slice(0, 0))
            if size > place.stop - place.start:
                raise explain_missing(key)


def explain_missing(key: str) -> WeightsError:
    """Return the error for a storage that has too few bytes in the file."""
    return WeightsError(f"the bytes of storage {make_printable(key, 40)!r} are missing, or too few", hint=AGAIN)


def _parse_storage(pid: Any) -> Storage:
    kind, storage_type, key, _, numel = pid
    fits = kind == "storage" and isinstance(storage_type, StorageType) and isinstance(key, str) and _is_count(numel)
    if not fits:
        raise WeightsError("the pickle refers to bytes in an unknown way")
    return Storage(key, storage_type.dtype, 0, numel)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 62

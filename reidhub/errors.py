"""The exceptions of the package; every error that it raises on purpose is a `ReidhubError`.

A message says what was expected, what was found and where; the hint says what the user can do. A command that fails
with a `ReidhubError` prints message and hint. Its exit code is 2 for a `UsageError`, else 1. All errors::

    ReidhubError
    ├── UsageError
    │   ├── UnknownCheckpointError
    │   ├── DatasetError
    │   │   └── DatasetNotFoundError
    │   └── EvaluationError (also a ValueError)
    ├── ManifestError
    ├── InstallationError
    ├── SourceError
    │   ├── IntegrityError
    │   └── TakenOverError
    ├── FetchError
    ├── CancelledError
    ├── CacheError
    │   └── DiskFullError
    ├── DeviceMemoryError
    ├── ExportError
    └── WeightsError
        └── StateDictError
"""


class ReidhubError(Exception):
    """Base of all errors of this package.

    Args:
        message: one or more lines; the first says what was expected and what was found.
        hint: what the user can do; printed after ``hint:``.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\nhint: {self.hint}"


class UsageError(ReidhubError):
    """The user asked for something that does not exist or makes no sense; commands exit with code 2."""

    exit_code = 2


class ManifestError(ReidhubError):
    """A manifest file is malformed; the message starts with ``file:line:``."""


class InstallationError(ReidhubError):
    """A file that belongs to the package itself is missing or broken."""

    def __init__(self, message: str) -> None:
        super().__init__(message, hint="install reidhub again from its repository")


class UnknownCheckpointError(UsageError):
    """A name does not lead to exactly one checkpoint.

    There is no checkpoint or model of this name, or the model has no checkpoint, or several, for the wanted dataset.
    """


class SourceError(ReidhubError):
    """One source of a checkpoint's file, such as Mega or Google Drive, did not give the file.

    Args:
        message: the reason alone, without the name of the source or the checkpoint.
        hint: what the user can do.
        permanent: True if another attempt cannot help (the file is gone, the link is malformed).
        retry_after_s: seconds to wait before the next attempt, if the host named a time.
        host_down: True if requests for other files of the host would fail too: the host cannot be reached, reports
            an internal error, or refuses because a quota is used up.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        permanent: bool = False,
        retry_after_s: float | None = None,
        host_down: bool = False,
    ) -> None:
        super().__init__(message, hint=hint)
        self.permanent = permanent
        self.retry_after_s = retry_after_s
        self.host_down = host_down


class IntegrityError(SourceError):
    """A file has wrong bytes: another size, sha256 or MAC (the checksum in a Mega link), or it is a web page."""


class TakenOverError(SourceError):
    """Another process has resumed this download, and has removed the partial file of this process."""


class FetchError(ReidhubError):
    """No source gave the file; the message lists each source with its reason.

    Args:
        message: the checkpoint, then a line for each source.
        hint: what the user can do.
        by_hand: lines for a user who fetches the file by hand: its addresses, and the folder of the cache. Only `str`
            of the error has them, so that they do not get into receipts and reports.
    """

    def __init__(self, message: str, *, hint: str | None = None, by_hand: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.by_hand = by_hand

    def __str__(self) -> str:
        return "\n  ".join([super().__str__(), *self.by_hand])


class CancelledError(ReidhubError):
    """The caller stopped a download; if the source supports resuming, the received bytes are kept for the next run."""


class CacheError(ReidhubError):
    """The cache, or another folder that reidhub writes to, cannot be used: not writable, not a folder, disk full."""


class DiskFullError(CacheError):
    """A file cannot be written: the disk is full, or a quota or the limit on file sizes is reached."""


class DeviceMemoryError(ReidhubError):
    """The GPU has too little memory for the request."""


class ExportError(ReidhubError):
    """A model cannot be exported, or the exported file does not compute the same embeddings as the model."""


class WeightsError(ReidhubError):
    """A checkpoint file is damaged, has no tensors, or cannot be read without running code from the file."""


class StateDictError(WeightsError):
    """Keys or shapes of a state dict do not fit the architecture; the message lists the differences."""


class DatasetError(UsageError):
    """A dataset is missing, unknown, changed, or has images that cannot be read."""


class DatasetNotFoundError(DatasetError):
    """No folder below the data root holds the dataset; the message lists the folders that were searched."""


class EvaluationError(UsageError, ValueError):
    """Embeddings or labels cannot be scored: their shapes do not fit, values are NaN, or no query has a match."""

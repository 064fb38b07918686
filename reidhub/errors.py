"""The exceptions of the package; every error that it raises on purpose is a `ReidhubError`.

A message says what was wanted, what came and where; the hint says what to do about it. A command that ends with one of
them prints both and exits with its code: 1, or 2 for a `UsageError`.

    ReidhubError
    ├── UsageError
    │   ├── UnknownCheckpointError
    │   ├── DatasetError
    │   │   ├── DatasetNotFoundError
    │   │   └── DatasetNotSupportedError
    │   └── EvaluationError (also a ValueError)
    ├── ManifestError
    ├── InstallationError
    ├── SourceError
    │   └── IntegrityError
    ├── FetchError
    ├── CancelledError
    ├── CacheError
    │   └── DiskFullError
    ├── DeviceMemoryError
    └── WeightsError
        └── StateDictError
"""


class ReidhubError(Exception):
    """Base of all errors of this package.

    Args:
        message: one or more lines; the first says what was wanted and what came.
        hint: what the user can do, printed behind ``hint:``.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\nhint: {self.hint}"


class UsageError(ReidhubError):
    """What was asked for does not exist or makes no sense; the command ends with exit code 2."""

    exit_code = 2


class ManifestError(ReidhubError):
    """A manifest file breaks its format; the message starts with ``file:line:``."""


class InstallationError(ReidhubError):
    """A file that belongs to the package itself is missing or broken."""

    def __init__(self, message: str) -> None:
        super().__init__(message, hint="install reidhub again from its repository")


class UnknownCheckpointError(UsageError):
    """A selector matches no checkpoint, or a model has no single one for a dataset."""


class SourceError(ReidhubError):
    """One source could not give the bytes.

    Args:
        message: the reason alone, without the name of the source or the checkpoint.
        permanent: True where asking again cannot help (the file is gone, the link is malformed).
        retry_after_s: seconds after which the host said it would answer, where it said so.
        host_down: True where the host's other files meet the same: it is not reached, in trouble, or its quota is used
            up.
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
    """Bytes came, but not those of the file: wrong size, sha256 or MAC, or a page instead of a file."""


class FetchError(ReidhubError):
    """No source gave the file; the message lists each source with its reason."""


class CancelledError(ReidhubError):
    """The caller set the stop event of a download; what came so far stays for the next run."""


class CacheError(ReidhubError):
    """The cache, or another folder that reidhub fills, cannot be used: not writable, not a folder, disk full."""


class DiskFullError(CacheError):
    """There is no room for a file, wherever it was to be written: disk, quota, or limit on the size of files."""


class DeviceMemoryError(ReidhubError):
    """The GPU has too little memory for what was asked of it."""


class WeightsError(ReidhubError):
    """A checkpoint file holds no tensors that can be read without running code from it."""


class StateDictError(WeightsError):
    """Keys or shapes of a state dict do not fit the architecture; the message lists the differences."""


class DatasetError(UsageError):
    """A dataset is not where it should be, or is not what it should be."""


class DatasetNotFoundError(DatasetError):
    """No folder below the data root holds the dataset; the message lists where it was looked for."""


class DatasetNotSupportedError(DatasetError):
    """The dataset is known by name, but there is no reader for it."""


class EvaluationError(UsageError, ValueError):
    """Embeddings or labels that cannot be scored: shapes that do not fit, NaN, no query with a match."""

"""One image, or one box of an image, that a user wants to embed."""

from dataclasses import dataclass

from reidhub.inference.boxes import Box


@dataclass(frozen=True, slots=True)
class Input:
    """One image, or one box of an image.

    Args:
        path: the name of the image in the results: an absolute path, or a path or address that starts with what the
            user gave. An image in an archive is named ``ARCHIVE/MEMBER``, a row of a Parquet file ``FILE/ROW``.
        size: size of the encoded image in bytes; -1 if it is not known.
        modified_ns: modification time of the file, or of its archive, in nanoseconds since 1970; 0 if it is not known.
        box: the part of the image to embed; None for the whole image.
        id: the label of the user's table or box file; None without a label.
        container: the tar or Parquet file that has the image; None if ``path`` is the image file.
        position: in a tar file, the byte at which the image begins; in a Parquet file, its row, from 0.
    """

    path: str
    size: int
    modified_ns: int
    box: Box | None = None
    id: str | None = None
    container: str | None = None
    position: int = 0

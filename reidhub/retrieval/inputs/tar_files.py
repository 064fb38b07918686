"""Lists the images in tar files, such as the shards of webdataset. Members are read one by one, and none is kept."""

import tarfile
from collections.abc import Iterator
from typing import IO

from reidhub.errors import DatasetError
from reidhub.retrieval.inputs.addresses import explain_errors
from reidhub.retrieval.inputs.input import Input
from reidhub.retrieval.inputs.patterns import is_image_name
from reidhub.retrieval.inputs.storage import FileInfo, open_file

COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")
_HINT = "decompress it, for example with `gunzip`: reidhub reads single images from the middle of plain .tar files"


def list_tar(archive: FileInfo) -> Iterator[Input]:
    """Yield the images in a tar file, in its order; hidden files are left out.

    Raises:
        DatasetError: the file cannot be read, is compressed or damaged, or ends early.
    """
    with open_file(archive.path) as file:
        for member in _read_members(archive.path, file):
            name = member.name.lstrip("/").removeprefix("./")
            if member.isreg() and is_image_name(name.rsplit("/", 1)[-1]) and not _is_hidden(name):
                path = f"{archive.path}/{name}"
                yield Input(path, member.size, archive.modified_ns, container=archive.path, position=member.offset_data)


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))


def _read_members(path: str, file: IO[bytes]) -> Iterator[tarfile.TarInfo]:
    try:
        with explain_errors(path), tarfile.open(fileobj=file, mode="r:") as archive:
            while member := archive.next():
                archive.members.clear()  # type: ignore[attr-defined]  # its memory would grow with each member
                yield member
            _check_end(path, file, archive.offset)
    except DatasetError as error:
        if isinstance(error.__cause__, tarfile.TarError):
            raise DatasetError(f"{path} is no plain tar file, or is damaged: {error.__cause__}", hint=_HINT) from error
        raise


def _check_end(path: str, file: IO[bytes], offset: int) -> None:
    """Check that the file has no more members: tarfile stops at a damaged one as if the file ended there."""
    file.seek(offset)
    if file.read(tarfile.BLOCKSIZE).strip(b"\0"):
        raise DatasetError(f"{path} is damaged at byte {offset}: expected a member of the tar file, or its end")

"""Small JPEG images whose pixels tell which one it is."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest
from PIL import Image


def encode(shade: int, width: int = 8, height: int = 16) -> bytes:
    """A JPEG file of one shade of grey."""
    file = io.BytesIO()
    Image.new("RGB", (width, height), (shade, shade, shade)).save(file, "JPEG", quality=95)
    return file.getvalue()


@pytest.fixture
def jpeg() -> Callable[..., bytes]:
    """Encodes an image of one shade: ``jpeg(shade, width, height)``."""
    return encode


@pytest.fixture
def crops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder ``crops`` of the current folder, with folders in it, hidden files and other files."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "crops"
    for number, name in enumerate(["b.jpg", "a/1.JPG", "a/2.png", "a.jpg", "a/deep/er/3.jpg", "c/4.webp"]):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(20 * number))
    for name in ["._b.jpg", ".hidden/5.jpg", "a/Thumbs.db", "notes.txt"]:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    """The file system behind ``memory://``, empty."""
    files = fsspec.filesystem("memory")
    yield files
    files.store.clear()
    files.pseudo_dirs[:] = [""]

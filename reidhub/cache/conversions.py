"""Conversions for OpenVINO in the cache: zip files beside the checkpoint's file that they were made from.

A conversion contains OpenVINO's own two files, ``model.xml`` and ``model.bin``. Its name starts with the sha256 of the
checkpoint's file, and then tells the version of OpenVINO, the number of this format, the architecture, the image size
and the precision. A zip file has a checksum for each file in it, so a damaged conversion is noticed.
"""

import re
import zipfile
import zlib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

FORMAT = 1
"""Number of the format; it changes if reidhub converts models in another way."""

_NAME = re.compile(r"[0-9a-f]{64}\.openvino-(?P<version>[^-]+)-(?P<format>\d+)-.+\.zip")
# what zipfile raises for damaged files
_DAMAGED = (OSError, EOFError, ValueError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error)


class Conversion(NamedTuple):
    """The content of a conversion.

    Args:
        xml: ``model.xml``, the layers.
        weights: ``model.bin``, the weights.
    """

    xml: bytes
    weights: bytes


def name_conversion(cached: Path, architecture: str, size: tuple[int, int], precision: str) -> Path:
    """Return the path of a conversion for the installed version of OpenVINO, whether the file exists or not.

    Args:
        cached: the checkpoint's file in the cache.
        architecture: name of the model's architecture or class.
        size: height and width of the images in pixels.
        precision: the precision in which the converted model runs.

    Raises:
        PackageNotFoundError: OpenVINO is not installed.
    """
    height, width = size
    made_for = f"openvino-{version('openvino')}-{FORMAT}-{architecture}-{height}x{width}-{precision}"
    return cached.with_name(f"{cached.stem}.{made_for}.zip")


def read_conversion(path: Path) -> Conversion | None:
    """Read a conversion; None if it is missing or damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            return Conversion(archive.read("model.xml"), archive.read("model.bin"))
    except _DAMAGED:
        return None


def is_conversion(path: Path) -> bool:
    """Return True if a file in the cache has the name of a conversion."""
    return _NAME.fullmatch(path.name) is not None


def is_outdated(path: Path) -> bool:
    """Return True if a conversion was made for another version of OpenVINO or in another format."""
    name = _NAME.fullmatch(path.name)
    try:
        return name is not None and (name["version"], name["format"]) != (version("openvino"), str(FORMAT))
    except PackageNotFoundError:  # another Python environment may use the conversion
        return False

"""Conversions: zip files in the cache, each with a model that was converted for OpenVINO.

A conversion contains OpenVINO's own two files, ``model.xml`` and ``model.bin``. It is in the same folder as the
checkpoint's file. Its name is ``<sha256>.openvino-<version>-<format>-<architecture>-<height>x<width>-<precision>.zip``,
with the sha256 of the checkpoint's file, the version of OpenVINO, the number `FORMAT`, and ``fp32`` or ``bf16`` as
precision. A zip file has a checksum for each file in it, so a damaged conversion is noticed.
"""

import re
import struct
import zipfile
import zlib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from reidhub.files.regular_file import open_regular_file

FORMAT = 1
"""Version number of the conversions; it is increased when a new version of reidhub converts models differently."""

_NAME = re.compile(
    r"[0-9a-f]{64}\.openvino-(?P<version>[^-]+)-(?P<format>\d+)-[^-]+-(?P<height>\d+)x(?P<width>\d+)-(fp32|bf16)\.zip"
)
# what zipfile raises for damaged files
_DAMAGED = (OSError, EOFError, ValueError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error, struct.error)


class Conversion(NamedTuple):
    """The bytes of the two files in a conversion for OpenVINO.

    Args:
        xml: bytes of ``model.xml``, which describes the layers.
        weights: bytes of ``model.bin``, which contains the weights.
    """

    xml: bytes
    weights: bytes


def name_conversion(cached: Path, architecture: str, size: tuple[int, int], precision: str) -> Path:
    """Return the path of a conversion for the installed version of OpenVINO, whether the file exists or not.

    Args:
        cached: the checkpoint's file in the cache.
        architecture: name of the model's architecture or class.
        size: height and width of the images in pixels.
        precision: the number format in which the converted model computes: ``fp32`` or ``bf16``.

    Raises:
        PackageNotFoundError: OpenVINO is not installed.
    """
    height, width = size
    made_for = f"openvino-{version('openvino')}-{FORMAT}-{architecture}-{height}x{width}-{precision}"
    return cached.with_name(f"{cached.stem}.{made_for}.zip")


def read_conversion(path: Path) -> Conversion | None:
    """Read a conversion; None if it is missing or damaged."""
    try:
        with open_regular_file(path) as file, zipfile.ZipFile(file) as archive:
            if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
                return None  # reidhub does not compress; so the files are not larger than the archive
            return Conversion(archive.read("model.xml"), archive.read("model.bin"))
    except _DAMAGED:
        return None


def is_conversion(path: Path) -> bool:
    """Return True if the name of a file in the cache is that of a conversion for OpenVINO."""
    return _NAME.fullmatch(path.name) is not None


def is_outdated(path: Path) -> bool:
    """Return True if the name of a conversion has another version of OpenVINO, or another number than `FORMAT`."""
    name = _NAME.fullmatch(path.name)
    try:
        return name is not None and (name["version"], name["format"]) != (version("openvino"), str(FORMAT))
    except PackageNotFoundError:  # another Python environment may use the conversion
        return False


def read_image_size(path: Path) -> tuple[int, int]:
    """Return the height and width of the images, in pixels, from the name of a conversion for OpenVINO.

    Raises:
        ValueError: it is not the name of a conversion.
    """
    name = _NAME.fullmatch(path.name)
    if name is None:
        raise ValueError(f"not the name of a conversion: {path.name}")
    return int(name["height"]), int(name["width"])

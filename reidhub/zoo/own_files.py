"""Tells the path of a user's own checkpoint file or folder from the name of a checkpoint."""

import os
from pathlib import Path
from typing import TypeGuard

from reidhub.zoo.manifest import is_glob, zoo

_RUNNABLE = (".onnx", ".xml")
_SUFFIXES = (".pth", ".pt", ".tar", ".pyth", ".pkl", ".ckpt", ".bin", ".safetensors", ".pt2", *_RUNNABLE)


def is_own_file(selector: object) -> TypeGuard[str | os.PathLike[str]]:
    """Return True if a selector is a path or an address, False if it names a checkpoint or a model, or is a glob.

    A text is a path if it has a slash or the suffix of a checkpoint file, or if a file or folder is there. The name of
    a checkpoint or a model is never a path: to use a file of the same name, write ``./osnet_x1_0``. An address such as
    ``hf://ORG/NAME@COMMIT`` has a slash too.
    """
    if not isinstance(selector, str):
        return isinstance(selector, os.PathLike)
    if selector in zoo().by_name or zoo().architecture(selector):
        return False
    if os.sep in selector or "/" in selector or selector.endswith(_SUFFIXES):
        return True
    return not is_glob(selector) and Path(selector).exists()


def is_exported_file(selector: object) -> TypeGuard[str | os.PathLike[str]]:
    """Return True if a selector is the path of a file that an embedder runs without reidhub's architectures.

    That is an ONNX file (``.onnx``) or a model of OpenVINO (``.xml``).
    """
    return is_own_file(selector) and os.fspath(selector).endswith(_RUNNABLE)

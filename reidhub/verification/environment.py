"""What measured: versions and machine, for whoever wants to know why another machine got another number."""

import platform
from collections.abc import Iterable

import numpy as np
import PIL
import torch
import torchvision
from PIL import features

from reidhub._version import __version__
from reidhub.verification.results import Environment


def environment(devices: Iterable[str]) -> Environment:
    """This process: packages, the JPEG decoder, operating system, and the devices it used."""
    turbo = features.version("libjpeg_turbo")
    versions = {
        "reidhub": __version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "torchvision": str(torchvision.__version__),
        "numpy": np.__version__,
        "pillow": PIL.__version__,
        "libjpeg": f"turbo {turbo}" if turbo else str(features.version("jpg")),
    }
    return Environment(versions, platform.platform(), tuple(dict.fromkeys(devices)))

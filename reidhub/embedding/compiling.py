"""Code made for one graph and one size: when it first runs, kept for later processes, and never a reason to fail."""

import logging
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from reidhub.cache import default_root

_KEPT_IN = "TORCHINDUCTOR_CACHE_DIR"
_SETTINGS: dict[str, dict[str, Any]] = {  # small models wait for the calls of their layers more than for arithmetic
    "cpu": {"options": {"cpp_wrapper": True}},  # the layers are called from C++, not from Python
    "cuda": {"options": {"triton.cudagraphs": True, "conv_1x1_as_mm": True}},  # cuDNN's float32 1x1 are the slower ones
}

_log = logging.getLogger(__name__)

Forward = Callable[[Tensor], Tensor]


class Compiled:
    """A module that is compiled when it first runs; where that fails, it runs as it is and the log says why.

    Args:
        module: in eval mode.
        device: where it lies.
        backend: torch's default compiler, or another one.
    """

    def __init__(self, module: nn.Module, device: torch.device, backend: str | Callable[..., Any] = "inductor") -> None:
        if not _chosen(os.environ.get(_KEPT_IN, "")):
            os.environ[_KEPT_IN] = str(default_root() / "compiled")
        self._module = module
        settings = _SETTINGS.get(device.type, {}) if backend == "inductor" else {}
        self._compiled: Forward = torch.compile(module, fullgraph=True, dynamic=False, backend=backend, **settings)
        self._run: Forward = self._first

    def __call__(self, images: Tensor) -> Tensor:
        """(N, 3, H, W), always of the same N and memory format, -> (N, D)."""
        return self._run(images)

    def _first(self, images: Tensor) -> Tensor:
        start = time.perf_counter()
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "TensorFloat32")  # not using it is meant
                embeddings = self._compiled(images)
        except Exception as error:  # whatever a compiler says, the module itself still runs
            _log.warning("the model runs without compiled code, and slower: %s", _reason(error))
            self._run = self._module
            return self._module(images)  # type: ignore[no-any-return]
        took = time.perf_counter() - start
        _log.info("compiled in %.0f s; later processes find the code in %s", took, os.environ[_KEPT_IN])
        self._run = self._compiled
        return embeddings


def _chosen(folder: str) -> bool:
    """True for a folder that the user named; importing torchvision already makes torch write its own there."""
    return folder != "" and not folder.startswith(str(Path(tempfile.gettempdir(), "torchinductor_")))


def _reason(error: Exception) -> str:
    """The first line that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no reason given'}"

"""Compiled models: torch compiles a model in its first call. If that fails, the model runs without compiling."""

import logging
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

_SETTINGS: dict[str, dict[str, Any]] = {
    "cuda": {"options": {"triton.cudagraphs": True, "conv_1x1_as_mm": True}},  # cuDNN's float32 1x1 is slower
}

_LONG_S = 10.0  # loading stored code takes less
_STILL = "the embedder compiles in its first call, which takes a minute or more"

_log = logging.getLogger(__name__)

Forward = Callable[[Tensor], Tensor]
"""(N, 3, H, W) -> (N, D)."""


class Compiled:
    """A module that is compiled in its first call. If that fails, the module itself runs, and the log says why.

    Args:
        module: in eval mode.
        device: the module's device.
        backend: a compiler of `torch.compile`; the default is torch's own default.
    """

    def __init__(self, module: nn.Module, device: torch.device, backend: str | Callable[..., Any] = "inductor") -> None:
        self._module = module
        self._arguments = (module, device, backend)
        settings = _SETTINGS.get(device.type, {}) if backend == "inductor" else {}
        self._compiled: Forward = torch.compile(module, fullgraph=True, dynamic=False, backend=backend, **settings)
        self._run: Forward = self._run_first

    def __call__(self, images: Tensor) -> Tensor:
        """Run the module: (N, 3, H, W) -> (N, D). Every call must use the same N and the same memory format."""
        run = self._run
        try:
            embeddings: Tensor = run(images)
        except Exception as error:  # whatever a compiler raises, the module itself still runs
            if run is self._module:
                raise
            _log.warning("the model runs without compiled code, and slower: %s", _find_reason(error))
            self._run = self._module
            embeddings = self._module(images)
        return embeddings

    def __reduce__(self) -> tuple[Any, ...]:
        return Compiled, self._arguments  # another process must compile again

    def _run_first(self, images: Tensor) -> Tensor:
        start, still = time.perf_counter(), threading.Timer(_LONG_S, _log.warning, [_STILL])
        still.daemon = True
        still.start()
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "TensorFloat32")  # TF32 is switched off on purpose
                embeddings = self._compiled(images)
        finally:
            still.cancel()
        took = time.perf_counter() - start
        _log.info("the model is compiled after %.0f s", took)
        self._run = self._compiled
        return embeddings


def _find_reason(error: Exception) -> str:
    """Return the type of an error and the first informative line of its message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and not line.endswith(" raised:")]
    return f"{type(error).__name__}: {lines[0] if lines else 'no reason given'}"

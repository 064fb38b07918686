"""Exports a checkpoint's model to a file for another runtime. The file is run and checked before it gets its name."""

import logging
import os
import shlex
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from reidhub.errors import ExportError, ReidhubError, UsageError
from reidhub.exporters import onnx_file, openvino_file, torch_file
from reidhub.exporters.check import check
from reidhub.exporters.module import OPSET, Choices, ExportModule, describe
from reidhub.files.atomic import AtomicFile, explain_write_errors
from reidhub.inference.export_metadata import ExportMetadata
from reidhub.models.base import ReidModel
from reidhub.zoo.checkpoint import Checkpoint, OwnCheckpoint
from reidhub.zoo.hub_folder import choose_title

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of exported file.

    Args:
        suffixes: the suffixes of its files; `Export.path` has the first one.
        write: exports a module; returns suffix -> content.
        run: takes suffix -> path of the files and several batches; returns the embeddings of each batch.
        name_runtime: returns name and version of the runtime of ``run``; raises an error if a package is missing.
    """

    suffixes: tuple[str, ...]
    write: Callable[[ExportModule, Tensor, ExportMetadata], dict[str, bytes]]
    run: Callable[[dict[str, Path], list[Tensor]], list[Tensor]]
    name_runtime: Callable[[], str]


_KINDS = {
    "onnx": _Kind((".onnx",), onnx_file.write, onnx_file.run, onnx_file.name_runtime),
    "openvino": _Kind((".xml", ".bin"), openvino_file.write, openvino_file.run, openvino_file.name_runtime),
    "torch-export": _Kind((".pt2",), torch_file.write_program, torch_file.run_program, torch_file.name_runtime),
    "safetensors": _Kind((".safetensors",), torch_file.write_weights, torch_file.run_weights, torch_file.name_runtime),
}


_TENSORRT_BATCHES = {"min": 1, "opt": 16, "max": 64}  # images


@dataclass(frozen=True, slots=True)
class Export:
    """An exported file that computes the same embeddings as the module.

    Args:
        path: the file. For OpenVINO it is the ``.xml`` file; the ``.bin`` file beside it belongs to it.
        metadata: what the file says about itself.
        runtime: name and version of the runtime that has run the file.
        error: the largest relative error of an embedding, ``|file - module| / |module|``.
    """

    path: Path
    metadata: ExportMetadata
    runtime: str
    error: float

    @property
    def trtexec(self) -> str | None:
        """The command that makes a TensorRT engine, for a machine with TensorRT; None if the file is not ONNX."""
        if self.path.suffix != ".onnx":
            return None
        shape = f"3x{self.metadata.height}x{self.metadata.width}"
        words = ["trtexec", f"--onnx={self.path}", f"--saveEngine={self.path.with_suffix('.engine')}"]
        if self.metadata.batch_size == "dynamic":
            words += [f"--{which}Shapes=images:{count}x{shape}" for which, count in _TENSORRT_BATCHES.items()]
        words += ["--fp16"] if self.metadata.precision == "fp16" else []
        return shlex.join(words)


def choose_files(
    checkpoint: Checkpoint, choices: Choices, path: str | os.PathLike[str] | None, *, force: bool
) -> dict[str, Path]:
    """Choose the paths of the exported files, and check that they are free and that no package is missing.

    Args:
        checkpoint: the checkpoint.
        choices: the kind of file.
        path: the file or its folder; None for a file in the current folder, with the name of the checkpoint.
        force: an existing file will be replaced.

    Returns:
        Suffix -> path; the first path is `Export.path`.

    Raises:
        UsageError: a file exists and ``force`` is False, or it is the checkpoint's own file; or the suffix of ``path``
            does not fit the format.
        ExportError: a package that writes or runs the files is missing.
    """
    _KINDS[choices.format].name_runtime()  # imports what is needed, or raises an error
    suffixes = _KINDS[choices.format].suffixes
    target = Path(path or ".")
    if target.is_dir() or str(path).endswith(("/", os.sep)):
        target /= choose_title(checkpoint) + suffixes[0]
    elif target.suffix != suffixes[0]:
        raise UsageError(
            f"{target}: a file of the format {choices.format} ends with {suffixes[0]}",
            hint=f"write {target.with_suffix(suffixes[0])}",
        )
    files = {suffix: target.with_suffix(suffix) for suffix in suffixes}
    for file in filter(Path.exists, files.values()):
        if isinstance(checkpoint, OwnCheckpoint) and file.samefile(checkpoint.path):
            raise UsageError(f"{file} is the file to export", hint="choose another name for the export")
        if not force or not file.is_file():
            raise UsageError(f"{file} exists", hint="`--force` (in Python `force=True`) replaces a file")
    return files


def export_model(
    model: ReidModel, checkpoint: Checkpoint, choices: Choices, files: dict[str, Path], *, force: bool = False
) -> Export:
    """Write the file of a model, run it with its own runtime, compare the embeddings, and give it its name.

    Args:
        model: the model of the checkpoint: float32, in eval mode, on the CPU.
        checkpoint: names the model, and gives size and normalisation of the images.
        choices: the kind of file.
        files: suffix -> path, from `choose_files`.
        force: replace existing files.

    Raises:
        UsageError: torch cannot write the opset.
        CacheError: a file cannot be written.
        ExportError: the model cannot be exported, the file computes other embeddings, or a package is missing.
    """
    kind, target = _KINDS[choices.format], next(iter(files.values()))
    metadata = describe(model, checkpoint, choices)
    half = choices.half and choices.format != "openvino"  # OpenVINO converts the weights itself
    module = ExportModule(model, checkpoint.input, half=half, normalises=choices.with_preprocessing)
    example = torch.zeros(2 if choices.dynamic else 1, 3, metadata.height, metadata.width)  # torch fixes a size of 1
    _log.info("exporting %s to %s", metadata.checkpoint, target)
    with explain_write_errors(f"write {target}"), ExitStack() as stack:
        target.parent.mkdir(parents=True, exist_ok=True)
        new = {suffix: stack.enter_context(AtomicFile(path.parent, suffix=suffix)) for suffix, path in files.items()}
        for suffix, content in kind.write(module, example, metadata).items():
            new[suffix].file.write(content)
            new[suffix].sync()
        _log.info("running the file with %s", kind.name_runtime())
        written = {suffix: file.path for suffix, file in new.items()}
        error = check(partial(_run, kind, written, metadata), model, metadata)
        _publish(new, files, exclusive=not force)
    return Export(target, metadata, kind.name_runtime(), error)


def _run(kind: _Kind, files: dict[str, Path], metadata: ExportMetadata, batches: list[Tensor]) -> list[Tensor]:
    """Run exported files.

    Raises:
        ExportError: the runtime is missing or cannot run them.
    """
    try:
        return kind.run(files, batches)
    except (ReidhubError, OSError):
        raise
    except Exception as error:  # each runtime raises types of its own
        kind_of_file = f"the file of opset {metadata.opset}" if metadata.opset else "the file"
        hint = onnx_file.OPSET_HINT if metadata.opset not in (None, OPSET) else None
        raise ExportError(f"{kind.name_runtime()} cannot run {kind_of_file}: {error}", hint=hint) from error


def _publish(new: dict[str, AtomicFile], files: dict[str, Path], *, exclusive: bool) -> None:
    """Give all files their names, the first file last. If this fails for a file, those already renamed are removed.

    Raises:
        OSError: a file cannot be renamed.
    """
    with ExitStack() as undo:
        for suffix in reversed(new):
            new[suffix].publish(files[suffix], exclusive=exclusive)
            undo.callback(files[suffix].unlink, missing_ok=True)
        undo.pop_all()

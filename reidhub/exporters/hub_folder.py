"""Writes the folder of one checkpoint for a model hub: weights, two configs, the model card and the licence."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from reidhub.cache.store import Cache
from reidhub.diagnosis.own_file import find_own_checkpoint
from reidhub.download.fetch import fetch
from reidhub.exporters.model_card import (
    LICENCE_FILE,
    clean_text,
    read_measured,
    write_card,
    write_licence,
)
from reidhub.files.atomic import (
    explain_write_errors,
    remove_leftovers,
    write_atomically,
    write_folder,
    write_json,
    write_text,
)
from reidhub.files.digest import Digest
from reidhub.files.output_folder import check_free
from reidhub.weights import count_classes, read_cached_weights, read_weights
from reidhub.weights.conversion import ORIGINAL
from reidhub.weights.fit import is_classifier
from reidhub.weights.load import build_with_weights
from reidhub.weights.safetensors_file import serialise
from reidhub.zoo.checkpoint import Checkpoint, InputSpec
from reidhub.zoo.hub_folder import CONFIG, FORMAT, WEIGHTS, FolderConfig, WeightsFile, choose_title

REID_CONFIG = "reid_config.json"
"""Name of the config that the package ``reid`` reads."""


def publish(checkpoint: Checkpoint, folder: Path, receipts: Sequence[Path] = (), *, force: bool = False) -> Path:
    """Write the folder of a checkpoint for a hub; a new folder is written completely or not at all.

    Before the folder gets its name, it is read as its users will read it: its weights must load strictly.

    Args:
        checkpoint: the checkpoint; its file is fetched.
        folder: the folder to write.
        receipts: receipts with results of the checkpoint, for the model card.
        force: write into a folder that has other files already; files of the same names are replaced.

    Returns:
        The folder.

    Raises:
        UsageError: ``folder`` is a file, or has files and ``force`` is not set; or a receipt has no result of the file.
        FetchError: no source gave the checkpoint's file.
        WeightsError: the file does not hold the weights of its architecture.
        DiskFullError: the disk has no room.
        CacheError: the folder cannot be written for another reason.
    """
    check_free(folder, force=force)
    path = fetch(checkpoint, Cache())
    digest = Digest.of_file(path)
    measured = read_measured(checkpoint, receipts, digest)
    tensors = _read_complete(checkpoint, path)
    data = b"".join(serialise(tensors, {ORIGINAL: digest.hex}))
    config = _make_config(checkpoint, WeightsFile(Digest.of_bytes(data).hex, len(data)), tensors, digest)
    with explain_write_errors(f"write the folder {folder}"):
        folder.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder if folder.is_dir() else folder.parent)
        with write_folder(folder, last=CONFIG) as staging:
            with write_atomically(staging / WEIGHTS) as file:
                file.write(data)
            write_json(staging / REID_CONFIG, _make_reid_config(checkpoint))
            write_text(staging / LICENCE_FILE, write_licence(checkpoint) + "\n")
            write_text(staging / "README.md", write_card(checkpoint, measured))
            write_json(staging / CONFIG, asdict(config))
            _check_folder(staging)
    return folder


def _read_complete(checkpoint: Checkpoint, path: Path) -> dict[str, Tensor]:
    """Read the weights of a checkpoint's file, as float32 and with every tensor that its architecture has.

    Old files lack the counts ``num_batches_tracked``, which the package ``reid`` needs. If the file has no classifier,
    none is added.
    """
    tensors = read_cached_weights(path, checkpoint.layout)
    state = build_with_weights(checkpoint, tensors).state_dict()
    return {name: tensor for name, tensor in state.items() if name in tensors or not is_classifier(name)}


def _make_config(
    checkpoint: Checkpoint, weights: WeightsFile, tensors: dict[str, Tensor], original: Digest
) -> FolderConfig:
    return FolderConfig(
        reidhub_folder=FORMAT,
        name=clean_text(choose_title(checkpoint)),
        architecture=checkpoint.model,
        num_classes=count_classes(tensors),
        trained_on=tuple(map(clean_text, checkpoint.trained_on)),
        combineall=checkpoint.combineall,
        input=checkpoint.input,
        distance=checkpoint.distance,
        licence=clean_text(checkpoint.licence),
        notices=tuple(map(clean_text, checkpoint.notices)),
        weights=weights,
        original_sha256=original.hex,
    )


def _make_reid_config(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the config of the package ``reid`` 0.1.0rc1: the fields of its ``ReIDPreprocessing.to_dict``."""
    spec: InputSpec = checkpoint.input
    return {
        "architecture": checkpoint.model,
        "preprocessing": {
            "input_size": [spec.height, spec.width],
            "mean": list(spec.mean),
            "std": list(spec.std),
            "interpolation": spec.interpolation,
            "to_rgb": True,  # video frames are BGR
            "resize_mode": "stretch",
            "pad_value": 114,  # its default; unused with stretch
        },
    }


def _check_folder(folder: Path) -> None:
    """Read a folder as its users will: check sha256 and size, and load the weights strictly.

    Raises:
        WeightsError: this fails.
    """
    checkpoint = find_own_checkpoint(folder)
    build_with_weights(checkpoint, read_weights(folder / WEIGHTS, layout=checkpoint.layout))

"""The public functions that make an embedder, and the preprocessing of a model."""

from pathlib import Path
from typing import TYPE_CHECKING

from reidhub.api import ModelName, find_for_embedding, find_one, load_checkpoint, refuse_for_files
from reidhub.cache.store import Cache
from reidhub.zoo.checkpoint import Checkpoint, OwnCheckpoint
from reidhub.zoo.own_files import is_exported_file

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from PIL.Image import Image

    from reidhub.inference import Embedder, Precision


def embedder(
    model: ModelName,
    dataset: str | None = None,
    *,
    architecture: str | None = None,
    device: "torch.device | str" = "cpu",
    precision: "Precision" = "fp32",
    batch: int | None = None,
) -> "Embedder":
    """Load a model for fast inference: an embedder computes embeddings (N, D) of any images.

    Args:
        model: a full name (``osnet_x1_0.msmt17``), a model's name, the path of a checkpoint file (``./my.pth``) or of
            an exported file (``./my.onnx``, or OpenVINO's ``./my.xml`` with ``my.bin`` beside it), or a folder of
            `reidhub publish`: its path, or its address with a commit (``hf://ORG/NAME@COMMIT``).
        dataset: the training data, if ``model`` is a model's name; None for the model's default checkpoint.
        architecture: the architecture of a file, such as ``osnet_x1_0``; None to detect it.
        device: the device on which the model runs.
        precision: ``fp32`` is a faster copy of the model, which rounds differently; ``exact`` is the unchanged model,
            which is slower; ``bf16``, and on a GPU ``tf32`` and ``fp16``, are faster copies with fewer bits. An
            exported file has its own precision; for it, ``fp32`` and ``exact`` mean this precision.
        batch: number of images that the model computes at once; if None, reidhub chooses a number that is fast on
            the device. On a CPU it is used only if the precision is ``exact``, and for ONNX files with a dynamic batch.

    Raises:
        UnknownCheckpointError: no checkpoint matches, or several match although ``dataset`` is given.
        FetchError: no source gave the file.
        WeightsError: the file does not hold the weights of this architecture; the message lists what does not fit. Or
            an exported file is damaged, or reidhub did not export it.
        UsageError: ``dataset`` is missing, because several checkpoints match or the model's default has ImageNet
            weights; or it is given for a file. Or the device does not exist, it lacks the precision, or the batch is
            below 1.
    """
    from reidhub.devices import find_device
    from reidhub.inference.engine import check_batch
    from reidhub.torch_settings import check_precision

    if is_exported_file(model):
        from reidhub.inference.exported_files import make_embedder

        refuse_for_files(model, dataset=dataset, architecture=architecture)
        return make_embedder(Path(model), find_device(device), precision, batch)
    checkpoint, place = find_for_embedding(model, dataset, architecture), find_device(device)
    check_precision(precision, place)  # check this and the batch before anything is downloaded
    check_batch(batch)
    return load_embedder(checkpoint, place, precision, batch)


def load_embedder(
    checkpoint: Checkpoint, device: "torch.device", precision: "Precision" = "fp32", batch: int | None = None
) -> "Embedder":
    """Load a checkpoint for fast inference; see `embedder` for the arguments and errors."""
    from reidhub.inference import Embedder

    loaded = load_checkpoint(checkpoint, device)
    cached = None if isinstance(checkpoint, OwnCheckpoint) else Cache().find(checkpoint.artifact)
    return Embedder.of_model(loaded, checkpoint.input, precision=precision, batch=batch, cached=cached)


def transform(name: ModelName, *, architecture: str | None = None) -> "Callable[[Image], torch.Tensor]":
    """Return the preprocessing of one checkpoint: a function from a PIL image to a normalised float tensor (3, H, W).

    Args:
        name: a selector that matches one checkpoint, or the path of a checkpoint file or an exported file.
        architecture: the architecture of a checkpoint file, such as ``osnet_x1_0``; None to detect it.

    Raises:
        UnknownCheckpointError: nothing matches.
        UsageError: more than one checkpoint matches, or ``architecture`` is given for a name or an exported file.
        WeightsError: the checkpoint file does not hold exactly the weights of one architecture.
    """
    from reidhub.inference.preprocess import transform as transform_for

    if is_exported_file(name):
        from reidhub.inference.exported_files import read_metadata

        refuse_for_files(name, architecture=architecture)
        return transform_for(read_metadata(Path(name)).spec)
    return transform_for(find_one(name, architecture=architecture).input)

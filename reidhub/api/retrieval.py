"""The public functions for many images: embed them into a folder."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tqdm import tqdm

from reidhub.api import ModelName, find_for_embedding
from reidhub.api.embedding import embedder, load_embedder
from reidhub.cache.store import Cache
from reidhub.download.fetch import fetch
from reidhub.errors import UsageError
from reidhub.files.digest import Digest
from reidhub.files.regular_file import make_path
from reidhub.zoo.checkpoint import Checkpoint
from reidhub.zoo.own_files import is_exported_file

if TYPE_CHECKING:
    import torch

    from reidhub.inference import Embedder, Precision
    from reidhub.retrieval.embed import Advance
    from reidhub.retrieval.embed_job import EmbedReport, OpenProgress
    from reidhub.retrieval.embedding_model import EmbeddingModel
    from reidhub.retrieval.ray_shards import RayCluster

Inputs = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
"""A folder, image file, glob, archive or address; or a list of these."""


@dataclass(frozen=True)
class ModelChoice:
    """The model that the user chose for embeddings, and how it runs; it can be sent to other processes.

    Args:
        model: the name or the file, as in `reidhub.embedder`.
        dataset: the training data, if ``model`` is a model's name.
        architecture: the architecture of a file; None to detect it.
        device: the device; None for the GPU if there is one, else the CPU.
        precision: how the model computes; see `reidhub.embedder`.
        batch: number of images in a batch; None for a number that suits the device.
    """

    model: ModelName
    dataset: str | None = None
    architecture: str | None = None
    device: "torch.device | str | None" = None
    precision: "Precision" = "fp32"
    batch: int | None = None

    @cached_property
    def checkpoint(self) -> Checkpoint | None:
        """The checkpoint; None for an exported file. See `find_for_embedding` for the errors."""
        if is_exported_file(self.model):
            return None
        return find_for_embedding(self.model, self.dataset, self.architecture)

    def check(self) -> None:
        """Check the choices, without downloading anything; see `reidhub.embedder` for the errors."""
        from reidhub.devices import find_device
        from reidhub.torch_settings import check_precision

        device = find_device(self.device)
        if self.checkpoint:
            check_precision(self.precision, device)

    def make(self, found: Checkpoint | None = None) -> "tuple[Embedder, EmbeddingModel]":
        """Load the model, and describe it; see `reidhub.embedder` for the errors.

        Args:
            found: the checkpoint; None to find it by its name or its file.
        """
        from reidhub.devices import find_device
        from reidhub.retrieval.embedding_model import EmbeddingModel

        device = find_device(self.device)
        checkpoint = found or self.checkpoint
        if checkpoint is None:
            from reidhub.inference.exported_files import read_metadata

            path = Path(self.model)
            made = embedder(path, self.dataset, device=device, precision=self.precision, batch=self.batch)
            return made, EmbeddingModel.of_exported_file(path, read_metadata(path))
        made = load_embedder(checkpoint, device, self.precision, self.batch)
        digest = Digest.of_file(fetch(checkpoint, Cache()))
        return made, EmbeddingModel.of_checkpoint(checkpoint, digest.hex, self.precision, made.dimensions)

    def on_cluster(self, address: str | None) -> "RayCluster":
        """Return the Ray cluster that embeds with this model; the file of a checkpoint is downloaded here.

        Args:
            address: see `reidhub.embed`.
        """
        from reidhub.retrieval.ray_shards import RayCluster

        weights = (self.checkpoint, fetch(self.checkpoint, Cache())) if self.checkpoint else None
        return RayCluster(self.make, weights, address, gpus=str(self.device or "cuda").startswith("cuda"))


def embed(
    model: ModelName,
    inputs: Inputs,
    output: str | os.PathLike[str],
    dataset: str | None = None,
    *,
    boxes: str | os.PathLike[str] | None = None,
    update: bool = False,
    shard: str | None = None,
    plan_only: bool = False,
    architecture: str | None = None,
    device: "torch.device | str | None" = None,
    precision: "Precision" = "fp32",
    batch: int | None = None,
    executor: Literal["local", "ray"] = "local",
    address: str | None = None,
    progress: "OpenProgress | None" = None,
) -> "EmbedReport":
    """Embed many images into a folder of Parquet files, as ``reidhub embed`` does.

    An example::

        report = reidhub.embed("osnet_x1_0.msmt17", "crops", "embeddings")
        print(report.embedded, report.unreadable)

    The folder gets a plan: all inputs, cut into shards of 1,000. If the function is interrupted, the same call
    continues. Later calls add images that are new. Memory does not grow with the number of images.

    Args:
        model: a full name, a model's name, the path of a file, or another form that `reidhub.embedder` takes.
        inputs: a folder, an image file, a glob such as ``"crops/**/*.jpg"``, a ``.tar`` or ``.parquet`` file, an
            address such as ``"s3://bucket/crops"``, or a list of these. An empty list continues with the plan in the
            folder.
        output: the folder; or a ``.npz`` file, for up to 1 GB of embeddings.
        dataset: the training data, if ``model`` is a model's name.
        boxes: a CSV or Parquet file with the columns image, x1, y1, x2, y2 and perhaps id, or MOT's ``det.txt`` or
            ``gt.txt``. Each box is embedded like an image. ``inputs`` is then the folder of the images.
        update: if files have changed since they were planned, embed their shards again; False to raise an error.
        shard: ``I/N`` to do only the shards of part I, from 0 to N-1; None for the part that torchrun or a Slurm array
            names, or for all shards.
        plan_only: write the plan, and embed nothing.
        architecture: the architecture of a file; None to detect it.
        device: the device; None for the GPU if there is one, else the CPU.
        precision: how the model computes; see `reidhub.embedder`.
        batch: number of images in a batch; None for a number that suits the device.
        executor: ``ray`` to embed on the nodes of a Ray cluster, in one worker for each GPU; if the cluster has no
            GPUs, in one worker for each node. Images and ``output`` must have the same paths on all nodes.
        address: the Ray cluster: ``HOST:PORT``, or ``auto`` for the one of this machine; None to start Ray on this
            machine for this call. If the program has initialised Ray already, that Ray is used instead.
        progress: a function that gets the number of images and how many of them are done, and returns a context
            manager; the value of its ``with`` block is called with the number of images that were done since. None for
            a progress bar if stderr is a terminal.

    Returns:
        What was done. Images that cannot be read are counted and named there, and all other images are embedded.

    Raises:
        DatasetError: an input is missing, a table has other columns, or files have changed and ``update`` is False.
        UsageError: the folder has embeddings of another model, or an argument has a value that is not allowed.
        UnknownCheckpointError: no checkpoint matches.
        FetchError: no source gave the checkpoint's file.
        WeightsError: the checkpoint's file does not hold the weights of this architecture.
        CacheError: the folder cannot be written.
    """
    from reidhub.executors.share import Share
    from reidhub.retrieval.embed_job import EmbedJob

    if executor not in ("local", "ray"):
        raise UsageError(f"an executor is 'local' or 'ray', got {executor!r}")
    share = Share.find() if shard is None and executor == "local" else Share.parse(shard or "0/1")
    if device is None and share.local_rank is not None:
        device = _choose_gpu(share.local_rank)
    choice = ModelChoice(model, dataset, architecture, device, precision, batch)
    choice.check()  # before the inputs are listed, which may take long
    job = EmbedJob.of(make_path(output), share)
    job.extend_plan(list_given(inputs), None if boxes is None else make_path(boxes), update=update)
    if plan_only:
        return job.report()
    cluster = choice.on_cluster(address) if executor == "ray" else None
    return job.run(choice.make, progress or partial(open_bar, "embed"), cluster)


def list_given(inputs: Inputs) -> list[str]:
    """Return the paths and addresses that a user gave, as texts."""
    return [os.fspath(one) for one in ([inputs] if isinstance(inputs, str | os.PathLike) else inputs)]


def _choose_gpu(number: int) -> str:
    """Return the GPU with this number on this machine; the CPU if there is no GPU."""
    import torch

    return f"cuda:{number}" if torch.cuda.is_available() else "cpu"


@contextmanager
def open_bar(name: str, total: int, done: int = 0) -> "Iterator[Advance]":
    """Show a progress bar during the ``with`` block, if stderr is a terminal.

    Args:
        name: the work, such as ``embed``.
        total: number of images.
        done: number of images that were done before.
    """
    with tqdm(total=total, initial=done, unit=" images", desc=name, disable=None, leave=False) as bar:
        yield bar.update

"""One run of `reidhub.embed`: plan, embed the shards of this process, and report."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from shutil import rmtree
from typing import Self

from reidhub.errors import UsageError
from reidhub.executors.share import Share
from reidhub.inference import Embedder
from reidhub.retrieval.embed import Advance, ShardWorker, find_missing
from reidhub.retrieval.embedding_model import EmbeddingModel
from reidhub.retrieval.embeddings_folder import EmbeddingsFolder
from reidhub.retrieval.inputs.listing import list_inputs
from reidhub.retrieval.npz import check_size, write_npz
from reidhub.retrieval.plan import FOLDER, Plan, Shard
from reidhub.retrieval.planning import Planned, extend_plan
from reidhub.retrieval.ray_shards import RayCluster

_LISTED = 20  # unreadable images in a report

MakeModel = Callable[[], tuple[Embedder, EmbeddingModel]]
"""A function that loads the model, and describes it."""

OpenProgress = Callable[[int, int], AbstractContextManager[Advance]]
"""A function that shows the progress during a ``with`` block; it gets the number of images, and how many are done."""


@dataclass(frozen=True, slots=True)
class EmbedReport:
    """The result of a run of `reidhub.embed`.

    Args:
        output: the embeddings folder, or the ``.npz`` file.
        planned: number of images in all plans of the folder.
        new: number of images that this run has planned.
        changed: number of images whose files had changed. The embeddings of their shards are computed again.
        repeated: number of inputs that repeat an earlier input of this run; each image is embedded once.
        embedded: number of images that this run has embedded.
        shards: number of shards of the plans; each has up to 1,000 images.
        complete: number of these shards that have been embedded, by this process or by another one.
        unreadable: number of images of this part that could not be read; every run tries them again.
        reasons: path and reason of the first 20 unreadable images.
    """

    output: Path
    planned: int
    new: int
    changed: int
    repeated: int
    embedded: int
    shards: int
    complete: int
    unreadable: int
    reasons: tuple[tuple[str, str], ...]


def _check_folder(output: Path) -> None:
    """Check that a folder can become an embeddings folder: it is new, empty or one already.

    Raises:
        UsageError: it cannot.
    """
    hint = "give a new folder, or FILE.npz for a single file"
    if output.suffix == ".parquet" or output.is_file():
        raise UsageError(f"OUT is a folder, got the file {output}", hint=hint)
    if output.is_dir() and any(output.iterdir()) and not (output / FOLDER).exists():
        raise UsageError(f"{output} has other files, and no plan of `reidhub embed`", hint=hint)


def list_share(plan: Plan, share: Share) -> Iterator[Shard]:
    """Yield the shards of a plan that belong to a part."""
    return (shard for number, shard in enumerate(plan.shards()) if share.has(number))


@dataclass(slots=True)
class EmbedJob:
    """One run of `reidhub.embed`.

    Attributes:
        folder: the embeddings folder.
        share: the shards that this process does.
        npz: the ``.npz`` file to write; the folder is then removed at the end. None to keep the folder.
        planned: the numbers of inputs that planning has counted.
    """

    folder: EmbeddingsFolder
    share: Share
    npz: Path | None = None
    planned: Planned = field(default_factory=Planned)

    @classmethod
    def of(cls, output: Path, share: Share) -> Self:
        """Prepare a run.

        Args:
            output: the embeddings folder, or a ``.npz`` file.
            share: the shards that this process does.

        Raises:
            UsageError: the ``.npz`` file exists, or several processes would have to write it.
        """
        if output.suffix != ".npz":
            _check_folder(output)
            return cls(EmbeddingsFolder(output), share)
        if share.count > 1:
            raise UsageError(f"only one process can write {output}: this is {share}", hint="give a folder: -o FOLDER")
        if output.exists():
            raise UsageError(f"{output} exists", hint="remove it, or choose another name")
        return cls(EmbeddingsFolder(output.with_name(f"{output.name}.unfinished")), share, output)

    def extend_plan(self, inputs: Sequence[str], boxes: Path | None, *, update: bool) -> None:
        """Plan the inputs that no plan has; without inputs, check that the folder has a plan.

        Raises:
            DatasetError: an input is missing, a table has other columns, or files have changed.
            UsageError: there are neither inputs nor a plan.
            CacheError: the folder cannot be written.
        """
        if inputs or boxes:
            listed = list_inputs(inputs, boxes)
            self.planned = extend_plan(self.folder, listed, update=update, by_image=boxes is not None)
        if not self.folder.plan.files:
            found = "no image was found" if inputs or boxes else f"{self.folder.path} has no plan"
            raise UsageError(f"nothing to embed: {found}", hint="give a folder, files or a glob with images")

    def run(
        self,
        make_model: Callable[[], tuple[Embedder, EmbeddingModel]],
        open_progress: OpenProgress,
        cluster: RayCluster | None = None,
    ) -> EmbedReport:
        """Embed the images of this process that have no embedding yet.

        Args:
            make_model: loads the model, and describes it.
            open_progress: shows the progress.
            cluster: the Ray cluster that embeds the shards; None to embed them in this process.

        Raises:
            UsageError: the folder has embeddings of another model, or they are too many for a ``.npz`` file.
            CacheError: the folder cannot be written.
        """
        embedder, model = make_model()
        plan = self.folder.plan
        if self.npz:
            check_size(len(plan), embedder.dimensions)
        self.folder.claim(model)
        worker = ShardWorker(embedder, model, self.folder, plan)
        total = sum(shard.size for shard in list_share(plan, self.share))
        missing = sum(len(find_missing(self.folder, shard)) for shard in list_share(plan, self.share))
        with open_progress(total, total - missing) as advance:
            shards = list_share(plan, self.share)
            if cluster:
                embedded = cluster.embed(self.folder, shards, advance)
            else:
                embedded = sum(worker.embed(shard, advance) for shard in shards)
        report = self.report(embedded)
        if self.npz is None:
            return report
        write_npz(self.folder, self.npz)
        rmtree(self.folder.path)
        return replace(report, output=self.npz)

    def report(self, embedded: int = 0) -> EmbedReport:
        """Report on the run, and write the list of unreadable images.

        Args:
            embedded: number of images that this run has embedded.

        Raises:
            CacheError: the folder cannot be written.
        """
        folder = self.folder
        folder.write_unreadable()
        plan = folder.plan
        failed = (one for shard in list_share(plan, self.share) for one in folder.list_unreadable(shard))
        listed = list(islice(failed, _LISTED))
        complete = [folder.is_complete(shard) for shard in plan.shards()]
        return EmbedReport(
            output=folder.path,
            planned=len(plan),
            new=self.planned.new,
            changed=self.planned.changed,
            repeated=self.planned.repeated,
            embedded=embedded,
            shards=len(complete),
            complete=sum(complete),
            unreadable=len(listed) + sum(1 for _ in failed),
            reasons=tuple((one.path, one.reason) for one in listed),
        )

"""The value types of the zoo, such as `Checkpoint`; all are immutable.

A MAC is the checksum of a file's content that the file's Mega link contains.
"""

from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Literal

from reidhub.files.digest import Digest

METRICS = ("rank1", "rank5", "rank10", "mAP", "top1", "top5")
"""Every metric of a `Score`, in the order in which the published tables print them; all are percentages."""


@dataclass(frozen=True, slots=True)
class Source:
    """A place from which a file can be downloaded.

    Args:
        kind: key of the source registry: ``mega``, ``gdrive``, ``https`` or ``local``.
        location: the full URL; a ``file:`` URL for ``local``.
    """

    kind: str
    location: str


@dataclass(frozen=True, slots=True)
class Artifact:
    """The published file of a checkpoint.

    Args:
        digest: sha256 of the file. None if it is not known; the file is then *unpinned*.
        size: bytes; None if not known.
        sources: places of the file, in the order in which they are tried.
        evidence: where digest and size come from.
        sha256_prefix: first digits of a sha256, which the author wrote into the file's name. They are only shown to
            users; no file is compared with them.
        original_file: the file's name as its author published it. Other hosts offer the file under this name.
    """

    digest: Digest | None
    size: int | None
    sources: tuple[Source, ...]
    evidence: str | None = None
    sha256_prefix: str | None = None
    original_file: str | None = None

    @property
    def pinned(self) -> bool:
        """True if the sha256 is known."""
        return self.digest is not None

    @property
    def mega_link(self) -> str | None:
        """The Mega link among the sources; None if there is none. Its MAC can check the file from any source."""
        return next((source.location for source in self.sources if source.kind == "mega"), None)

    @property
    def checked_by(self) -> Literal["sha256", "mega-mac", "nothing"]:
        """What a downloaded file is compared with, the same for all sources: its sha256, a MAC, or nothing."""
        if self.pinned:
            return "sha256"
        return "mega-mac" if self.mega_link else "nothing"


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """The model to build.

    Args:
        architecture: key of the architecture registry.
        num_classes: rows of the classifier; None if not published; then the number is read from the file.
    """

    architecture: str
    num_classes: int | None


@dataclass(frozen=True, slots=True)
class StateDictLayout:
    """How a published file wraps its tensors; None for a field that reidhub has to find out from the file.

    Args:
        root: key of the mapping with the tensors; ``""`` if the top level of the file is this mapping.
        strip_prefix: prefix to remove from every tensor's name; ``""`` if there is none.
        encoding: text encoding of byte strings written by Python 2.
    """

    root: str | None = None
    strip_prefix: str | None = None
    encoding: Literal["ascii", "latin1"] = "latin1"


@dataclass(frozen=True, slots=True)
class InputSpec:
    """How images are prepared for a checkpoint: RGB in [0, 1], resized to (height, width), then (x - mean) / std.

    Args:
        height: height in pixels.
        width: width in pixels.
        mean: one number each for red, green and blue.
        std: one number each for red, green and blue.
        interpolation: method of the resizing.
    """

    height: int
    width: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: Literal["bilinear"]


@dataclass(frozen=True, slots=True)
class Score:
    """The published figures of one checkpoint on one dataset.

    Args:
        dataset: the dataset that the model was tested on, a key of the dataset registry.
        values: metric -> percentage as printed ("94.2").
        source: where the figures are printed.
        not_comparable: why a measurement with reidhub cannot confirm or refute the figures; None if a measurement
            can.
    """

    dataset: str
    values: dict[str, str]
    source: str
    not_comparable: str | None = None

    def decimal(self, metric: str) -> Decimal:
        """The printed figure as an exact number with the printed number of decimals."""
        return Decimal(self.values[metric])


@dataclass(frozen=True, slots=True)
class Complexity:
    """The cost of one image's embedding, as `reidhub.complexity` counts it.

    Args:
        params: parameters of the modules that are used, each counted once.
        params_by_calls: the same, but a module that is called several times counts once per call, as in the published
            tables. The two numbers differ in hacnn (2.9 and 4.5 million), because its four local branches share their
            blocks, and slightly in OSNet, because its streams share a gate.
        multiply_adds: multiply-adds for one image. The published tables call 10^9 of them a GFLOP.
    """

    params: int
    params_by_calls: int
    multiply_adds: int


@dataclass(frozen=True, slots=True)
class Architecture:
    """An architecture as the manifest describes it.

    Args:
        name: key of the architecture registry.
        paper: title and arXiv id.
        starts_from: the weights that re-ID training starts from: the name of a checkpoint, ``torchvision:`` and the
            name of a weights enum, or ``scratch``.
        printed_params: how the printed number of parameters counts a block that is called several times: ``calls``
            once per call, ``distinct`` once.
        computed: the cost at the architecture's own input size, as counted by `reidhub.complexity`; None if not known.
        manifest: ``file:line`` of the entry.
    """

    name: str
    paper: str
    starts_from: str
    printed_params: Literal["distinct", "calls"] = "distinct"
    computed: Complexity | None = None
    manifest: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A trained file and everything known about it.

    Args:
        name: ``architecture.tag``; the tag tells what it was trained on.
        spec: the model to build.
        trained_on: the training datasets, keys of the dataset registry.
        combineall: True if the training used the train, query and gallery images of the dataset.
        from_scratch: True if the published tables say that the training did not start from ImageNet weights.
        artifact: the file.
        layout: how the file wraps its tensors.
        input: how images are prepared for it.
        distance: the distance that its scores were computed with; for ImageNet weights, the distance that the
            published tables use for this architecture.
        params_m: parameters used at test time, in millions, as printed; None if not printed.
        gflops: multiply-adds of one image in 10^9, as printed; None if not printed.
        loss: training loss; None if not published.
        transforms: training augmentation, in the words of the published tables.
        scores: one per dataset that the checkpoint was tested on.
        licence: licence and terms of use of the weights.
        notices: sentences that every user should read, for example about a withdrawn dataset.
        manifest: ``file:line`` of its entry in the manifest.
    """

    name: str
    spec: ModelSpec
    trained_on: tuple[str, ...]
    combineall: bool
    from_scratch: bool
    artifact: Artifact
    layout: StateDictLayout
    input: InputSpec
    distance: Literal["euclidean", "cosine"]
    params_m: str | None
    gflops: str | None
    loss: str | None
    transforms: tuple[str, ...]
    scores: tuple[Score, ...]
    licence: str
    notices: tuple[str, ...] = ()
    manifest: str = field(default="", compare=False)

    @property
    def model(self) -> str:
        """The architecture: the part of ``name`` before the dot."""
        return self.spec.architecture

    @property
    def tag(self) -> str:
        """The part of ``name`` after the dot."""
        return self.name.rpartition(".")[2]

    @property
    def file_name(self) -> str:
        """File name for a copy: the checkpoint's name with the author's suffix. It never comes from a server."""
        suffix = "".join(PurePosixPath(self.artifact.original_file or "").suffixes[-2:])
        return self.name + (suffix if suffix in {".pth", ".pth.tar", ".pyth"} else ".pth")

"""The value types of the zoo: what a checkpoint is, said once and never changed."""

from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Literal

from reidhub.files.digest import Digest

METRICS = ("rank1", "rank5", "rank10", "mAP", "top1", "top5")
"""Every metric a score set can hold, in the order tables print them; all are percentages."""


@dataclass(frozen=True, slots=True)
class Source:
    """One place the bytes of a file may come from.

    Args:
        kind: a key of the source registry: ``mega``, ``gdrive``, ``https`` or ``local``.
        location: the full URL, or for ``local`` a ``file:`` URL.
    """

    kind: str
    location: str


@dataclass(frozen=True, slots=True)
class Artifact:
    """The published file of a checkpoint; its identity is the digest, its sources are advice.

    Args:
        digest: the sha256, or None where none is known: the file is then *unpinned*.
        size: bytes, where known.
        sources: in the order in which they are tried.
        evidence: where digest and size come from.
        sha256_prefix: the first digits the author put into the file's name; a hint, never a check.
        original_file: the author's file name, under which other hosts republish the file.
    """

    digest: Digest | None
    size: int | None
    sources: tuple[Source, ...]
    evidence: str | None = None
    sha256_prefix: str | None = None
    original_file: str | None = None

    @property
    def pinned(self) -> bool:
        """True where the sha256 is known."""
        return self.digest is not None

    @property
    def mega_link(self) -> str | None:
        """The Mega link among the sources; its key carries a MAC of the content, whoever delivers it."""
        return next((source.location for source in self.sources if source.kind == "mega"), None)

    @property
    def held_to(self) -> Literal["sha256", "mega-mac", "nothing"]:
        """What the bytes are held to, whichever source they come from."""
        if self.pinned:
            return "sha256"
        return "mega-mac" if self.mega_link else "nothing"


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What to build: an architecture of the registry and its classifier's width (None: as the file has it)."""

    architecture: str
    num_classes: int | None


@dataclass(frozen=True, slots=True)
class StateDictLayout:
    """How a published file wraps its tensors, where that is known; unset parts are found out from the file.

    Args:
        root: key under which the tensors lie, ``""`` for a bare mapping, None where not known.
        strip_prefix: what stands before every key, ``""`` for nothing, None where not known.
        encoding: of byte strings written by Python 2.
    """

    root: str | None = None
    strip_prefix: str | None = None
    encoding: Literal["ascii", "latin1"] = "latin1"


@dataclass(frozen=True, slots=True)
class InputSpec:
    """What pixels the checkpoint wants: RGB in [0, 1], resized to (height, width), then (x - mean) / std."""

    height: int
    width: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: Literal["bilinear"]


@dataclass(frozen=True, slots=True)
class Score:
    """The reported figures of one checkpoint on one dataset.

    Args:
        dataset: key of the dataset registry the model was tested on.
        values: metric -> percentage as printed ("94.2"); the printed digits are the claim.
        source: where the figures are printed.
        not_comparable: why a measurement made here cannot confirm or refute the figures; None where it can.
    """

    dataset: str
    values: dict[str, str]
    source: str
    not_comparable: str | None = None

    def decimal(self, metric: str) -> Decimal:
        """The printed figure as an exact number; its exponent says how many digits are claimed."""
        return Decimal(self.values[metric])


@dataclass(frozen=True, slots=True)
class Complexity:
    """The cost of one image's embedding, as `reidhub.complexity` counts it.

    Args:
        params: parameters of the modules that are used, each counted once.
        params_by_calls: the same, but a module that is called several times counts once per call. The printed figures
            are these. The two differ in hacnn (2.9 and 4.5 million), whose four local branches share their blocks, and
            slightly in OSNet, whose streams share a gate.
        multiply_adds: of one image. The tables call 10^9 of them a GFLOP.
    """

    params: int
    params_by_calls: int
    multiply_adds: int


@dataclass(frozen=True, slots=True)
class Architecture:
    """What the manifest says of an architecture as a whole.

    Args:
        name: key of the architecture registry.
        paper: title and arXiv id.
        starts_from: what its re-ID training starts from: the name of a checkpoint, ``torchvision:`` and the name of
            a weights enum, or ``scratch``.
        printed_params: ``calls`` where the printed number of parameters counts a block once per call, else
            ``distinct``.
        computed: its cost at its own input size, counted on the package's own code; None where nobody counted.
        manifest: file and line of the entry.
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
        name: ``architecture.tag``; the tag says what it was trained on.
        spec: what to build.
        trained_on: keys of the dataset registry.
        combineall: True where train, query and gallery were all used for training.
        from_scratch: True where the tables mark the training as not started from ImageNet weights.
        artifact: the file.
        layout: how the file wraps its tensors.
        input: the pixels it wants at re-ID time.
        distance: what its scores were computed with; of ImageNet weights: what the tables use for the architecture.
        params_m: parameters used at test time, in millions, as printed; None where not printed.
        gflops: multiply-adds of one image in 10^9, as printed; None where not printed.
        loss: training loss; None where not published.
        transforms: training augmentation, in the tables' words.
        scores: one per dataset tested on.
        licence: licence and terms of use of the weights.
        notices: what every user has to be told, such as a withdrawn dataset.
        manifest: file and line of the entry.
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
        """The architecture's name: the part of ``name`` before the last dot."""
        return self.spec.architecture

    @property
    def tag(self) -> str:
        """The part of ``name`` behind the last dot."""
        return self.name.rpartition(".")[2]

    @property
    def file_name(self) -> str:
        """Name for a copy handed to a user; made from the checkpoint's name, never from what a host says."""
        suffix = "".join(PurePosixPath(self.artifact.original_file or "").suffixes[-2:])
        return self.name + (suffix if suffix in {".pth", ".pth.tar", ".pyth"} else ".pth")

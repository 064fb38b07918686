"""The types of the values in the manifest, such as `Checkpoint`; all are immutable."""

from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import Literal
from urllib.parse import urlsplit

from reidhub.zoo.artifact import Artifact, StateDictLayout

IMAGENET = "imagenet"
"""The training dataset of the weights that training starts from; such weights cannot tell people apart."""

METRICS = ("rank1", "rank5", "rank10", "mAP", "mINP", "top1", "top5")
"""Every metric of a `Score`, in the order in which the published tables print them; all are percentages."""

Interpolation = Literal["bilinear", "bicubic"]
"""The name of the filter with which PIL resizes images; PIL's filters are antialiased."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """The architecture and size of the model that a checkpoint belongs to.

    Args:
        architecture: name of the architecture.
        num_classes: rows of the classifier. None if not published; the number is then read from the file.
    """

    architecture: str
    num_classes: int | None


@dataclass(frozen=True, slots=True)
class InputSpec:
    """How images are prepared for a checkpoint: RGB in [0, 1], resized to (height, width), then (x - mean) / std.

    Args:
        height: height in pixels.
        width: width in pixels.
        mean: three numbers, for red, green and blue.
        std: three numbers, for red, green and blue.
        interpolation: PIL's filter for resizing.
    """

    height: int
    width: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: Interpolation


@dataclass(frozen=True, slots=True)
class Score:
    """The published scores of one checkpoint on one dataset.

    Args:
        dataset: name of the dataset that the model was tested on.
        values: metric -> published percentage as text, such as "94.2".
        source: where the scores are published.
        not_comparable: the reason why scores that reidhub measures cannot be compared with these; None if they can.
    """

    dataset: str
    values: dict[str, str]
    source: str
    not_comparable: str | None = None

    def decimal(self, metric: str) -> Decimal:
        """Return the published score of a metric as an exact number, with all published decimals.

        Raises:
            KeyError: no score of this metric is published.
        """
        return Decimal(self.values[metric])


@dataclass(frozen=True, slots=True)
class IndependentMeasurement:
    """Scores of one checkpoint on one dataset that other people measured, by the same protocol as the published scores.

    Args:
        dataset: name of the dataset that the model was tested on.
        values: metric -> measured percentage as text, with the digits that were reported, such as "94.36".
        who: who measured them.
        how: how they were measured: distance, number of images, evaluation code.
        source: where the scores were published.
    """

    dataset: str
    values: dict[str, str]
    who: str
    how: str
    source: str


@dataclass(frozen=True, slots=True)
class Complexity:
    """The cost of computing the embedding of one image, as `reidhub.complexity` counts it.

    Args:
        params: parameters of the modules that compute the embedding, each counted once.
        params_by_calls: the same parameters, but a module that is called several times counts once for each call, as in
            some published tables. The two numbers differ in hacnn (2.9 and 4.5 million), because its four local
            branches share their blocks. They differ slightly in OSNet, because its streams share a gate.
        multiply_adds: number of multiply-adds. The published tables call 10^9 of them a GFLOP.
    """

    params: int
    params_by_calls: int
    multiply_adds: int


@dataclass(frozen=True, slots=True)
class Architecture:
    """An architecture as the manifest describes it.

    Args:
        name: name of the architecture, such as ``osnet_x1_0``.
        paper: title and arXiv id.
        starts_from: the weights with which re-ID training starts: the name of a checkpoint, ``torchvision:`` and the
            name of a weights enum, or ``scratch`` for random weights. None if the manifest does not say.
        input: how images are prepared for its checkpoints; a checkpoint's own entry in the manifest can differ.
        default: the name of the checkpoint to use if the user gives only the architecture's name; None if the manifest
            sets no default.
        printed_params: how the published table counts the parameters of a block that is called several times:
            ``calls`` means once for each call, ``distinct`` means once.
        computed: the cost at the architecture's own input size, as counted by `reidhub.complexity`; None if not known.
        manifest: ``file:line`` of its entry in the manifest.
    """

    name: str
    paper: str
    starts_from: str | None
    input: InputSpec
    default: str | None = None
    printed_params: Literal["distinct", "calls"] = "distinct"
    computed: Complexity | None = None
    manifest: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A file with a trained model, and everything that is known about it.

    Args:
        name: ``architecture.tag``; the tag names the training data.
        spec: architecture and size of the model.
        trained_on: names of the training datasets; empty if they are not known.
        combineall: True if the training used the train, query and gallery images of the dataset.
        from_scratch: True if, according to the published tables, the training did not start from ImageNet weights.
        artifact: the file.
        layout: how the file stores its tensors.
        input: how images are prepared for it.
        distance: the distance with which its published scores were computed; Euclidean if that is not known. For
            ImageNet weights, it is the distance that the published tables use for this architecture.
        params_m: published number of parameters used at test time, in millions, as text; None if not published.
        gflops: published number of multiply-adds for one image, in 10^9, as text; None if not published.
        loss: training loss; None if not published.
        transforms: training augmentation, in the words of the published tables.
        scores: one per dataset that the checkpoint was tested on.
        licence: licence and terms of use of the weights; ``not stated`` if they are not known.
        notices: sentences that every user should read, for example about a withdrawn dataset.
        measured_elsewhere: scores that other people measured.
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
    measured_elsewhere: tuple[IndependentMeasurement, ...] = ()
    manifest: str = field(default="", compare=False)

    @property
    def model(self) -> str:
        """The name of the architecture, which is the part of ``name`` before the dot."""
        return self.spec.architecture

    @property
    def tag(self) -> str:
        """The part of ``name`` after the dot."""
        return self.name.rpartition(".")[2]

    @property
    def for_reid(self) -> bool:
        """False for weights that were trained on ImageNet alone, which cannot tell people apart."""
        return self.trained_on != (IMAGENET,)

    def find_domain(self, score: Score) -> Literal["same", "cross"]:
        """Return ``same`` if the checkpoint was trained on the dataset of a score, else ``cross``.

        The name of a part of a dataset starts with the dataset's name: ``vehicleid_small`` is a part of ``vehicleid``.
        """
        same = any(score.dataset == name or score.dataset.startswith(f"{name}_") for name in self.trained_on)
        return "same" if same else "cross"

    @property
    def file_name(self) -> str:
        """The file name of a copy, for example in a mirror.

        It is the checkpoint's name with the suffix of the author's file, or with ``.pth`` if that suffix is unusual. If
        the author's name for the file is not known, the suffix is that of the first source.
        """
        author = self.artifact.original_file or urlsplit(self.artifact.sources[0].location).path
        suffix = "".join(PurePosixPath(author).suffixes[-2:])
        return self.name + (suffix if suffix in {".pth", ".pth.tar", ".pyth", ".safetensors"} else ".pth")


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnCheckpoint(Checkpoint):
    """A checkpoint whose file the user gave by its path. It is used where it lies, and never copied into the cache.

    Args:
        path: the file, as the user gave it.
    """

    path: Path

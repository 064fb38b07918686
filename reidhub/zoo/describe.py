"""Facts about a checkpoint, in words and as data for JSON."""

from dataclasses import asdict
from typing import Any

from reidhub.zoo.artifact import Grade
from reidhub.zoo.checkpoint import METRICS, Checkpoint, Complexity, IndependentMeasurement, Score
from reidhub.zoo.manifest import zoo

_CHECKS = {
    "sha256": "sha256",
    "mega-mac": "unpinned (Mega MAC)",
    "nothing": "unpinned",
}


def name_metric(metric: str) -> str:
    """Return the name of a metric for people, such as ``rank-1`` for ``rank1``."""
    return metric.replace("rank", "rank-").replace("top", "top-")


def describe_file(checkpoint: Checkpoint) -> str:
    """Return how a file is checked: ``sha256``, ``unpinned (Mega MAC)``, or ``unpinned`` if no checksum is known."""
    return _CHECKS[checkpoint.artifact.checked_by]


def find_grade(checkpoint: Checkpoint) -> Grade | None:
    """Return how good the evidence for the sha256 is; None if nobody has graded it, or if no sha256 is known."""
    return checkpoint.artifact.grade if checkpoint.artifact.pinned else None


def write_unpinned_notice(checkpoint: Checkpoint) -> str | None:
    """Return a notice that says that the sha256 of a checkpoint's file is not known; None if it is known."""
    checked_by = checkpoint.artifact.checked_by
    if checked_by == "sha256":
        return None
    if checked_by == "mega-mac":
        return f"{checkpoint.name} is unpinned: no sha256 is known; its file is checked by the MAC in its Mega link"
    if all(source.kind == "local" for source in checkpoint.artifact.sources):
        return f"{checkpoint.name} is unpinned: its sha256 is not known, so reidhub loads whatever the file holds"
    return f"{checkpoint.name} is unpinned: neither sha256 nor MAC is known, so its host could send any file"


def find_cost(checkpoint: Checkpoint) -> Complexity | None:
    """Find the computed cost of the checkpoint's architecture; None if the manifest does not contain the cost.

    The multiply-adds are those at the architecture's own image size; see `has_usual_size`.
    """
    architecture = zoo().architecture(checkpoint.model)
    return architecture.computed if architecture else None


def has_usual_size(checkpoint: Checkpoint) -> bool:
    """Return True if the checkpoint's images have the size of its architecture's images."""
    architecture, own = zoo().architecture(checkpoint.model), checkpoint.input
    usual = architecture.input if architecture else own
    return (usual.height, usual.width) == (own.height, own.width)


def find_params_m(checkpoint: Checkpoint) -> str | None:
    """Return the number of parameters in millions: as published, else as computed; None if neither is known."""
    computed = find_cost(checkpoint)
    return checkpoint.params_m or (f"{computed.params / 1e6:.1f}" if computed else None)


def find_gflops(checkpoint: Checkpoint) -> str | None:
    """Return the multiply-adds for one image in 10^9: as published, else as computed; None if neither is known."""
    computed = find_cost(checkpoint) if has_usual_size(checkpoint) else None
    return checkpoint.gflops or (f"{computed.multiply_adds / 1e9:.2f}" if computed else None)


def describe_purpose(checkpoint: Checkpoint) -> str:
    """Return one or two sentences that say what the model is for."""
    if not checkpoint.for_reid:
        return "ImageNet weights, which cannot tell people apart: training for re-identification starts from them."
    return (
        "Person re-identification: the model maps the image of a person to an embedding, a vector. "
        "Embeddings of one person are near to each other."
    )


def describe_preprocessing(checkpoint: Checkpoint) -> str:
    """Return sentences that say how images are prepared for a checkpoint."""
    spec = checkpoint.input
    return (
        f"An image of one person, in RGB, is resized to {spec.height} x {spec.width} (height x width) with PIL's "
        f"{spec.interpolation} filter, without keeping its proportions. Pixels are divided by 255. Then the mean "
        f"{list(spec.mean)} is subtracted, and the result is divided by {list(spec.std)} (red, green, blue)."
    )


def describe_training_data(checkpoint: Checkpoint) -> str:
    """Return the training datasets, such as ``msmt17 (all images of it)``."""
    return (" + ".join(checkpoint.trained_on) or "not known") + (" (all images of it)" if checkpoint.combineall else "")


def describe_parameters(checkpoint: Checkpoint) -> str:
    """Return the number of parameters: as published, and as computed from the architecture."""
    architecture, computed = zoo().architecture(checkpoint.model), find_cost(checkpoint)
    by_calls = architecture is not None and architecture.printed_params == "calls"
    how = ", which counts a shared block once per call" if by_calls else ""
    reported = f"reported {checkpoint.params_m} M{how}" if checkpoint.params_m else "not reported"
    if not computed:
        return reported
    if computed.params == computed.params_by_calls:
        return f"{reported}; computed {computed.params:,}"
    shared = f"or {computed.params_by_calls:,} if a shared block counts once per call"
    return f"{reported}; computed {computed.params:,}, {shared}"


def describe_gflops(checkpoint: Checkpoint) -> str:
    """Return the multiply-adds for one image in 10^9: as published, and as computed from the architecture."""
    computed = find_cost(checkpoint)
    reported = f"reported {checkpoint.gflops}" if checkpoint.gflops else "not reported"
    if not computed:
        return reported
    if not has_usual_size(checkpoint):
        return f"{reported}; not computed for this image size"
    return f"{reported}; computed {computed.multiply_adds / 1e9:.3f} ({computed.multiply_adds:,} multiply-adds)"


def make_json(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return everything known about a checkpoint as data for JSON.

    Published numbers are strings, as the authors wrote them, such as ``"87.0"``.
    """
    artifact, spec = checkpoint.artifact, checkpoint.input
    return {
        "name": checkpoint.name,
        "model": checkpoint.model,
        "trained_on": list(checkpoint.trained_on),
        "combineall": checkpoint.combineall,
        "from_scratch": checkpoint.from_scratch,
        "num_classes": checkpoint.spec.num_classes,
        "sources": [{"kind": source.kind, "location": source.location} for source in artifact.sources],
        "sha256": artifact.digest.hex if artifact.digest else None,
        "size": artifact.size,
        "expected_size": list(artifact.expected_size),
        "grade": artifact.grade,
        "evidence": artifact.evidence,
        "sha256_prefix": artifact.sha256_prefix,
        "original_file": artifact.original_file,
        "file": describe_file(checkpoint),
        "input": {"height": spec.height, "width": spec.width},
        "interpolation": spec.interpolation,
        "normalisation": {"mean": list(spec.mean), "std": list(spec.std)},
        "distance": checkpoint.distance,
        "params_m": checkpoint.params_m,
        "gflops": checkpoint.gflops,
        "computed": _make_cost_json(checkpoint),
        "loss": checkpoint.loss,
        "transforms": list(checkpoint.transforms),
        "scores": [_make_score_json(checkpoint, score) for score in checkpoint.scores],
        "measured_elsewhere": [_make_measurement_json(one) for one in checkpoint.measured_elsewhere],
        "licence": checkpoint.licence,
        "notices": list(checkpoint.notices),
    }


def _make_cost_json(checkpoint: Checkpoint) -> dict[str, int | None] | None:
    """Return the computed cost; the multiply-adds are None if they were computed for images of another size."""
    if (computed := find_cost(checkpoint)) is None:
        return None
    return asdict(computed) | ({} if has_usual_size(checkpoint) else {"multiply_adds": None})


def _make_measurement_json(one: IndependentMeasurement) -> dict[str, Any]:
    figures = {metric: one.values.get(metric) for metric in METRICS}
    return {"dataset": one.dataset, **figures, "who": one.who, "how": one.how, "source": one.source}


def _make_score_json(checkpoint: Checkpoint, score: Score) -> dict[str, Any]:
    return {
        "dataset": score.dataset,
        "domain": checkpoint.find_domain(score),
        **{metric: score.values.get(metric) for metric in METRICS},
        "source": score.source,
        "not_comparable": score.not_comparable,
    }

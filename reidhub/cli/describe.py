"""A checkpoint in the words and the JSON of the commands."""

from dataclasses import asdict
from typing import Any

from reidhub.zoo.checkpoint import METRICS, Checkpoint, Complexity, Score
from reidhub.zoo.manifest import zoo

_KNOWN = {
    "sha256": "sha256",
    "mega-mac": "unpinned (Mega MAC)",
    "nothing": "unpinned",
}


def file_state(checkpoint: Checkpoint) -> str:
    """What is known of the file: ``sha256``, or ``unpinned`` with what else its bytes can be held to."""
    return _KNOWN[checkpoint.artifact.checked_by]


def unpinned_notice(checkpoint: Checkpoint) -> str | None:
    """One sentence that tells a user what an unpinned file means; None for a pinned one."""
    known = checkpoint.artifact.checked_by
    if known == "sha256":
        return None
    if known == "mega-mac":
        return f"{checkpoint.name} is unpinned: no sha256 is known; its bytes are held to the MAC in its Mega link"
    return f"{checkpoint.name} is unpinned: neither a sha256 nor a MAC is known; its bytes are trusted to its host"


def score_text(score: Score) -> str:
    """The figures in the tables' form: ``market1501 94.2 (82.6)`` is rank-1 (mAP)."""
    values = score.values
    if "mAP" in values:
        return f"{score.dataset} {values['rank1']} ({values['mAP']})" if "rank1" in values else f"mAP {values['mAP']}"
    return f"{score.dataset} " + " / ".join(values.values())


def computed_cost(checkpoint: Checkpoint) -> Complexity | None:
    """The computed cost of the checkpoint's architecture; None where the manifest does not have it."""
    architecture = zoo().architecture(checkpoint.model)
    return architecture.computed if architecture else None


def as_json(checkpoint: Checkpoint) -> dict[str, Any]:
    """Everything known of a checkpoint, for programs; figures stay the printed text."""
    artifact, computed = checkpoint.artifact, computed_cost(checkpoint)
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
        "evidence": artifact.evidence,
        "sha256_prefix": artifact.sha256_prefix,
        "original_file": artifact.original_file,
        "file": file_state(checkpoint),
        "input": {"height": checkpoint.input.height, "width": checkpoint.input.width},
        "normalisation": {"mean": list(checkpoint.input.mean), "std": list(checkpoint.input.std)},
        "distance": checkpoint.distance,
        "params_m": checkpoint.params_m,
        "gflops": checkpoint.gflops,
        "computed": asdict(computed) if computed else None,
        "loss": checkpoint.loss,
        "transforms": list(checkpoint.transforms),
        "scores": [_score_json(score) for score in checkpoint.scores],
        "licence": checkpoint.licence,
        "notices": list(checkpoint.notices),
    }


def _score_json(score: Score) -> dict[str, Any]:
    figures = {metric: score.values.get(metric) for metric in METRICS}
    return {"dataset": score.dataset, **figures, "source": score.source, "not_comparable": score.not_comparable}

"""Writes model cards: the page of a checkpoint on a model hub, as Markdown with a header in YAML.

Names, notices and receipts may come from others, so each text is escaped before it gets into the page.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from reidhub.errors import UsageError
from reidhub.files.digest import Digest
from reidhub.files.markdown import escape_markdown, write_markdown
from reidhub.files.sniff import make_printable
from reidhub.models import build
from reidhub.verification.comparison import Retrieval
from reidhub.verification.plan import CLASSIFICATION
from reidhub.verification.receipt_reader import read_receipt
from reidhub.zoo.checkpoint import METRICS, Checkpoint
from reidhub.zoo.describe import describe_preprocessing, describe_purpose, describe_training_data, name_metric
from reidhub.zoo.hub_folder import LONGEST_TEXT, choose_title
from reidhub.zoo.manifest import comes_with_package, zoo

LICENCE_FILE = "LICENSE.md"
"""Name of the file with the licence in a folder for a hub; the header of the card names it."""

KNOWN_TO_REID = ("osnet_x0_25", "osnet_x0_5", "osnet_x0_75", "osnet_x1_0")
"""The architectures of the zoo that the package ``reid`` can build, version 0.1.0rc1 (its ``list_architectures()``)."""

_ADDRESS = "hf://ORG/NAME@COMMIT"


@dataclass(frozen=True, slots=True)
class _Scores:
    """Scores of a checkpoint on one dataset, and where they come from.

    Args:
        dataset: key of the dataset.
        origin: ``reported``, ``by others`` or ``measured``.
        values: metric -> percentage as text.
        note: source or conditions.
    """

    dataset: str
    origin: str
    values: dict[str, str]
    note: str


def read_measured(checkpoint: Checkpoint, receipts: Sequence[Path], digest: Digest | None) -> list[Retrieval]:
    """Read the results of a checkpoint from receipts.

    Args:
        checkpoint: the checkpoint.
        receipts: the receipts; each must have a result of the checkpoint.
        digest: sha256 of the checkpoint's file; the results must have the same. If it is None, the name of the
            checkpoint is compared instead.

    Raises:
        UsageError: a receipt cannot be read, or has no result of this file.
    """
    found: list[Retrieval] = []
    for receipt in receipts:
        results = [one for one in read_receipt(receipt) if one.average_precision]
        own = [one for one in results if (one.sha256 == digest.hex if digest else one.checkpoint == checkpoint.name)]
        if not own:
            names = ", ".join(dict.fromkeys(f"{one.checkpoint} (sha256 {one.sha256[:8]}...)" for one in results))
            wanted = f"{checkpoint.name} (sha256 {digest.short}...)" if digest else checkpoint.name
            raise UsageError(f"the receipt {receipt} has no retrieval of {wanted}", hint=f"it has: {names or 'none'}")
        found += own
    return found


def write_card(checkpoint: Checkpoint, measured: Sequence[Retrieval] = ()) -> str:
    """Write the model card of a checkpoint.

    Args:
        checkpoint: the checkpoint.
        measured: results of its file, as `read_measured` returns them.

    Returns:
        A header in YAML between two lines ``---``, then Markdown.
    """
    scores = [*_list_published(checkpoint), *_list_measured(measured)]
    header = yaml.safe_dump(_make_header(checkpoint, scores), sort_keys=False, allow_unicode=True, width=100)
    title = clean_text(choose_title(checkpoint))
    parts = [
        f"---\n{header}---",
        f"# {escape_markdown(title)}",
        _write_summary(checkpoint),
        "## Scores",
        _write_scores(scores),
        "## Use it",
        _write_usage(checkpoint),
        "## Preprocessing",
        describe_preprocessing(checkpoint),
        write_licence(checkpoint, level=2),
    ]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def write_licence(checkpoint: Checkpoint, *, level: int = 1) -> str:
    """Write licence and notices of the weights as Markdown, with a heading of this level."""
    notices = [f"- {escape_markdown(clean_text(notice))}" for notice in checkpoint.notices]
    stated = f"Licence and terms of use of the weights: {escape_markdown(clean_text(checkpoint.licence))}."
    parts = [f"{'#' * level} Licence and notices", stated, "The weights belong to their authors.", "\n".join(notices)]
    return "\n\n".join(part for part in parts if part)


def clean_text(text: str) -> str:
    """Put a text on one line, without unprintable characters, and cut it after `LONGEST_TEXT` characters."""
    return make_printable(text, LONGEST_TEXT)


def _list_published(checkpoint: Checkpoint) -> Iterator[_Scores]:
    for score in checkpoint.scores:
        unlike = f"; not comparable: {score.not_comparable}" if score.not_comparable else ""
        yield _Scores(score.dataset, "reported", score.values, score.source + unlike)
    for one in checkpoint.measured_elsewhere:
        yield _Scores(one.dataset, "by others", one.values, f"{one.who}; {one.how}; {one.source}")


def _list_measured(measured: Sequence[Retrieval]) -> Iterator[_Scores]:
    for one in measured:
        conditions = [
            f"{one.conditions['distance']} distance",
            f"precision {one.conditions['precision']}",
            *(["re-ranked"] if one.conditions["rerank"] else []),
            *(["cameras ignored"] if one.conditions["cameras"] == "ignore" else []),
            *([f"incomplete copy: {one.partial}"] if one.partial else []),
            f"file with sha256 {one.sha256}",
        ]
        values = {metric: f"{value:.2f}" for metric, value in one.percentages.items()}
        yield _Scores(one.dataset, "measured", values, "; ".join(conditions))


def _make_header(checkpoint: Checkpoint, scores: Sequence[_Scores]) -> dict[str, Any]:
    """Return the fields of the card's header, as the Hugging Face Hub defines them."""
    title = clean_text(choose_title(checkpoint))
    tags = ["person-re-identification", "re-id", "reidhub", checkpoint.model]
    results = [_make_result(one) for one in scores if one.origin != "by others"]
    return {
        "library_name": "reidhub",
        "pipeline_tag": "image-feature-extraction",
        "license": "other",
        "license_name": _name_licence(checkpoint.licence),
        "license_link": LICENCE_FILE,
        "tags": list(dict.fromkeys(tags)),
        **({"model-index": [{"name": title, "results": results}]} if results else {}),
    }


def _name_licence(licence: str) -> str:
    """Return the words before the first semicolon of a licence, with the characters that a hub allows in a name."""
    short = licence.partition(";")[0].lower()
    return re.sub(r"[^a-z0-9.]+", "-", short)[:64].strip("-.") or "not-stated"


def _make_result(scores: _Scores) -> dict[str, Any]:
    """Return one entry of ``model-index``; each metric's name says whether it is reported or measured."""
    by = "reported by the authors" if scores.origin == "reported" else "measured with reidhub"
    task = "image-classification" if scores.dataset == CLASSIFICATION else "image-feature-extraction"
    dataset = clean_text(scores.dataset)
    return {
        "task": {"type": task, "name": "Person re-identification" if task != "image-classification" else "ImageNet"},
        "dataset": {"type": dataset, "name": dataset},
        "metrics": [
            {"type": metric, "value": float(scores.values[metric]), "name": f"{name_metric(metric)}, {by}"}
            for metric in METRICS
            if metric in scores.values
        ],
    }


def _write_summary(checkpoint: Checkpoint) -> str:
    """Write what the model is, as two sentences and a table."""
    architecture = zoo().architecture(checkpoint.model)
    classes = checkpoint.spec.num_classes
    digest = checkpoint.artifact.digest
    rows = [
        ("architecture", checkpoint.model),
        *([("paper", architecture.paper)] if architecture else []),
        ("trained on", describe_training_data(checkpoint)),
        ("classes in training", str(classes) if classes else "not known"),
        ("embedding", f"{build(checkpoint.model, 1, device='meta').embedding_dim} numbers, not of length 1"),
        ("distance", checkpoint.distance),
        *([("sha256 of the checkpoint file", digest.hex)] if digest else []),
    ]
    return describe_purpose(checkpoint) + "\n\n" + _write_table(("", ""), rows)


def _write_table(header: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = ()) -> str:
    return write_markdown(header, [[clean_text(cell) for cell in row] for row in rows], right=right)


def _write_scores(scores: Sequence[_Scores]) -> str:
    if not scores:
        return "No scores are published."
    shown = [metric for metric in METRICS if any(metric in one.values for one in scores)]
    titles = [name_metric(metric) for metric in shown]
    rows = [(s.dataset, s.origin, *(s.values.get(metric, "") for metric in shown), s.note) for s in scores]
    origins = {
        "reported": "*reported*: published by the authors",
        "by others": "*by others*: measured by other people",
        "measured": "*measured*: measured with reidhub, from the receipts of `reidhub verify` or `reidhub evaluate`",
    }
    used = "; ".join(text for origin, text in origins.items() if any(one.origin == origin for one in scores))
    return f"Percentages. {used}.\n\n" + _write_table(("dataset", "scores", *titles, "source"), rows, right=titles)


def _write_usage(checkpoint: Checkpoint) -> str:
    """Write the code to copy: for reidhub and, if ``reid`` can build the architecture, for ``reid``."""
    code = [
        "With the package `reidhub`; replace ORG/NAME by the name of this repository, and COMMIT by the 40 hex digits "
        "of one of its commits:",
        f'```python\nimport reidhub\n\nembed = reidhub.embedder("{_ADDRESS}")\n'
        f'embeddings = embed(["a.jpg", "b.jpg"])  # image files, PIL images or RGB arrays -> float32 tensor (N, D)\n'
        f'model = reidhub.load("{_ADDRESS}")  # nn.Module in eval mode\n```',
    ]
    if comes_with_package(checkpoint):  # others do not have a user's own manifest
        code.append(f'The checkpoint is part of the zoo: `reidhub.embedder("{checkpoint.name}")` does the same.')
    if checkpoint.model in KNOWN_TO_REID:
        code += [
            "With the package `reid`:",
            '```python\nfrom reid import ReIDModel\n\nmodel = ReIDModel.from_pretrained("hf://ORG/NAME")\n'
            'embeddings = model.extract_embeddings_from_paths(["a.jpg", "b.jpg"])\n```',
        ]
    else:
        code.append(f"The package `reid` does not know the architecture `{checkpoint.model}`. Use reidhub instead.")
    return "\n\n".join(code)

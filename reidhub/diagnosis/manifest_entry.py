"""Writes manifest entries for files of the user, from what `doctor` has found out about them."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml

from reidhub.diagnosis import Diagnosis
from reidhub.zoo.artifact import StateDictLayout
from reidhub.zoo.manifest import zoo

_EVIDENCE = "computed by `reidhub doctor` from this file"
_ALL_IMAGES = " (all images of it)"  # as in `Diagnosis.training_sets`


def write_manifest(found: Iterable[Diagnosis]) -> str:
    """Write a manifest with an entry for each file, as YAML with comments.

    The names consist of the architecture and a tag that is made from the file name. No name is that of a checkpoint of
    the zoo. The source is the absolute path of the file.

    Args:
        found: diagnoses of files with a ``layout``, that is, of files that a manifest entry loads.
    """
    taken = set(zoo().by_name)
    entries = []
    for one in found:
        name = _choose_name(one, taken)
        taken.add(name)
        entries.append(_write_entry(name, one))
    return "checkpoints:\n" + "".join(entries)


def _choose_name(found: Diagnosis, taken: set[str]) -> str:
    model = _get_model(found)
    stem = Path(found.path).name.partition(".")[0].lower()
    tag = re.sub(r"[^a-z0-9]+", "_", stem.removeprefix(model)).strip("_") or "mine"
    name = f"{model}.{tag}"
    numbered = (f"{name}_{number}" for number in range(2, len(taken) + 3))
    return next(free for free in (name, *numbered) if free not in taken)


def _get_model(found: Diagnosis) -> str:
    """Return the architecture, which is only the most similar one if the file has other tensors beside it."""
    return found.architecture or found.nearest or ""


def _write_entry(name: str, found: Diagnosis) -> str:
    entry = {
        "name": name,
        "model": _get_model(found),
        **_list_training(found),
        "file": _describe_file(found),
        **({"distance": distance} if (distance := zoo().find_distance(_get_model(found))) != "euclidean" else {}),
        "source": {"local": Path(found.path).absolute().as_uri()},
    }
    text = yaml.safe_dump([entry], sort_keys=False, allow_unicode=True, width=1000)
    return "".join(
        f"  {line}\n" for line in (*(f"# {comment}" for comment in _write_comments(found)), *text.splitlines())
    )


def _list_training(found: Diagnosis) -> dict[str, Any]:
    """Return the fields that follow from the number of classes."""
    known: dict[str, Any] = {}
    if len(found.training_sets) == 1:
        (training_set,) = found.training_sets
        known["trained_on"] = training_set.removesuffix(_ALL_IMAGES).split(" + ")
        known |= {"combineall": True} if training_set.endswith(_ALL_IMAGES) else {}
    return known | ({"num_classes": found.num_classes} if found.num_classes else {})


def _describe_file(found: Diagnosis) -> dict[str, Any]:
    file_name = Path(found.path).name
    original = {"original": file_name} if re.fullmatch(r"[\w-][\w.+-]*", file_name) else {}
    layout = found.named_layout or _list_changes(found.layout or StateDictLayout())
    return {
        **original,
        "sha256": found.sha256,
        "size": found.size,
        "evidence": _EVIDENCE,
        **({"layout": layout} if layout else {}),
    }


def _list_changes(layout: StateDictLayout) -> dict[str, Any]:
    """Return the fields of a layout that differ from the defaults."""
    values = {field.name: getattr(layout, field.name) for field in fields(layout) if field.name != "skip"}
    changes = {name: value for name, value in values.items() if value != getattr(StateDictLayout(), name)}
    return changes | ({"skip": list(layout.skip)} if layout.skip else {})


def _write_comments(found: Diagnosis) -> Iterator[str]:
    if found.wrapping and found.wrapping.other_roots:
        others = ", ".join(map(repr, found.wrapping.other_roots))
        yield f"The file holds tensors under {others} too; write another root below to read them."
    if found.twins:
        others = " and ".join(found.twins)
        yield f"The tensors are those of {others} too, whose images have another size: choose the model."
    if len(found.training_sets) == 1:
        yield f"trained_on is a guess: {found.training_sets[0]} has {found.num_classes} classes too."

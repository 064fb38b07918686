"""Reads the entries of manifest files; an error message has the file and line of the wrong entry."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar, cast, get_args

from reidhub.files.strict_yaml import Value, parse_yaml, read_optional
from reidhub.zoo.artifact import StateDictLayout
from reidhub.zoo.artifact_reader import read_artifact, read_sources
from reidhub.zoo.checkpoint import (
    METRICS,
    Architecture,
    Checkpoint,
    Complexity,
    IndependentMeasurement,
    InputSpec,
    Interpolation,
    ModelSpec,
    Score,
)
from reidhub.zoo.known_files import KnownFile, read_known_file
from reidhub.zoo.known_layouts import KnownLayout
from reidhub.zoo.manifest_fields import (
    ARCHITECTURE,
    CHECKPOINT,
    CHECKPOINT_NAME,
    COMPLEXITY,
    FIGURE,
    FILE,
    INPUT,
    KNOWN_LAYOUT,
    LAYOUT,
    MANIFEST,
    MEASUREMENT,
    SCORE,
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ManifestEntries:
    """The entries of manifest files, in the order of the files. Names can occur twice."""

    checkpoints: tuple[Checkpoint, ...]
    architectures: tuple[Architecture, ...]
    layouts: tuple[KnownLayout, ...]
    known_files: tuple[KnownFile, ...]


def parse_files(files: Sequence[tuple[Path, bytes]]) -> ManifestEntries:
    """Read the entries of manifest files.

    A checkpoint without the field ``input`` gets the input of its architecture, and a checkpoint can name a layout; any
    of the files can describe the architecture and the layout.

    Args:
        files: path and content of each manifest file. Messages name the path; paths of local files in a manifest are
            relative to its folder.

    Raises:
        ManifestError: for example, a field is unknown, missing, repeated or of the wrong type, a link is malformed, or
            a score is not a decimal number in quotes (``"94.2"``). The message starts with file and line.
    """
    parsed = [parse_yaml(file, content).fields(MANIFEST) for file, content in files]
    architectures = _read_lists(parsed, "architectures", _read_architecture)
    layouts = _read_lists(parsed, "layouts", _read_known_layout)
    definitions = _Definitions({one.name: one.input for one in architectures}, {one.name: one for one in layouts})
    return ManifestEntries(
        _read_lists(parsed, "checkpoints", partial(_read_checkpoint, definitions=definitions)),
        architectures,
        layouts,
        _read_lists(parsed, "known_files", read_known_file),
    )


@dataclass(frozen=True, slots=True)
class _Definitions:
    """The inputs of all architectures and the layouts, by name."""

    inputs: Mapping[str, InputSpec]
    layouts: Mapping[str, KnownLayout]


def _read_lists(parsed: Iterable[dict[str, Value]], name: str, read: Callable[[Value], T]) -> tuple[T, ...]:
    """Read the items of the list of this name in each manifest file that has it."""
    return tuple(item for fields in parsed if name in fields for item in fields[name].items(read, name))


def _read_architecture(value: Value) -> Architecture:
    fields = value.fields(ARCHITECTURE)
    printed = read_optional(fields, "printed_params", lambda value: value.choice(("distinct", "calls")))
    return Architecture(
        name=fields["name"].text(),
        paper=fields["paper"].text(),
        starts_from=read_optional(fields, "starts_from", Value.text),
        input=_read_input(fields["input"]),
        default=read_optional(fields, "default", Value.text),
        printed_params=cast(Literal["distinct", "calls"], printed or "distinct"),
        computed=read_optional(fields, "computed", _read_complexity),
        manifest=value.where,
    )


def _read_complexity(value: Value) -> Complexity:
    fields = value.fields(COMPLEXITY)
    return Complexity(*(fields[name].integer() for name in COMPLEXITY.required))


def _read_checkpoint(value: Value, *, definitions: _Definitions) -> Checkpoint:
    fields = value.fields(CHECKPOINT)
    name, model = fields["name"].text(), fields["model"].text()
    if not re.fullmatch(CHECKPOINT_NAME, name) or not name.startswith(model + "."):
        fields["name"].fail(f"name {name!r} must be {model!r}, a dot and a tag of a-z, 0-9 and _")
    spec = read_optional(fields, "input", _read_input) or definitions.inputs.get(model)
    if spec is None:
        value.fail(
            f"field 'input' is missing, and no manifest file describes the architecture {model!r}; correct the name of "
            f"the model, or add input with {', '.join(INPUT.required)}"
        )
    file = fields["file"].fields(FILE)
    return Checkpoint(
        name=name,
        spec=ModelSpec(model, _read_nullable(fields, "num_classes", Value.integer)),
        trained_on=_read_texts(fields, "trained_on", at_least=1),
        combineall=read_optional(fields, "combineall", Value.boolean) or False,
        from_scratch=read_optional(fields, "from_scratch", Value.boolean) or False,
        artifact=read_artifact(file, read_sources(fields)),
        layout=read_optional(file, "layout", partial(_find_layout, known=definitions.layouts, model=model))
        or StateDictLayout(),
        input=spec,
        distance=read_optional(fields, "distance", _read_distance) or "euclidean",
        params_m=_read_nullable(fields, "params_m", _read_figure),
        gflops=_read_nullable(fields, "gflops", _read_figure),
        loss=_read_nullable(fields, "loss", Value.text),
        transforms=_read_texts(fields, "transforms"),
        scores=read_optional(fields, "scores", _read_scores) or (),
        licence=read_optional(fields, "licence", Value.text) or "not stated",
        notices=_read_texts(fields, "notices"),
        measured_elsewhere=read_optional(fields, "measured_elsewhere", _read_measurements) or (),
        manifest=value.where,
    )


def _read_distance(value: Value) -> Literal["euclidean", "cosine"]:
    return cast(Literal["euclidean", "cosine"], value.choice(("euclidean", "cosine")))


def _read_nullable(fields: dict[str, Value], name: str, read: Callable[[Value], T]) -> T | None:
    """Read a field that may be missing or null."""
    return fields[name].optional(read) if name in fields else None


def _find_layout(value: Value, *, known: Mapping[str, KnownLayout], model: str) -> StateDictLayout:
    """Read a layout that is written out, or find the layout of this name, which must suit the model."""
    if not value.is_text():
        return _read_layout(value.fields(LAYOUT))
    if (name := value.text()) not in known:
        value.fail(f"no layout is called {name!r}; known are {', '.join(known) or 'none'}")
    layout = known[name]
    if model not in layout.architectures:
        reasons = "; ".join(layout.list_differences(model))
        reason = f": {reasons}" if reasons else f"; they load as {', '.join(layout.architectures)}"
        value.fail(f"files of the layout {name!r} are no {model}{reason}")
    return layout.layout


def _read_layout(fields: dict[str, Value]) -> StateDictLayout:
    encoding = read_optional(fields, "encoding", lambda value: value.choice(("ascii", "latin1")))
    return StateDictLayout(
        root=read_optional(fields, "root", Value.text),
        strip_prefix=read_optional(fields, "strip_prefix", Value.text),
        encoding=cast(Literal["ascii", "latin1"], encoding or "latin1"),
        skip=_read_texts(fields, "skip", at_least=1),
        rename=_read_mapping(fields, "rename", Value.text),
        constants=_read_mapping(fields, "constants", _read_numbers),
    )


def _read_known_layout(value: Value) -> KnownLayout:
    fields = value.fields(KNOWN_LAYOUT)
    return KnownLayout(
        name=fields["name"].text(),
        about=fields["about"].text(),
        layout=_read_layout(fields),
        signs=_read_texts(fields, "signs", at_least=1),
        architectures=_read_texts(fields, "architectures", at_least=1),
        differs=_read_mapping(fields, "differs", Value.text),
    )


def _read_mapping(fields: dict[str, Value], name: str, read: Callable[[Value], T]) -> dict[str, T]:
    """Read a mapping of texts to values; an empty mapping if the field is missing."""
    return fields[name].mapping(read, name) if name in fields else {}


def _read_numbers(value: Value) -> tuple[float, ...]:
    return value.items(Value.number, "a list of numbers")


def _read_input(value: Value) -> InputSpec:
    fields = value.fields(INPUT)
    return InputSpec(
        height=fields["height"].integer(),
        width=fields["width"].integer(),
        mean=_read_triple(fields["mean"]),
        std=_read_triple(fields["std"]),
        interpolation=cast(Interpolation, fields["interpolation"].choice(get_args(Interpolation))),
    )


def _read_triple(value: Value) -> tuple[float, float, float]:
    numbers = value.items(Value.number, "a list of one number per channel")
    if len(numbers) != 3:
        value.fail(f"expected three numbers (R, G, B), got {len(numbers)}")
    return numbers


def _read_texts(fields: dict[str, Value], name: str, *, at_least: int = 0) -> tuple[str, ...]:
    """Read a list of texts that are all different; an empty tuple if the field is missing."""
    if name not in fields:
        return ()
    texts = fields[name].items(Value.text, name)
    if len(set(texts)) != len(texts) or len(texts) < at_least:
        fields[name].fail(f"{name} is empty" if not texts else f"{name} names something twice")
    return texts


def _read_scores(value: Value) -> tuple[Score, ...]:
    scores = value.items(_read_score, "scores")
    if len({score.dataset for score in scores}) != len(scores):
        value.fail("two score sets of one dataset")
    return scores


def _read_score(value: Value) -> Score:
    fields = value.fields(SCORE)
    values = _read_values(value, fields, "a score")
    not_comparable = read_optional(fields, "not_comparable", Value.text)
    return Score(fields["dataset"].text(), values, fields["source"].text(), not_comparable)


def _read_measurements(value: Value) -> tuple[IndependentMeasurement, ...]:
    return value.items(_read_measurement, "measured_elsewhere")


def _read_measurement(value: Value) -> IndependentMeasurement:
    fields = value.fields(MEASUREMENT)
    values = _read_values(value, fields, "an independent measurement")
    who, how, source = (fields[name].text() for name in ("who", "how", "source"))
    return IndependentMeasurement(fields["dataset"].text(), values, who, how, source)


def _read_values(value: Value, fields: dict[str, Value], what: str) -> dict[str, str]:
    values = {metric: _read_percentage(fields[metric]) for metric in METRICS if metric in fields}
    if not values:
        value.fail(f"{what} has at least one of {', '.join(METRICS)}")
    return values


def _read_figure(value: Value) -> str:
    figure = value.text()
    if not re.fullmatch(FIGURE, figure):
        value.fail(f"{figure!r} is not a decimal figure")
    return figure


def _read_percentage(value: Value) -> str:
    figure = _read_figure(value)
    if Decimal(figure) > 100:
        value.fail(f"{figure!r} is above 100 percent")
    return figure

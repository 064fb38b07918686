"""Options and arguments that several commands share, and parsers of times and sizes."""

import re
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, Literal, get_args

import click

from reidhub.cli.candidates import (
    list_architectures,
    list_devices,
    list_names,
    list_names_and_files,
    list_readable_datasets,
)
from reidhub.errors import UsageError
from reidhub.zoo.checkpoint import Checkpoint
from reidhub.zoo.manifest import is_glob, zoo
from reidhub.zoo.own_files import is_own_file

SELECTOR = (
    "SELECTOR is a name (osnet_x1_0.msmt17), a model (osnet_x1_0: its default checkpoint) or a glob ('*.msmt17')."
)
"""Epilog of every command with a `selectors_argument`."""
OPTIONAL_SELECTOR = f"{SELECTOR} Without one, every checkpoint is meant."
"""Epilog of every command with an `optional_selectors_argument`."""

selectors_argument = click.argument(
    "selectors", metavar="SELECTOR...", nargs=-1, required=True, shell_complete=list_names
)
optional_selectors_argument = click.argument("selectors", metavar="[SELECTOR]...", nargs=-1, shell_complete=list_names)
model_argument = click.argument("model", metavar="NAME-or-FILE", shell_complete=list_names_and_files)
receipts_option = click.option(
    "--receipt",
    "receipts",
    type=click.Path(path_type=Path, dir_okay=False),
    multiple=True,
    help="A receipt of verify or evaluate, for its measured scores; may be repeated.",
)
architecture_option = click.option(
    "--architecture",
    metavar="NAME",
    shell_complete=list_architectures,
    help="Architecture of a file; by default it is detected.",
)
datasets_option = click.option(
    "--on",
    "datasets",
    metavar="DATASET",
    multiple=True,
    shell_complete=list_readable_datasets,
    help="Only on this dataset; may be repeated.",
)
device_option = click.option(
    "--device",
    metavar="NAME",
    shell_complete=list_devices,
    help="cpu or cuda; by default the GPU if there is one.",
)
json_option = click.option("--json", "as_data", is_flag=True, help="Print JSON, for programs.")
Form = Literal["table", "json", "csv", "markdown", "latex"]
"""The forms in which a command can print its table."""
jobs_option = click.option(
    "-j",
    "--jobs",
    metavar="N",
    type=click.IntRange(1, 64),
    default=4,
    show_default=True,
    help="Number of files at once.",
)

_SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_BYTES = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_BYTES |= {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?) *([a-z]*)", re.IGNORECASE | re.ASCII)


def folder_option(*names: str, **settings: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a decorator that adds an option whose value is the path of a folder."""
    return click.option(*names, metavar="DIR", type=click.Path(path_type=Path, file_okay=False), **settings)


def format_options(command: Callable[..., None]) -> Callable[..., None]:
    """Decorate a command with the options ``--format`` and ``--json``; the command gets the parameter ``form``.

    Raises:
        UsageError: the two options contradict each other. It is raised when the command runs.
    """

    @json_option
    @click.option(
        "--format", "form", type=click.Choice(get_args(Form)), help="How to print the result; by default as a table."
    )
    @wraps(command)
    def run(*arguments: Any, as_data: bool, form: Form | None, **options: Any) -> None:
        if as_data and form not in (None, "json"):
            raise UsageError(f"--json means --format json, but --format {form} was given too", hint="leave one out")
        command(*arguments, form="json" if as_data else form or "table", **options)

    return run


def running_options(command: Callable[..., None]) -> Callable[..., None]:
    """Decorate a command with the options that say how a model runs: device, precision and batch size."""
    for option in (
        click.option(
            "--batch-size",
            metavar="N",
            type=click.IntRange(min=1),
            help="Images per batch; by default what suits the device.",
        ),
        click.option(
            "--precision",
            type=click.Choice(["fp32", "exact", "tf32", "bf16", "fp16"]),
            default="fp32",
            show_default=True,
            help="exact: the plain module. The others: faster code in this number format.",
        ),
        device_option,
    ):
        command = option(command)
    return command


def measuring_options(command: Callable[..., None]) -> Callable[..., None]:
    """Decorate a command with the options that say how a model runs, and whether results are re-ranked."""
    return running_options(click.option("--rerank", is_flag=True, help="Rank by k-reciprocal re-ranking.")(command))


def executor_options(command: Callable[..., None]) -> Callable[..., None]:
    """Decorate a command with the options ``--executor`` and ``--address``.

    Raises:
        UsageError: ``--address`` is given without ``--executor ray``. It is raised when the command runs.
    """

    @click.option(
        "--executor",
        type=click.Choice(["local", "ray"]),
        default="local",
        show_default=True,
        help="Where the work runs: in this process, or on the nodes of a Ray cluster.",
    )
    @click.option(
        "--address",
        metavar="auto|HOST:PORT",
        help="The Ray cluster: auto for the one of this machine. Without it, Ray starts here for this run.",
    )
    @wraps(command)
    def run(*arguments: Any, executor: str, address: str | None, **options: Any) -> None:
        if address is not None and executor != "ray":
            raise UsageError("--address is given, but the run does not use Ray", hint="add --executor ray")
        command(*arguments, executor=executor, address=address, **options)

    return run


def select_checkpoints(selectors: tuple[str, ...]) -> list[Checkpoint]:
    """Return the checkpoints that match at least one selector, without duplicates; all if there is no selector.

    If a selector is the name of a model, the model's default checkpoint is returned, and a message on stderr names it.

    Raises:
        UnknownCheckpointError: a selector matches nothing.
    """
    if not selectors:
        return list(zoo().checkpoints)
    print_defaults(selectors)
    return list({c.name: c for selector in selectors for c in zoo().find(selector)}.values())


def print_defaults(selectors: tuple[str, ...]) -> None:
    """Print on stderr the default checkpoint of each model among the selectors: ``note: <model> means <name>``.

    Raises:
        UnknownCheckpointError: a selector matches nothing.
    """
    for selector in selectors:
        if is_glob(selector) or is_own_file(selector):
            continue
        (checkpoint,) = zoo().find(selector)
        if checkpoint.name != selector:
            warning = "" if checkpoint.for_reid else ": ImageNet weights, which cannot tell people apart"
            click.echo(f"note: {selector} means {checkpoint.name}{warning}", err=True)


def parse_duration(text: str) -> int:
    """Parse a time such as ``30d`` into seconds.

    Raises:
        BadParameter: the text is not a number with a unit of time.
    """
    return _parse_quantity(text, _SECONDS, "a time such as 30d, 12h or 2w")


def parse_size(text: str) -> int:
    """Parse a size such as ``2GB`` (10^9) or ``2GiB`` (2^30) into bytes.

    Raises:
        BadParameter: the text is not a number with a unit of size.
    """
    return _parse_quantity(text, _BYTES, "a size such as 2GB or 500MB")


def _parse_quantity(text: str, units: dict[str, int], expected: str) -> int:
    found = _QUANTITY.fullmatch(text.strip())
    if found is None or found[2].lower() not in units:
        raise click.BadParameter(f"{text!r} is not {expected}")
    return int(float(found[1]) * units[found[2].lower()])

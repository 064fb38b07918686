"""What pays for which architecture, as data in ``plans.yaml``, which says what ``benchmarks/embedding.py`` measured."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from reidhub.errors import UsageError
from reidhub.files.strict_yaml import Value, read_package_list

_FILE = Path(__file__).with_name("plans.yaml")
_DEVICES = ("cpu", "cuda")
_FIELDS = ("fold", "channels_last", "compile", "batch")


@dataclass(frozen=True, slots=True)
class EmbedderPlan:
    """What is done with one architecture on one kind of device.

    Args:
        fold: normalisations become part of the convolutions before them.
        channels_last: the memory format of weights and images.
        compile: code is made for this graph, batch and size.
        batch: images that run at once where the caller does not say.
    """

    fold: bool = True
    channels_last: bool = True
    compile: bool = True
    batch: int = 32

    def choose_batch(self, wanted: int | None) -> int:
        """How many images run at once: as many as are wanted, by default the plan's.

        Raises:
            UsageError: fewer than 1.
        """
        if wanted is not None and wanted < 1:
            raise UsageError(f"an embedder needs a batch above 0, got {wanted}")
        return self.batch if wanted is None else wanted


def plan_for(architecture: str, device_type: str) -> EmbedderPlan:
    """The recorded plan; the general one, every step taken, for what is not in the record."""
    return _recorded().get((architecture, device_type), EmbedderPlan())


@lru_cache(maxsize=1)
def _recorded() -> dict[tuple[str, str], EmbedderPlan]:
    plans = read_package_list(_FILE, _architecture)
    return {(name, device): plan for name, by_device in plans for device, plan in by_device.items()}


def _architecture(value: Value) -> tuple[str, dict[str, EmbedderPlan]]:
    fields = value.fields(("architecture", *_DEVICES), ("architecture",), "a plan")
    return fields["architecture"].text(), {device: _plan(fields[device]) for device in _DEVICES if device in fields}


def _plan(value: Value) -> EmbedderPlan:
    fields = value.fields(_FIELDS, _FIELDS, "a plan")
    batch = fields.pop("batch").integer()
    return EmbedderPlan(**{step: field.boolean() for step, field in fields.items()}, batch=batch)

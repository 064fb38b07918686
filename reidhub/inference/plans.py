"""Plans: which steps make an architecture faster on which device, as measured and recorded in ``plans.yaml``."""

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
    """Steps that make one architecture faster on one kind of device; the default has every step.

    Args:
        fold: fold normalisations into the layers before them.
        channels_last: keep weights and images in channels-last memory format.
        compile: compile the model.
        batch: images in a batch, if the caller does not choose.
    """

    fold: bool = True
    channels_last: bool = True
    compile: bool = True
    batch: int = 32

    def choose_batch(self, wanted: int | None) -> int:
        """Return the wanted number of images in a batch, or for None the plan's number.

        Raises:
            UsageError: ``wanted`` is below 1.
        """
        if wanted is not None and wanted < 1:
            raise UsageError(f"an embedder needs a batch above 0, got {wanted}")
        return self.batch if wanted is None else wanted


def plan_for(architecture: str, device_type: str) -> EmbedderPlan:
    """Return the recorded plan for an architecture and a device type (``cpu``, ``cuda``), or else the default plan."""
    return _read_plans().get((architecture, device_type), EmbedderPlan())


@lru_cache(maxsize=1)
def _read_plans() -> dict[tuple[str, str], EmbedderPlan]:
    plans = read_package_list(_FILE, _parse_entry)
    return {(name, device): plan for name, by_device in plans for device, plan in by_device.items()}


def _parse_entry(value: Value) -> tuple[str, dict[str, EmbedderPlan]]:
    fields = value.fields(("architecture", *_DEVICES), ("architecture",), "a plan")
    plans = {device: _parse_plan(fields[device]) for device in _DEVICES if device in fields}
    return fields["architecture"].text(), plans


def _parse_plan(value: Value) -> EmbedderPlan:
    fields = value.fields(_FIELDS, _FIELDS, "a plan")
    batch = fields.pop("batch").integer()
    return EmbedderPlan(**{step: field.boolean() for step, field in fields.items()}, batch=batch)

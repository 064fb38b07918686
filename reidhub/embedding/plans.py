"""What pays for which architecture, as data in ``plans.yaml``, which says what ``benchmarks/embedding.py`` measured."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from reidhub.yaml_reader import Value, read_yaml

_FILE = Path(__file__).with_name("plans.yaml")
_DEVICES = ("cpu", "cuda")
_STEPS = ("fold", "channels_last", "compile")


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps that are taken with one architecture on one kind of device.

    Args:
        fold: normalisations become part of the convolutions before them.
        channels_last: the memory format of weights and images.
        compile: code is made for this graph, batch and size.
    """

    fold: bool = True
    channels_last: bool = True
    compile: bool = True


def plan_for(architecture: str, device_type: str) -> Plan:
    """The recorded plan; the general one, every step taken, for what is not in the record."""
    return _recorded().get((architecture, device_type), Plan())


@lru_cache(maxsize=1)
def _recorded() -> dict[tuple[str, str], Plan]:
    plans = read_yaml(_FILE).items(_architecture, "plans.yaml")
    return {(name, device): plan for name, by_device in plans for device, plan in by_device.items()}


def _architecture(value: Value) -> tuple[str, dict[str, Plan]]:
    fields = value.fields(("architecture", *_DEVICES), ("architecture",), "a plan")
    return fields["architecture"].text(), {device: _plan(fields[device]) for device in _DEVICES if device in fields}


def _plan(value: Value) -> Plan:
    return Plan(**{step: field.boolean() for step, field in value.fields(_STEPS, _STEPS, "a plan").items()})

"""Makes what fast-reid saves: weights, and the state of the optimizer Adam, which is twice as large."""

from typing import Any

from reidhub.models import build


def make_trainer_file(architecture: str, classes: int) -> dict[str, Any]:
    """Draw weights for an architecture, and return the content of a checkpoint file that fast-reid saved in 2020."""
    model = build(architecture, classes)
    parameters = [parameter.detach() for parameter in model.parameters()]
    moments = {
        number: {"step": 24_000, "exp_avg": parameter / 10, "exp_avg_sq": parameter**2}
        for number, parameter in enumerate(parameters)
    }
    groups = [{"lr": 0.001, "weight_decay": 0.0005, "params": [number]} for number in moments]
    return {
        "model": model.state_dict(),
        "optimizer": {"state": moments, "param_groups": groups},
        "scheduler": {"last_epoch": 119, "base_lrs": [0.001] * len(groups)},
        "iteration": 23_999,
    }

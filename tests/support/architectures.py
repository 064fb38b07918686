"""Which architectures a test runs for: one of each kind in the short suite, all of them with ``--long``.

Tests that take milliseconds for each architecture use `reidhub.models.ARCHITECTURES` instead.
"""

from collections.abc import Collection
from typing import Any

import pytest

from reidhub.models import ARCHITECTURES

KINDS = (
    "resnet50",
    "mlfn",
    "hacnn",
    "mobilenetv2_x1_0",
    "shufflenet",
    "osnet_x0_25",
    "osnet_ibn_x1_0",
    "osnet_ain_x0_25",
    "fastreid_agw_r50_ibn",
    "fastreid_bot_s50",
)
"""One architecture of each kind of graph, the smallest. The others have the same kinds of layers, in other
numbers and sizes.

`MGN` is left out, because it is three times as large as the largest of these.
"""

MGN = "fastreid_mgn_r50_ibn"
"""The one kind that is not in `KINDS`; tests that take only a second for it run it too."""


def list_architectures(short: Collection[str] = KINDS) -> list[Any]:
    """List all architectures as parameters of a test; those not in ``short`` run only with ``--long``."""
    return [name if name in short else pytest.param(name, marks=pytest.mark.long) for name in ARCHITECTURES]


EVERY = list_architectures()
"""All architectures as parameters of a test; those not in `KINDS` run only with ``--long``."""

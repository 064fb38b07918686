"""Which arithmetic runs, in one thread and in several, and that what was set before comes back."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from reidhub.torch_settings import Arithmetic

CPU = torch.device("cpu")
BACKENDS: Any = torch.backends


def precisions() -> list[str]:
    return [BACKENDS.mkldnn.matmul.fp32_precision, BACKENDS.mkldnn.conv.fp32_precision]


@pytest.fixture(autouse=True)
def lower() -> Iterator[None]:
    """What a user has set: bfloat16 for products, and TF32 for convolutions."""
    others = (BACKENDS.cuda.matmul, BACKENDS.cudnn.conv, BACKENDS.cudnn.rnn)
    before = [switch.fp32_precision for switch in others]
    BACKENDS.mkldnn.matmul.fp32_precision, BACKENDS.mkldnn.conv.fp32_precision = "bf16", "tf32"
    yield
    BACKENDS.fp32_precision = BACKENDS.mkldnn.matmul.fp32_precision = BACKENDS.mkldnn.conv.fp32_precision = "none"
    for switch, precision in zip(others, before, strict=True):
        switch.fp32_precision = precision


class Block(threading.Thread):
    """A block of another thread, which ends when it is told to."""

    def __init__(self, arithmetic: Arithmetic) -> None:
        super().__init__(daemon=True)
        self.arithmetic, self.inside, self.may_end = arithmetic, threading.Event(), threading.Event()
        self.seen: list[list[str]] = []
        self.start()

    def run(self) -> None:
        with self.arithmetic.on(CPU):
            self.seen.append(precisions())
            self.inside.set()
            self.may_end.wait(20)
            self.seen.append(precisions())

    def end(self) -> None:
        self.may_end.set()
        self.join(20)


@pytest.mark.parametrize(("arithmetic", "name"), [(Arithmetic(), "ieee"), (Arithmetic(tf32=True), "tf32")])
def test_what_was_set_comes_back(arithmetic: Arithmetic, name: str) -> None:
    with arithmetic.on(CPU):
        assert precisions() == [name, name]
    assert precisions() == ["bf16", "tf32"]


def test_what_was_set_comes_back_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), Arithmetic(autocast=torch.bfloat16).on(CPU):
        assert torch.is_autocast_enabled("cpu")
        1 / 0  # noqa: B018
    assert precisions() == ["bf16", "tf32"] and not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("first_in_ends_first", [True, False])
def test_blocks_of_two_threads_keep_their_arithmetic_until_the_last_one_ends(first_in_ends_first: bool) -> None:
    blocks = [Block(Arithmetic()) for _ in range(2)]
    for block in blocks:
        assert block.inside.wait(20)
    for block in blocks if first_in_ends_first else reversed(blocks):
        block.end()

    assert [block.seen for block in blocks] == [[["ieee"] * 2] * 2] * 2
    assert precisions() == ["bf16", "tf32"]


def test_a_block_that_wants_another_arithmetic_waits() -> None:
    first = Block(Arithmetic())
    assert first.inside.wait(20)
    second = Block(Arithmetic(tf32=True))
    assert not second.inside.wait(0.3)

    first.end()
    second.end()

    assert first.seen == [["ieee"] * 2] * 2 and second.seen == [["tf32"] * 2] * 2
    assert precisions() == ["bf16", "tf32"]


def test_what_followed_the_setting_for_all_operations_still_does() -> None:
    BACKENDS.mkldnn.matmul.fp32_precision = BACKENDS.mkldnn.conv.fp32_precision = "none"
    BACKENDS.fp32_precision = "tf32"
    with Arithmetic().on(CPU):
        assert precisions() == ["ieee", "ieee"]
    assert precisions() == ["tf32", "tf32"]

    BACKENDS.fp32_precision = "ieee"

    assert precisions() == ["ieee", "ieee"]


@pytest.mark.filterwarnings("ignore:.*CUDA")
@pytest.mark.parametrize("timed", [True, False])
def test_cudnn_times_its_algorithms_where_that_is_wanted(timed: bool) -> None:
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = not timed
    try:
        with Arithmetic(timed=timed).on(torch.device("cuda")):
            assert torch.backends.cudnn.benchmark == timed
            assert BACKENDS.cuda.matmul.fp32_precision == BACKENDS.cudnn.conv.fp32_precision == "ieee"
        assert torch.backends.cudnn.benchmark != timed
    finally:
        torch.backends.cudnn.benchmark = before

"""Which arithmetic runs, in one thread and in several, and that what was set before comes back."""

import ast
import random
import re
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from typing import Any

import pytest
import torch
from support.forks import run_in_fork
from support.paths import ROOT

from reidhub.errors import UsageError
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

    def __init__(self, arithmetic: Arithmetic, device: torch.device = CPU) -> None:
        super().__init__(daemon=True)
        self.arithmetic, self.device = arithmetic, device
        self.inside, self.may_end = threading.Event(), threading.Event()
        self.seen: list[list[str]] = []
        self.start()

    def run(self) -> None:
        with self.arithmetic.on(self.device):
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


def run_in_thread(work: Callable[[], None]) -> Future[None]:
    """Start ``work`` in a thread of its own, which a deadlock does not keep alive."""
    future: Future[None] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def test_inner_block_counts_while_it_lasts_and_then_the_outer_one_again() -> None:
    def work() -> None:
        with Arithmetic().on(CPU):
            for inner, name in ((Arithmetic(tf32=True), "tf32"), (Arithmetic(), "ieee")):
                with inner.on(CPU):
                    assert precisions() == [name, name]
                    with Arithmetic(autocast=torch.bfloat16).on(CPU):
                        assert precisions() == ["ieee", "ieee"] and torch.is_autocast_enabled("cpu")
                    assert precisions() == [name, name] and not torch.is_autocast_enabled("cpu")
                assert precisions() == ["ieee", "ieee"]

    run_in_thread(work).result(20)
    assert precisions() == ["bf16", "tf32"]


def test_outer_block_comes_back_after_an_error_in_an_inner_one() -> None:
    def work() -> None:
        with Arithmetic().on(CPU):
            with pytest.raises(ZeroDivisionError), Arithmetic(tf32=True).on(CPU):
                1 / 0  # noqa: B018
            assert precisions() == ["ieee", "ieee"]

    run_in_thread(work).result(20)
    assert precisions() == ["bf16", "tf32"]


def test_threads_that_both_enter_an_inner_block_at_once_both_end() -> None:
    both_outside, both_inside = threading.Barrier(2), threading.Barrier(2)

    def work() -> None:
        for _ in range(20):
            with Arithmetic().on(CPU):
                both_outside.wait(20)
                with Arithmetic(tf32=True).on(CPU):
                    both_inside.wait(20)
                    assert precisions() == ["tf32", "tf32"]
                assert precisions() == ["ieee", "ieee"]

    for thread in [run_in_thread(work) for _ in range(2)]:
        thread.result(40)
    assert precisions() == ["bf16", "tf32"]


def test_inner_block_waits_for_another_thread_that_uses_the_outer_arithmetic() -> None:
    other = Block(Arithmetic())
    assert other.inside.wait(20)
    inside = threading.Event()

    def work() -> None:
        with Arithmetic().on(CPU), Arithmetic(tf32=True).on(CPU):
            assert precisions() == ["tf32", "tf32"]
            inside.set()

    thread = run_in_thread(work)
    assert not inside.wait(0.3)

    other.end()
    thread.result(20)
    assert other.seen == [["ieee"] * 2] * 2


def test_thread_that_waits_is_not_overtaken_by_later_ones() -> None:
    first = Block(Arithmetic())
    assert first.inside.wait(20)
    waiting = Block(Arithmetic(tf32=True))
    assert not waiting.inside.wait(0.3)
    later = Block(Arithmetic())  # would fit beside the first one
    assert not later.inside.wait(0.3)

    first.end()
    assert waiting.inside.wait(20) and not later.inside.wait(0.3)
    waiting.end()
    later.end()

    assert waiting.seen == [["tf32"] * 2] * 2 and later.seen == [["ieee"] * 2] * 2


@pytest.mark.filterwarnings("ignore:.*CUDA")
def test_thread_that_waits_has_its_turn_before_an_inner_block_with_other_settings() -> None:
    gpu = torch.device("cuda")
    steps = {name: threading.Event() for name in ("outside", "another waits", "same", "go on", "other")}

    def work() -> None:
        with Arithmetic().on(gpu):
            steps["outside"].set()
            steps["another waits"].wait(20)
            with Arithmetic(autocast=torch.bfloat16).on(gpu):
                steps["same"].set()
                steps["go on"].wait(20)
            with Arithmetic(timed=True).on(gpu):
                steps["other"].set()

    nesting = run_in_thread(work)
    assert steps["outside"].wait(20)
    waiting = Block(Arithmetic(tf32=True), gpu)
    assert not waiting.inside.wait(0.3)
    steps["another waits"].set()
    assert steps["same"].wait(20) and not waiting.inside.is_set()
    steps["go on"].set()

    assert waiting.inside.wait(20) and not steps["other"].wait(0.3)
    waiting.end()
    nesting.result(20)
    assert steps["other"].is_set()


@pytest.mark.filterwarnings("ignore:.*CUDA")
def test_blocks_for_both_kinds_of_device_in_either_order_never_wait_in_a_circle() -> None:
    barrier = threading.Barrier(2)

    def work(first: torch.device, second: torch.device, *, tf32: bool) -> None:
        for _ in range(20):
            with Arithmetic(tf32=tf32).on(first):
                barrier.wait(20)
                with Arithmetic(tf32=tf32).on(second):
                    name = "tf32" if tf32 else "ieee"
                    assert precisions() == [name, name], "an inner block for a GPU leaves the CPU as it was"
                    assert BACKENDS.cuda.matmul.fp32_precision == name

    gpu = torch.device("cuda")
    for thread in [
        run_in_thread(partial(work, CPU, gpu, tf32=True)),
        run_in_thread(partial(work, gpu, CPU, tf32=False)),
    ]:
        thread.result(40)


@pytest.mark.filterwarnings("ignore:.*CUDA")
def test_thread_that_is_interrupted_while_it_waits_keeps_its_outer_block_and_nobody_waiting() -> None:
    def interrupt(*_: object) -> None:
        raise InterruptedError

    gpu = torch.device("cuda")
    first = Block(Arithmetic(), gpu)
    assert first.inside.wait(20)
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with Arithmetic(tf32=True).on(CPU):
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            with pytest.raises(InterruptedError), Arithmetic(tf32=True).on(gpu):
                pass
            assert precisions() == ["tf32", "tf32"]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    later = Block(Arithmetic(), gpu)

    assert later.inside.wait(20)
    first.end()
    later.end()
    assert precisions() == ["bf16", "tf32"]


def test_blocks_that_end_in_another_order_than_they_were_nested_leave_nothing_set() -> None:
    def blocks() -> Iterator[None]:
        with Arithmetic(tf32=True).on(CPU):
            yield

    generator = blocks()
    next(generator)
    with Arithmetic().on(CPU):
        assert precisions() == ["ieee", "ieee"]
        generator.close()
        assert precisions() == ["ieee", "ieee"]

    assert precisions() == ["bf16", "tf32"]


def test_many_threads_with_nested_blocks_all_end_and_see_their_own_arithmetic() -> None:
    def work(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(30):
            enter(rng, 3)

    def enter(rng: random.Random, depth: int) -> None:
        tf32 = rng.random() < 0.5
        want = ["tf32" if tf32 else "ieee"] * 2
        with Arithmetic(tf32=tf32).on(CPU):
            assert precisions() == want
            if depth:
                enter(rng, depth - 1)
            assert precisions() == want

    for thread in [run_in_thread(partial(work, seed)) for seed in range(6)]:
        thread.result(60)
    assert precisions() == ["bf16", "tf32"]


SETTERS = re.compile(
    r"set_num_threads|fp32_precision|allow_tf32|cudnn\.benchmark|TORCHINDUCTOR|torch\.set_|cache_key_tag"
)


def test_no_other_module_changes_settings_of_torch() -> None:
    users = [path.name for path in (ROOT / "reidhub").rglob("*.py") if SETTERS.search(path.read_text(encoding="utf-8"))]

    assert users == ["torch_settings.py"]


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


PRIVATE_IN_MODULES = {"_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"}


def private_names_of_torch(code: str) -> Iterator[str]:
    """Names with an underscore that a module takes from torch or from one of its modules."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "torch":
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Attribute):
            names = [ast.unparse(node)]
        else:
            continue
        for name in names:
            first, *rest = re.sub(r"\(.*\)|__\w+__", "", name).split(".")
            of_torch = first in ("torch", "nn") and any(part.startswith("_") for part in rest)
            if of_torch or (first != "self" and rest[-1] in PRIVATE_IN_MODULES):
                yield name


def test_the_only_private_name_of_torch_goes_with_torch_2_10() -> None:
    found = [
        (path.name, name)
        for path in (ROOT / "reidhub").rglob("*.py")
        for name in private_names_of_torch(path.read_text(encoding="utf-8"))
    ]
    oldest = re.search(r"torch>=(\d+)\.(\d+)", (ROOT / "setup.cfg").read_text())

    assert found == [("devices.py", "torch.cpu._is_avx512_bf16_supported")]
    assert oldest is not None and (int(oldest[1]), int(oldest[2])) < (2, 11), (
        "get_capabilities is there: delete the name"
    )


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_has_the_users_settings_and_waits_for_no_thread_of_its_parent() -> None:
    first = Block(Arithmetic())
    assert first.inside.wait(20)
    waiting = Block(Arithmetic(tf32=True))
    assert not waiting.inside.wait(0.1)

    def enter() -> list[list[str]]:
        before = precisions()
        with Arithmetic(tf32=True).on(CPU):
            return [before, precisions()]

    assert run_in_fork(enter) == [["bf16", "tf32"], ["tf32", "tf32"]]
    first.end()
    waiting.end()
    assert first.seen == [["ieee"] * 2] * 2 and waiting.seen == [["tf32"] * 2] * 2


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_thread_that_forks_in_a_block_keeps_its_settings_in_the_forked_process() -> None:
    other = Block(Arithmetic(tf32=True))
    assert other.inside.wait(20)

    def leave() -> list[list[str]]:
        inside = precisions()
        with Arithmetic(tf32=True).on(CPU):
            return [inside, precisions()]

    other.may_end.set()
    with Arithmetic().on(CPU):
        assert run_in_fork(leave) == [["ieee", "ieee"], ["tf32", "tf32"]]


def test_a_signal_handler_cannot_use_settings_while_its_thread_waits_for_them() -> None:
    first = Block(Arithmetic())
    assert first.inside.wait(20)
    refused: list[UsageError] = []

    def handle(*_: object) -> None:
        with pytest.raises(UsageError, match="while its thread was changing") as caught, Arithmetic().on(CPU):
            pass
        refused.append(caught.value)
        first.may_end.set()

    before = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        with Arithmetic(tf32=True).on(CPU):
            assert precisions() == ["tf32", "tf32"]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

    assert len(refused) == 1 and precisions() == ["bf16", "tf32"]

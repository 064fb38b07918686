"""Measures several functions in alternation, so that a slow phase of the machine affects all of them."""

import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain

Clock = Callable[[], float]


def times(
    works: Mapping[str, Callable[[], object]], rounds: int, clock: Clock = time.perf_counter, pause_s: float = 0
) -> dict[str, list[float]]:
    """Run all functions in each round, and return the seconds of each round; a first extra round is not counted.

    Args:
        works: name -> function.
        rounds: how many rounds are counted.
        clock: returns the time in seconds.
        pause_s: seconds of sleep before each function. After a call, torch's threads keep the processors busy for a
            while, which would slow down the next function.
    """
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(rounds + 1):
        for name, work in works.items():
            time.sleep(pause_s)
            start = clock()
            work()
            if turn:
                seconds[name].append(clock() - start)
    return seconds


def medians(
    works: Mapping[str, Callable[[], object]], rounds: int, clock: Clock = time.perf_counter, pause_s: float = 0
) -> dict[str, float]:
    """Run all functions in each round, and return the median seconds of each; see `times`."""
    return {name: statistics.median(taken) for name, taken in times(works, rounds, clock, pause_s).items()}


def print_table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table in Markdown on stdout; each row is printed as soon as it is known."""
    print(f"\n## {title}\n")
    for row in chain((header, ["---"] * len(header)), rows):
        print("| " + " | ".join(row) + " |", flush=True)

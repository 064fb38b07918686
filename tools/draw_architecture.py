"""Draws ``docs/architecture.svg`` from the imports of the package: ``python -m tools.draw_architecture``.

Each row is a layer of ``.importlinter``. An arrow leads from a package to a package that it imports. An arrow is left
out if a chain of other arrows connects the same two packages. The same imports give the same picture, byte for byte.
"""

from collections.abc import Iterator
from configparser import ConfigParser
from dataclasses import dataclass
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "architecture.svg"
_LEFT_OUT = ("__main__", "_version")  # arrows from and to these modules would tell the reader nothing
_WIDTH, _HEIGHT, _COLUMN, _ROW_STEP = 120, 30, 190, 60  # pixels: size of a box, and steps to the next box
_LANE = 9  # pixels between two arrows side by side

Edge = tuple[str, str]
Row = list[str]


@dataclass(frozen=True)
class Imports:
    """The layers and imports of the package.

    Args:
        layers: from top to bottom, the packages of each layer.
        edges: pairs (importer, imported), without pairs that a chain of other pairs connects.
        heavy: packages that import torch.
    """

    layers: list[Row]
    edges: list[Edge]
    heavy: set[str]


def read_imports() -> Imports:
    """Read the layers from ``.importlinter`` and the imports from the source."""
    config = ConfigParser()
    config.read(ROOT / ".importlinter")
    lines = config["importlinter:contract:layers"]["layers"].strip().splitlines()
    layers = [[name.strip().removeprefix("reidhub.") for name in line.split("|")] for line in lines]
    layers = [row for row in ([name for name in row if name not in _LEFT_OUT] for row in layers) if row]
    names = [name for row in layers for name in row]
    graph = grimp.build_graph("reidhub", include_external_packages=True, cache_dir=None)
    edges = {
        (importer, imported)
        for importer in names
        for imported in names
        if importer != imported
        and graph.direct_import_exists(importer=f"reidhub.{importer}", imported=f"reidhub.{imported}", as_packages=True)
    }
    modules = {name: {f"reidhub.{name}", *graph.find_descendants(f"reidhub.{name}")} for name in names}
    users = graph.find_modules_that_directly_import("torch")
    return Imports(layers, remove_implied(edges), {name for name in names if modules[name] & users})


def remove_implied(edges: set[Edge]) -> list[Edge]:
    """Remove each edge whose two packages are also connected by a chain of other edges; return the rest, sorted."""
    targets: dict[str, set[str]] = {}
    for importer, imported in edges:
        targets.setdefault(importer, set()).add(imported)

    def reach(name: str) -> set[str]:
        return {name}.union(*(reach(other) for other in targets.get(name, ())))

    return sorted(
        (importer, imported)
        for importer, imported in edges
        if not any(imported in reach(other) for other in targets[importer] - {imported})
    )


@dataclass(frozen=True)
class Layout:
    """The positions of boxes and arrows, in pixels.

    Args:
        row: package -> number of its row, 0 at the top.
        x: package -> centre of its box.
        lane: edge -> x of the vertical part of its arrow.
    """

    row: dict[str, int]
    x: dict[str, float]
    lane: dict[Edge, float]


def arrange(imports: Imports) -> Layout:
    """Place each box near the boxes that it is connected to, and choose the x of each arrow's vertical part."""
    row = {name: number for number, names in enumerate(imports.layers) for name in names}
    rows = [list(names) for names in imports.layers]
    x = {name: 0.0 for names in rows for name in names}
    neighbours: dict[str, list[str]] = {name: [] for name in x}
    for importer, imported in imports.edges:
        neighbours[importer].append(imported)
        neighbours[imported].append(importer)
    for _ in range(30):
        for names in [*rows, *reversed(rows)]:
            wanted = {name: _mean([x[other] for other in neighbours[name]]) for name in names}
            names.sort(key=lambda name: (round(wanted[name], 3), name))
            x.update(_spread([wanted[name] for name in names], names))
    lane: dict[Edge, float] = {}
    for edge in sorted(imports.edges, key=lambda edge: (row[edge[1]] - row[edge[0]], edge)):
        lane[edge] = _find_lane(edge, Layout(row, x, lane))
    return Layout(row, x, lane)


def _spread(wanted: list[float], names: Row) -> dict[str, float]:
    """Place boxes side by side in the given order, around the mean of their wanted positions."""
    centre = _mean(wanted)
    middle = (len(names) - 1) / 2
    return {name: centre + (place - middle) * _COLUMN for place, name in enumerate(names)}


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _find_lane(edge: Edge, layout: Layout) -> float:
    """Find the x for the vertical part of an arrow, as near to the end of the arrow as possible.

    The vertical part touches no box and no vertical part of an arrow that leads to another package.
    """
    first, last = layout.row[edge[0]], layout.row[edge[1]]
    goal = layout.x[edge[1]]
    passed = [layout.x[name] for name, row in layout.row.items() if first < row < last]
    taken = [
        x
        for other, x in layout.lane.items()
        if other[1] != edge[1] and max(first, layout.row[other[0]]) < min(last, layout.row[other[1]])
    ]
    candidates = (goal + sign * step * _LANE for step in range(200) for sign in (1, -1))
    return next(
        x
        for x in candidates
        if all(abs(x - box) > _WIDTH / 2 + _LANE for box in passed) and all(abs(x - lane) >= _LANE for lane in taken)
    )


def draw(imports: Imports) -> str:
    """Return the picture as SVG text."""
    layout = arrange(imports)
    xs = [*layout.lane.values(), *(x + side * _WIDTH / 2 for x in layout.x.values() for side in (-1, 1))]
    shift = _LANE * 3 - min(xs)
    layout = Layout(
        layout.row, {k: x + shift for k, x in layout.x.items()}, {k: x + shift for k, x in layout.lane.items()}
    )
    width, height = round(max(xs) + shift + _LANE * 3), _ROW_STEP * len(imports.layers) + 44
    lines = [*_draw_rows(width, len(imports.layers)), *_draw_arrows(imports, layout), *_draw_boxes(imports, layout)]
    return _FRAME.format(width=width, height=height, legend=height - 16, body="\n".join(lines))


def _draw_rows(width: int, count: int) -> Iterator[str]:
    for row in range(0, count, 2):
        yield f'<rect y="{row * _ROW_STEP + 6}" width="{width}" height="{_ROW_STEP}" fill="#f4f6f8"/>'


def _draw_arrows(imports: Imports, layout: Layout) -> Iterator[str]:
    for edge in imports.edges:
        importer, imported = edge
        lane = round(layout.lane[edge])
        start, end = round(layout.x[importer]), round(layout.x[imported])
        top, bottom = _middle(layout.row[importer]) + _HEIGHT // 2, _middle(layout.row[imported]) - _HEIGHT // 2 - 7
        turn, bend = _ROW_STEP - _HEIGHT, (_ROW_STEP - _HEIGHT) // 2
        path = f"M{start} {top} C{start} {top + bend} {lane} {top + bend} {lane} {top + turn}"
        if layout.row[imported] - layout.row[importer] == 1:
            path = f"M{start} {top} C{start} {top + bend} {end} {top + bend} {end} {bottom}"
        else:
            path += f" V{bottom - turn + 7} C{lane} {bottom - bend} {end} {bottom - bend} {end} {bottom}"
        yield f'<path d="{path}" marker-end="url(#tip)"><title>{importer} imports {imported}</title></path>'


def _draw_boxes(imports: Imports, layout: Layout) -> Iterator[str]:
    for row, names in enumerate(imports.layers):
        for name in names:
            x, y = round(layout.x[name]), _middle(row)
            kind = "heavy" if name in imports.heavy else "light"
            yield (
                f'<rect class="{kind}" x="{x - _WIDTH // 2}" y="{y - _HEIGHT // 2}" width="{_WIDTH}"'
                f' height="{_HEIGHT}" rx="5"/><text x="{x}" y="{y + 5}">{name}</text>'
            )


def _middle(row: int) -> int:
    return row * _ROW_STEP + _ROW_STEP // 2 + 6


_FRAME = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">
<title>Packages of reidhub: each imports the ones below it that its arrows lead to</title>
<style>
text {{ font: 14px sans-serif; text-anchor: middle; fill: #1b1f24 }}
path {{ fill: none; stroke: #57606a; stroke-width: 1.3 }}
.light {{ fill: #ddf4e4; stroke: #2da44e }}
.heavy {{ fill: #ddebff; stroke: #3572c6 }}
</style>
<defs><marker id="tip" viewBox="0 0 8 8" refX="1" refY="4" markerWidth="7" markerHeight="7" orient="auto">
<path d="M0 0 L8 4 L0 8 z" style="fill: #57606a; stroke: none"/></marker></defs>
<rect width="{width}" height="{height}" fill="#ffffff"/>
{body}
<rect class="light" x="16" y="{legend}" width="14" height="10"/>
<text x="36" y="{legend}" dy="10" style="text-anchor: start">without torch</text>
<rect class="heavy" x="146" y="{legend}" width="14" height="10"/>
<text x="166" y="{legend}" dy="10" style="text-anchor: start">imports torch</text>
</svg>
"""


def main() -> None:
    """Write the picture to ``docs/architecture.svg``."""
    PICTURE.write_text(draw(read_imports()), encoding="utf-8")


if __name__ == "__main__":
    main()

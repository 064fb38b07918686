"""The people of the generated dataset: their bodies, clothes and bags, and how to draw them."""

from dataclasses import dataclass

import numpy as np

from reidhub.demo.canvas import Canvas, Colour, Plane
from reidhub.demo.random_stream import RandomStream

_SKINS = ((236, 196, 170), (214, 166, 132), (172, 120, 86), (120, 78, 54), (84, 56, 40))
_HAIRS = ((24, 20, 18), (62, 40, 26), (112, 74, 40), (186, 150, 88), (150, 148, 146))
_CLOTHES = (
    (30, 30, 34),
    (90, 92, 98),
    (168, 168, 170),
    (232, 230, 224),
    (176, 36, 40),
    (226, 120, 44),
    (228, 196, 64),
    (52, 124, 66),
    (110, 122, 62),
    (58, 132, 186),
    (34, 52, 116),
    (110, 64, 140),
    (218, 132, 160),
    (116, 76, 48),
    (196, 170, 128),
)
_PATTERNS = ("plain", "plain", "hoops", "stripes", "checks", "yoke", "print")


@dataclass(frozen=True, slots=True)
class Person:
    """The properties of a person that are the same in every image.

    Args:
        skin: colour of the skin.
        hair: colour of the hair.
        haircut: ``short``, ``long``, ``bald`` or ``cap``.
        top: main colour of the upper garment.
        accent: second colour of the upper garment, and colour of the cap.
        pattern: pattern of the second colour, one of `_PATTERNS`.
        long_sleeves: True if the sleeves cover the lower arms.
        bottom: colour of the trousers, shorts or skirt.
        legwear: ``trousers``, ``shorts`` or ``skirt``.
        shoes: colour of the shoes.
        bag: ``none``, ``backpack``, ``satchel`` or ``handbag``.
        bag_colour: colour of the bag.
        stature: factor for the size of the whole person.
        girth: factor for the width of the body and the thickness of the legs.
    """

    skin: Colour
    hair: Colour
    haircut: str
    top: Colour
    accent: Colour
    pattern: str
    long_sleeves: bool
    bottom: Colour
    legwear: str
    shoes: Colour
    bag: str
    bag_colour: Colour
    stature: float
    girth: float


@dataclass(frozen=True, slots=True)
class Pose:
    """The properties of a person that differ between images.

    Args:
        side: ``front`` or ``back``.
        mirrored: True if the person walks to the left.
        stride: distance between the feet; from 0 (small) to 1 (large).
        swing: how far the hands are moved to the left or right, -1 to 1; the two hands move in opposite directions.
    """

    side: str
    mirrored: bool
    stride: float
    swing: float


def choose_person(stream: RandomStream) -> Person:
    """Choose the properties of a person at random; many people have clothes of similar colours."""
    return Person(
        skin=stream.vary_colour(stream.choose(_SKINS), 8),
        hair=stream.vary_colour(stream.choose(_HAIRS), 8),
        haircut=stream.choose(("short", "short", "long", "bald", "cap")),
        top=stream.vary_colour(stream.choose(_CLOTHES), 12),
        accent=stream.vary_colour(stream.choose(_CLOTHES), 12),
        pattern=stream.choose(_PATTERNS),
        long_sleeves=stream.draw_bool(0.6),
        bottom=stream.vary_colour(stream.choose(_CLOTHES), 12),
        legwear=stream.choose(("trousers", "trousers", "trousers", "shorts", "skirt")),
        shoes=stream.vary_colour(stream.choose(_CLOTHES), 12),
        bag=stream.choose(("none", "none", "backpack", "satchel", "handbag")),
        bag_colour=stream.vary_colour(stream.choose(_CLOTHES), 12),
        stature=stream.draw_number(0.9, 1.0),
        girth=stream.draw_number(0.85, 1.2),
    )


def draw(canvas: Canvas, person: Person, pose: Pose) -> None:
    """Paint a standing person: the head touches y = 0, the soles touch y = 1, the middle is at x = 0."""
    if pose.mirrored:
        canvas.x = -canvas.x
    if person.bag == "backpack" and pose.side == "front":
        canvas.paint(
            canvas.cover_trapezium(0.18, 0.44, 0, (0.125 * person.girth, 0.125 * person.girth)), person.bag_colour
        )
    _draw_legs(canvas, person, pose)
    _draw_arm(canvas, person, -1, pose.swing)
    _draw_torso(canvas, person, pose)
    _draw_arm(canvas, person, 1, -pose.swing)
    _draw_head(canvas, person, pose)
    _draw_bag(canvas, person, pose)


def _draw_legs(canvas: Canvas, person: Person, pose: Pose) -> None:
    spread = 0.03 + 0.07 * pose.stride
    thigh = 0.052 * person.girth
    for side, lift in ((-1, 0.02 * pose.stride), (1, 0.0)):
        hip, knee = (side * 0.045, 0.5), (side * spread, 0.73)
        ankle = (side * spread * 1.25, 0.955 - lift)
        covered = {"trousers": person.bottom, "shorts": person.skin, "skirt": person.skin}[person.legwear]
        canvas.paint(canvas.cover_limb(knee, ankle, (thigh * 0.85, thigh * 0.65)), covered)
        upper = person.skin if person.legwear == "skirt" else person.bottom
        canvas.paint(canvas.cover_limb(hip, knee, (thigh, thigh * 0.9)), upper)
        toe = (ankle[0] + 0.04, ankle[1] + 0.02)
        canvas.paint(canvas.cover_limb(ankle, toe, (0.027, 0.022)), person.shoes)
    if person.legwear == "skirt":
        canvas.paint(canvas.cover_trapezium(0.48, 0.72, 0, (0.08 * person.girth, 0.12 * person.girth)), person.bottom)


def _draw_torso(canvas: Canvas, person: Person, pose: Pose) -> None:
    half = 0.095 * person.girth
    coverage = canvas.cover_trapezium(0.155, 0.52, 0, (half, half * 0.92))
    canvas.paint(canvas.cover_limb((0, 0.12), (0, 0.17), (0.03, 0.03)), person.skin)
    canvas.paint(coverage, person.top)
    if person.pattern != "plain":
        canvas.paint(coverage * _cover_accent(canvas, person, pose), person.accent)


def _cover_accent(canvas: Canvas, person: Person, pose: Pose) -> Plane:
    """Return the pattern on the upper garment: 1 where a pixel has the second colour, 0 where it has the main colour.

    The values are in [0, 1]; the array has the shape (H, W), (H, 1) or (1, W).
    """
    rows: Plane = np.floor((canvas.y - 0.155) / 0.052) % 2
    columns: Plane = np.floor((canvas.x + 1) / 0.045) % 2
    patterns: dict[str, Plane] = {
        "hoops": rows,
        "stripes": columns,
        "checks": (rows + columns) % 2,
        "yoke": (canvas.y < 0.27).astype(np.float64),
        "print": canvas.cover_ellipse((0, 0.29), (0.055, 0.05)) * (pose.side == "front"),
    }
    return patterns[person.pattern]


def _draw_arm(canvas: Canvas, person: Person, side: int, swing: float) -> None:
    shoulder = (side * 0.1 * person.girth, 0.195)
    elbow = (shoulder[0] + side * 0.02 + 0.03 * swing, 0.34)
    hand = (elbow[0] + 0.045 * swing, 0.475)
    canvas.paint(canvas.cover_limb(elbow, hand, (0.027, 0.022)), person.top if person.long_sleeves else person.skin)
    canvas.paint(canvas.cover_limb(shoulder, elbow, (0.036, 0.03)), person.top)
    canvas.paint(canvas.cover_ellipse((hand[0], hand[1] + 0.015), (0.02, 0.022)), person.skin)


def _draw_head(canvas: Canvas, person: Person, pose: Pose) -> None:
    if person.haircut == "long":
        canvas.paint(canvas.cover_trapezium(0.05, 0.2, 0, (0.055, 0.06)), person.hair)
    canvas.paint(canvas.cover_ellipse((0, 0.072), (0.05, 0.068)), person.skin)
    if person.haircut == "bald":
        return
    top = person.accent if person.haircut == "cap" else person.hair
    down = 0.06 if pose.side == "front" else 0.1
    canvas.paint(canvas.cover_ellipse((0, 0.068), (0.055, 0.068)) * (canvas.y < down), top)
    if pose.side == "back" and person.haircut == "long":
        canvas.paint(canvas.cover_trapezium(0.05, 0.22, 0, (0.05, 0.06)), person.hair)


def _draw_bag(canvas: Canvas, person: Person, pose: Pose) -> None:
    colour = person.bag_colour
    if person.bag == "backpack" and pose.side == "back":
        canvas.paint(canvas.cover_trapezium(0.18, 0.43, 0, (0.075, 0.085)), colour)
    elif person.bag == "backpack":
        for x in (-0.06, 0.06):
            canvas.paint(canvas.cover_limb((x, 0.165), (x, 0.36), (0.012, 0.012)), colour)
    elif person.bag == "satchel":
        canvas.paint(canvas.cover_limb((-0.07, 0.165), (0.1, 0.45), (0.011, 0.011)), colour)
        canvas.paint(canvas.cover_trapezium(0.42, 0.54, 0.12, (0.06, 0.06)), colour)
    elif person.bag == "handbag":
        canvas.paint(canvas.cover_trapezium(0.49, 0.6, 0.14, (0.045, 0.055)), colour)

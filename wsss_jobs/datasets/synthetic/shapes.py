"""What the six classes look like: a list of parts each, in a frame where the object reaches from -1 to 1.

Bodies are plain, in colours that all classes share. What tells the classes apart is a marked part, a quarter to a half
of the object, with a pattern of its own: a classifier needs no more, so its CAM stays there, and the rest of the object
has to be found along colour and texture.
"""

from dataclasses import dataclass
from typing import Literal

Outline = Literal["ellipse", "box", "triangle", "dome"]
Pattern = Literal["plain", "dots", "stripes", "rings", "checks", "zigzag", "lattice"]


@dataclass(frozen=True, slots=True)
class Part:
    """One part of an object; later parts cover earlier ones.

    Args:
        outline: `triangle` points up, `dome` is the upper half of an ellipse, `box` has round corners.
        x: Centre, to the right.
        y: Centre, downwards.
        rx: Half its width.
        ry: Half its height.
        turn: Tangent of half its rotation, clockwise.
        tone: Its colour: the body's own, a darker or lighter one, or a fixed accent.
        pattern: What is painted on it.
        inside: Only where the object already is.
    """

    outline: Outline
    x: float
    y: float
    rx: float
    ry: float
    turn: float = 0.0
    tone: Literal["body", "dark", "light", "black", "white", "orange"] = "body"
    pattern: Pattern = "plain"
    inside: bool = False


BIRD = (
    Part("box", 0.05, 0.80, 0.035, 0.22, tone="orange"),
    Part("box", 0.28, 0.80, 0.035, 0.22, tone="orange"),
    Part("triangle", -0.72, 0.02, 0.26, 0.42, turn=-0.75),
    Part("ellipse", 0.02, 0.22, 0.66, 0.46, turn=-0.12),
    Part("ellipse", -0.14, 0.18, 0.42, 0.24, turn=0.15, tone="dark", inside=True),
    Part("triangle", 0.93, -0.44, 0.16, 0.20, turn=1.0, tone="orange"),
    Part("ellipse", 0.50, -0.42, 0.36, 0.36, pattern="lattice"),
    Part("ellipse", 0.56, -0.48, 0.15, 0.15, tone="white"),
    Part("ellipse", 0.58, -0.48, 0.075, 0.075, tone="black"),
)
CACTUS = (
    Part("box", -0.40, 0.08, 0.30, 0.12),
    Part("box", -0.58, -0.20, 0.14, 0.36),
    Part("box", 0.40, -0.08, 0.30, 0.12),
    Part("box", 0.58, -0.38, 0.14, 0.38),
    Part("box", 0.0, -0.16, 0.27, 0.82),
    Part("box", 0.0, 0.74, 0.42, 0.26, pattern="zigzag"),
)
FISH = (
    Part("triangle", -0.80, 0.0, 0.40, 0.24, turn=1.0, tone="dark"),
    Part("triangle", -0.08, -0.42, 0.34, 0.22, tone="dark"),
    Part("ellipse", 0.06, 0.0, 0.86, 0.46),
    Part("ellipse", 0.56, 0.0, 0.36, 0.50, pattern="stripes", inside=True),
)
HOUSE = (
    Part("box", 0.0, 0.36, 0.74, 0.62),
    Part("box", -0.30, 0.20, 0.16, 0.16, tone="dark", inside=True),
    Part("box", 0.28, 0.62, 0.17, 0.38, tone="dark", inside=True),
    Part("triangle", 0.0, -0.56, 0.92, 0.40, pattern="checks"),
)
MUSHROOM = (
    Part("ellipse", 0.0, 0.86, 0.62, 0.14),
    Part("box", 0.0, 0.32, 0.44, 0.66),
    Part("dome", 0.0, -0.22, 0.80, 0.62, pattern="dots"),
)
SNAIL = (
    Part("box", 0.76, -0.30, 0.03, 0.24, turn=0.1, tone="dark"),
    Part("box", 0.90, -0.28, 0.03, 0.24, turn=0.2, tone="dark"),
    Part("box", 0.0, 0.66, 0.98, 0.20),
    Part("ellipse", 0.76, 0.28, 0.22, 0.50),
    Part("ellipse", -0.16, 0.10, 0.66, 0.62, tone="light"),
    Part("ellipse", -0.16, 0.10, 0.42, 0.40, tone="light", pattern="rings", inside=True),
)

SHAPES: dict[str, tuple[Part, ...]] = {
    "bird": BIRD,
    "cactus": CACTUS,
    "fish": FISH,
    "house": HOUSE,
    "mushroom": MUSHROOM,
    "snail": SNAIL,
}
SYNTHETIC_CLASSES = tuple(SHAPES)

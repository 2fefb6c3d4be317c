"""What happens in a clip of the synthetic world, in words: for training and testing video-text networks.

    class sentence  the class's name, such as "Rolling something from left to right"
    caption         the same happening in other words, with the target's colour and shape: "a red disc rolls right"

Two things are kept out of training, to be asked about afterwards: the last way of saying each class, and one colour of
the target per class.
"""

from __future__ import annotations

from .generator import CLASSES, COLOURS, SHAPES

# Ways of saying each class, in the order of ``CLASSES``; the last one of each is never trained on.
PHRASES: tuple[tuple[str, ...], ...] = (
    ("{} rolls to the right", "rolling {} from left to right", "from left to right rolls {}"),
    ("{} rolls to the left", "rolling {} from right to left", "from right to left rolls {}"),
    ("{} falls into a container", "dropping {} into something", "into something falls {}"),
    ("{} falls behind something", "dropping {} behind a thing", "behind something falls {}"),
    ("{} falls in front of something", "dropping {} in front of a thing", "in front of something falls {}"),
    ("{} passes behind something", "passing {} behind a thing", "behind something passes {}"),
    ("{} passes in front of something", "passing {} in front of a thing", "in front of something passes {}"),
    ("{} and another object collide", "{} colliding with something", "two objects colliding , one of them {}"),
    ("{} is covered and carried along", "covering {} and carrying it away", "carried along and covered is {}"),
    ("{} is picked up", "picking {} up from the ground", "up is picked {}"),
    ("{} comes closer", "approaching is {}", "{} approaching"),
    ("{} goes away", "moving away is {}", "{} moving away"),
    ("the camera pans past {}", "camera panning over {}", "panning past {} is the camera"),
    ("{} stays where it is", "staying still is {}", "{} staying still"),
)
TRAINED = 2  # of the phrases of each class


def thing(colour: str, shape: str) -> str:
    """ "a red disc"."""
    return f"a {colour} {shape}"


def caption(label: int, way: int, what: str = "something") -> str:
    """Class ``label`` said in its ``way``-th phrase of ``what``."""
    return PHRASES[label][way].format(what)


def kept_out(label: int, colour: str) -> bool:
    """Whether the target of a class never had this colour in training."""
    return (COLOURS.index(colour) + label) % len(COLOURS) == 0


def every_sentence() -> list[str]:
    """All that can be said about the world, the ways kept out of training included."""
    things = ["something", *(thing(colour, shape) for colour in COLOURS for shape in SHAPES)]
    said = [
        caption(label, way, what) for label, ways in enumerate(PHRASES) for way in range(len(ways)) for what in things
    ]
    return [*CLASSES, *said]

"""Captions of clips of the synthetic world, for training and testing video-text networks.

    class sentence  the class's name, such as "Rolling something from left to right"
    caption         a paraphrase, with the target's colour and shape: "a red disc rolls right"

Two things are held out of training for tests of generalisation: the last paraphrase of each class, and one colour of
the target per class.
"""

from __future__ import annotations

from .generator import CLASSES, COLOURS, SHAPES

# Paraphrases of each class, in the order of ``CLASSES``; the last one of each is never used in training.
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


def caption(label: int, phrase: int, what: str = "something") -> str:
    """The caption of class ``label`` by its paraphrase number ``phrase``, with ``what`` as the object."""
    return PHRASES[label][phrase].format(what)


def held_out_colour(label: int, colour: str) -> bool:
    """Whether this colour of the target is held out for a class."""
    return (COLOURS.index(colour) + label) % len(COLOURS) == 0


def all_sentences() -> list[str]:
    """All captions and class names of the world, including the held-out ones."""
    things = ["something", *(thing(colour, shape) for colour in COLOURS for shape in SHAPES)]
    captions = [
        caption(label, phrase, what)
        for label, phrases in enumerate(PHRASES)
        for phrase in range(len(phrases))
        for what in things
    ]
    return [*CLASSES, *captions]

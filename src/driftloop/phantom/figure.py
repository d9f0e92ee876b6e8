"""Draws the cartoon person: shapes in a frame of 64 × 64 units, colour and part label side by side.

The head fills the frame; expression is drawn boldly, so that seven emotions survive a strong autoencoder.
Every shape is drawn twice, into the picture and into a map of parts, so the region masks are true by construction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from driftloop.phantom.world import Person

PARTS = ("background", "body", "clothes", "object", "face_skin", "eyes_brows", "mouth", "hair")
OVERSAMPLING = 3
UNITS = 64

Colour = tuple[int, int, int]
Point = tuple[float, float]

SKIN: dict[str, Colour] = {
    "pale": (255, 224, 200),
    "fair": (244, 200, 165),
    "tan": (222, 170, 125),
    "brown": (176, 120, 82),
    "dark": (126, 82, 56),
}
HAIR: dict[str, Colour] = {"black": (38, 32, 34), "brown": (104, 62, 34), "blond": (232, 192, 84), "red": (190, 76, 30)}
CLOTHES: dict[str, Colour] = {
    "crimson": (178, 34, 52),
    "navy": (36, 58, 130),
    "forest": (36, 110, 60),
    "orange": (236, 134, 36),
    "violet": (122, 62, 160),
    "teal": (24, 134, 144),
}
BACKGROUND: dict[str, Colour] = {
    "sky": (168, 208, 240),
    "mint": (178, 228, 196),
    "sand": (232, 216, 172),
    "rose": (240, 192, 204),
    "lilac": (206, 194, 236),
    "grey": (192, 196, 200),
}
INK: Colour = (28, 22, 26)
WHITE: Colour = (250, 250, 250)
SILVER: Colour = (222, 222, 228)
CAP: Colour = (250, 214, 20)
LENS: Colour = (150, 205, 255)
FRAME: Colour = (20, 20, 120)
LIPS: dict[str, Colour] = {"female": (206, 24, 60), "male": (120, 44, 44)}
TINT: dict[str, tuple[Colour, float]] = {
    "anger": ((226, 30, 20), 0.5),
    "disgust": ((96, 170, 40), 0.5),
    "fear": ((110, 130, 240), 0.45),
}
"""Emotion -> colour of the whole face and how strongly it is mixed in, as cartoons do."""


@dataclass(frozen=True, slots=True)
class Head:
    """Proportions of a head in units: centre height, half width, half height, eye size."""

    y: float
    rx: float
    ry: float
    eye: float


HEADS: dict[str, Head] = {
    "0-3": Head(26.5, 18.5, 15.5, 1.2),
    "4-19": Head(26.5, 15, 15, 1.08),
    "20-39": Head(25.5, 14, 16.5, 1.0),
    "40-69": Head(25.5, 14.5, 16.5, 0.95),
    "70+": Head(25.5, 14, 16.5, 0.95),
}


class Canvas:
    """A picture and its map of parts, drawn with the same shapes; `scale` and `shift` place the whole person."""

    def __init__(self, background: Colour, scale: float, shift: Point) -> None:
        side = UNITS * OVERSAMPLING
        self.image = Image.new("RGB", (side, side), background)
        self.parts = Image.new("L", (side, side), PARTS.index("background"))
        self._pens = (ImageDraw.Draw(self.image), ImageDraw.Draw(self.parts))
        self._scale, self._shift = scale, shift

    def _at(self, point: Point) -> Point:
        x = 32 + (point[0] - 32) * self._scale + self._shift[0]
        y = 64 + (point[1] - 64) * self._scale + self._shift[1]
        return x * OVERSAMPLING, y * OVERSAMPLING

    def _box(self, x: float, y: float, rx: float, ry: float) -> list[Point]:
        return [self._at((x - rx, y - ry)), self._at((x + rx, y + ry))]

    def _width(self, width: float) -> int:
        return max(1, round(width * self._scale * OVERSAMPLING))

    def _fills(self, part: str, colour: Colour) -> zip[tuple[ImageDraw.ImageDraw, Colour | int]]:
        return zip(self._pens, (colour, PARTS.index(part)), strict=True)

    def ellipse(self, part: str, colour: Colour, x: float, y: float, rx: float, ry: float) -> None:
        """A filled ellipse around (x, y)."""
        for pen, fill in self._fills(part, colour):
            pen.ellipse(self._box(x, y, rx, ry), fill=fill)

    def half(self, part: str, colour: Colour, x: float, y: float, rx: float, ry: float, lower: bool) -> None:
        """The lower or upper half of a filled ellipse around (x, y)."""
        start, end = (0, 180) if lower else (180, 360)
        for pen, fill in self._fills(part, colour):
            pen.chord(self._box(x, y, rx, ry), start, end, fill=fill)

    def arc(self, part: str, colour: Colour, box: Sequence[float], angles: tuple[float, float], width: float) -> None:
        """An arc of the ellipse box = (x, y, rx, ry) between two angles in degrees, clockwise from the right."""
        x, y, rx, ry = box
        for pen, fill in self._fills(part, colour):
            pen.arc(self._box(x, y, rx, ry), *angles, fill=fill, width=self._width(width))

    def line(self, part: str, colour: Colour, points: Sequence[Point], width: float) -> None:
        """A line through `points` with round joints."""
        for pen, fill in self._fills(part, colour):
            pen.line([self._at(p) for p in points], fill=fill, width=self._width(width), joint="curve")

    def polygon(self, part: str, colour: Colour, points: Sequence[Point]) -> None:
        """A filled polygon."""
        for pen, fill in self._fills(part, colour):
            pen.polygon([self._at(p) for p in points], fill=fill)

    def reduced(self) -> tuple[np.ndarray, np.ndarray]:
        """Pixels (64, 64, 3) uint8 averaged over the oversampling, and part numbers (64, 64) uint8 at pixel centres."""
        middle = slice(OVERSAMPLING // 2, None, OVERSAMPLING)
        return np.asarray(self.image.reduce(OVERSAMPLING)), np.asarray(self.parts)[middle, middle]


def mixed(colour: Colour, other: Colour, share: float) -> Colour:
    """`colour` with `share` of `other` mixed in."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(colour, other, strict=True))
    return red, green, blue


def draw_person(canvas: Canvas, person: Person) -> None:
    """The whole figure, from back to front."""
    _draw_hair_behind(canvas, person)
    _draw_body(canvas, person)
    _draw_head(canvas, person)
    _draw_eyes(canvas, person)
    _draw_brows(canvas, person)
    _draw_hair_before(canvas, person)
    _MOUTHS[person.emotion](canvas, LIPS[person.gender], HEADS[person.age].y + 9)
    _draw_drops(canvas, person)
    _OBJECTS[person.activity](canvas, person)


def _hair_colour(person: Person) -> Colour:
    return SILVER if person.age == "70+" else HAIR[person.hair]


def _draw_body(canvas: Canvas, person: Person) -> None:
    colour = CLOTHES[person.clothes]
    canvas.polygon("body", SKIN[person.skin], [(27, 38), (37, 38), (38, 48), (26, 48)])
    canvas.ellipse("clothes", colour, 32, 60, 24, 15)
    canvas.polygon("clothes", colour, [(8, 60), (56, 60), (57, 66), (7, 66)])
    canvas.half("body", SKIN[person.skin], 32, 45, 6, 4, lower=True)


def _draw_head(canvas: Canvas, person: Person) -> None:
    head, colour = HEADS[person.age], _face_colour(person)
    for side in (-1, 1):
        canvas.ellipse("face_skin", mixed(colour, INK, 0.12), 32 + side * head.rx, head.y + 1, 2.6, 3.6)
    canvas.ellipse("face_skin", colour, 32, head.y, head.rx, head.ry)
    if person.emotion == "happiness":
        for side in (-1, 1):
            canvas.ellipse("face_skin", mixed(colour, (250, 70, 100), 0.6), 32 + side * 9.5, head.y + 6, 3.2, 2.6)
    if person.age in _AGE_MARKS:
        _AGE_MARKS[person.age](canvas, head, colour)


def _face_colour(person: Person) -> Colour:
    tint, share = TINT.get(person.emotion, (SKIN[person.skin], 0.0))
    return mixed(SKIN[person.skin], tint, share)


def _freckles(canvas: Canvas, head: Head, colour: Colour) -> None:
    for x, y in ((-10, 5), (-7.5, 7), (-10.5, 8.5), (10, 5), (7.5, 7), (10.5, 8.5)):
        canvas.ellipse("face_skin", mixed(colour, (110, 40, 10), 0.6), 32 + x, head.y + y - 1, 0.9, 0.9)


def _wrinkles(canvas: Canvas, head: Head, colour: Colour) -> None:
    dark = mixed(colour, INK, 0.5)
    for y in (-12.5, -10.3):
        canvas.line("face_skin", dark, [(26, head.y + y), (38, head.y + y)], 0.9)
    for side in (-1, 1):
        canvas.line("face_skin", dark, [(32 + side * 6, head.y + 4), (32 + side * 9.5, head.y + 8)], 0.9)
        canvas.line("face_skin", dark, [(32 + side * 9, head.y + 3), (32 + side * 11.5, head.y + 6)], 0.9)


_AGE_MARKS: dict[str, Callable[[Canvas, Head, Colour], None]] = {"4-19": _freckles, "70+": _wrinkles}

# Emotion -> half width, half height of the white of the eye, radius of the pupil; happy eyes are closed arcs.
_EYES: dict[str, tuple[float, float, float]] = {
    "surprise": (4.0, 4.4, 1.7),
    "fear": (4.0, 4.0, 0.9),
    "disgust": (3.6, 1.2, 1.1),
    "sadness": (3.3, 2.4, 1.5),
    "anger": (3.5, 2.2, 1.5),
    "neutral": (3.4, 2.8, 1.6),
}


def _draw_eyes(canvas: Canvas, person: Person) -> None:
    head = HEADS[person.age]
    if person.age == "40-69":
        _draw_lenses(canvas, head.y - 0.8)
    for side in (-1, 1):
        x, y = 32 + side * 6.4, head.y - 1
        if person.emotion == "happiness":
            canvas.arc("eyes_brows", INK, (x, y + 1, 3.6 * head.eye, 3.4 * head.eye), (190, 350), 1.5)
        else:
            _draw_open_eye(canvas, x, y, _EYES[person.emotion], head.eye)
        if person.gender == "female":
            outer = x + side * 3.4 * head.eye
            canvas.line("eyes_brows", INK, [(outer, y - 0.5), (outer + side * 2.2, y - 2.6)], 1.1)
    if person.age == "40-69":
        _draw_frames(canvas, head.y - 0.8)


def _draw_open_eye(canvas: Canvas, x: float, y: float, shape: tuple[float, float, float], size: float) -> None:
    rx, ry, pupil = (value * size for value in shape)
    canvas.ellipse("eyes_brows", INK, x, y, rx + 0.5, ry + 0.5)
    canvas.ellipse("eyes_brows", WHITE, x, y, rx, ry)
    canvas.ellipse("eyes_brows", INK, x, y, pupil, min(pupil, ry))


def _draw_lenses(canvas: Canvas, y: float) -> None:
    for side in (-1, 1):
        canvas.ellipse("eyes_brows", LENS, 32 + side * 6.8, y, 6.6, 6.2)


def _draw_frames(canvas: Canvas, y: float) -> None:
    for side in (-1, 1):
        canvas.arc("eyes_brows", FRAME, (32 + side * 6.8, y, 6.9, 6.5), (0, 360), 1.9)
        canvas.line("eyes_brows", FRAME, [(32 + side * 13, y), (32 + side * 16, y - 1)], 1.9)


# Emotion -> height of the brow above the eye at its inner and its outer end.
_BROWS: dict[str, tuple[float, float]] = {
    "surprise": (7.6, 7.2),
    "fear": (8.0, 5.0),
    "disgust": (3.0, 5.2),
    "happiness": (5.8, 5.0),
    "sadness": (7.0, 3.4),
    "anger": (2.2, 6.4),
    "neutral": (5.2, 5.2),
}


def _draw_brows(canvas: Canvas, person: Person) -> None:
    y = HEADS[person.age].y - 1
    inner, outer = _BROWS[person.emotion]
    colour = mixed(_hair_colour(person), INK, 0.75)
    for side in (-1, 1):
        canvas.line("eyes_brows", colour, [(32 + side * 2.6, y - inner), (32 + side * 10.4, y - outer)], 1.7)


def _mouth_surprise(canvas: Canvas, lips: Colour, y: float) -> None:
    canvas.ellipse("mouth", lips, 32, y + 0.6, 4.4, 5.4)
    canvas.ellipse("mouth", INK, 32, y + 0.6, 3.2, 4.2)


def _mouth_fear(canvas: Canvas, lips: Colour, y: float) -> None:
    points = [(24.5, y + 3), (26, y - 1.6), (38, y - 1.6), (39.5, y + 3)]
    canvas.polygon("mouth", WHITE, points)
    canvas.line("mouth", lips, [*points, points[0]], 1.2)
    canvas.line("mouth", INK, [(25, y + 1.6), (28, y - 0.2), (30.6, y + 1.8), (33.4, y - 0.2), (36, y + 1.8), (39, y)], 0.9)


def _mouth_disgust(canvas: Canvas, lips: Colour, y: float) -> None:
    canvas.line("mouth", lips, [(25, y + 1), (28.5, y - 1), (32, y + 0.4), (36, y - 1.4), (39, y + 0.2)], 1.8)
    canvas.ellipse("mouth", (250, 110, 150), 33.5, y + 3.2, 3.0, 3.8)
    canvas.line("mouth", (190, 50, 90), [(33.5, y + 1), (33.5, y + 4.4)], 0.8)


def _mouth_happiness(canvas: Canvas, lips: Colour, y: float) -> None:
    canvas.half("mouth", lips, 32, y - 2.4, 8.6, 8, lower=True)
    canvas.half("mouth", (90, 10, 20), 32, y - 1.9, 7.2, 6.4, lower=True)
    canvas.polygon("mouth", WHITE, [(25.2, y - 1.8), (38.8, y - 1.8), (37.6, y + 0.8), (26.4, y + 0.8)])


def _mouth_sadness(canvas: Canvas, lips: Colour, y: float) -> None:
    canvas.arc("mouth", lips, (32, y + 4.2, 6, 5), (195, 345), 2.0)


def _mouth_anger(canvas: Canvas, lips: Colour, y: float) -> None:
    canvas.half("mouth", lips, 32, y + 4.4, 7.6, 7, lower=False)
    canvas.half("mouth", INK, 32, y + 3.9, 6.2, 5.6, lower=False)
    canvas.polygon("mouth", WHITE, [(27, y + 3.8), (37, y + 3.8), (36.4, y + 2), (27.6, y + 2)])


def _mouth_neutral(canvas: Canvas, lips: Colour, y: float) -> None:
    canvas.line("mouth", lips, [(27, y + 0.8), (37, y + 0.8)], 2.0)


_MOUTHS: dict[str, Callable[[Canvas, Colour, float], None]] = {
    "surprise": _mouth_surprise,
    "fear": _mouth_fear,
    "disgust": _mouth_disgust,
    "happiness": _mouth_happiness,
    "sadness": _mouth_sadness,
    "anger": _mouth_anger,
    "neutral": _mouth_neutral,
}


def _draw_drops(canvas: Canvas, person: Person) -> None:
    """Tears of sadness, the sweat of fear."""
    y, water = HEADS[person.age].y, (60, 130, 255)
    if person.emotion == "sadness":
        for side in (-1, 1):
            canvas.line("face_skin", water, [(32 + side * 7.4, y + 2.4), (32 + side * 8.6, y + 10)], 2.2)
            canvas.ellipse("face_skin", water, 32 + side * 8.6, y + 9.6, 1.7, 2.2)
    if person.emotion == "fear":
        canvas.polygon("face_skin", (40, 90, 240), [(43.5, y - 12.5), (41.3, y - 6.5), (45.7, y - 6.5)])
        canvas.ellipse("face_skin", (40, 90, 240), 43.5, y - 6.2, 2.3, 2.2)


def _draw_hair_behind(canvas: Canvas, person: Person) -> None:
    head, colour = HEADS[person.age], _hair_colour(person)
    if person.gender == "female" and person.age == "4-19":
        for side in (-1, 1):
            canvas.ellipse("hair", colour, 32 + side * 20.5, head.y + 3, 5.6, 9.5)
    if person.gender == "female" and person.age in ("20-39", "40-69"):
        length = 29 if person.age == "20-39" else 18
        canvas.ellipse("hair", colour, 32, head.y - 2, head.rx + 5, head.ry + 3.5)
        canvas.polygon("hair", colour, _trapezium(head.y - 2, head.rx + 4.8, head.y - 4 + length, head.rx + 6.4))
    if person.gender == "female" and person.age == "70+":
        canvas.ellipse("hair", colour, 32, head.y - 18.5, 8, 6)
        canvas.ellipse("hair", colour, 32, head.y - 3, head.rx + 3, head.ry + 1.5)


def _trapezium(top: float, top_half: float, bottom: float, bottom_half: float) -> list[Point]:
    return [(32 - top_half, top), (32 + top_half, top), (32 + bottom_half, bottom), (32 - bottom_half, bottom)]


def _draw_hair_before(canvas: Canvas, person: Person) -> None:
    """Hair and headwear over the face: what tells gender and age apart at a glance."""
    _HAIRCUTS[person.gender, person.age](canvas, HEADS[person.age], _hair_colour(person), CLOTHES[person.clothes])


def _baby_girl(canvas: Canvas, head: Head, _hair: Colour, _clothes: Colour) -> None:
    y = head.y - head.ry - 1.5
    for side in (-1, 1):
        canvas.polygon("hair", (240, 30, 120), [(32, y + 1), (32 + side * 10, y - 4), (32 + side * 10, y + 6)])
    canvas.ellipse("hair", (150, 0, 70), 32, y + 1, 2.6, 2.6)


def _baby_boy(canvas: Canvas, head: Head, hair: Colour, _clothes: Colour) -> None:
    y = head.y - head.ry
    canvas.arc("hair", hair, (31.5, y + 1, 4.2, 4.4), (150, 420), 2.2)


def _girl(canvas: Canvas, head: Head, hair: Colour, _clothes: Colour) -> None:
    canvas.half("hair", hair, 32, head.y - 5, head.rx + 1, head.ry - 3.4, lower=False)
    for side in (-1, 1):
        canvas.ellipse("hair", CAP, 32 + side * 16.6, head.y - 5.5, 4.2, 4.2)


def _boy(canvas: Canvas, head: Head, hair: Colour, _clothes: Colour) -> None:
    for side in (-1, 1):
        canvas.ellipse("hair", hair, 32 + side * 14.2, head.y - 4.5, 1.8, 4.5)
    canvas.half("hair", CAP, 32, head.y - 6.5, head.rx + 1.5, head.ry - 2.5, lower=False)
    canvas.line("hair", (220, 40, 40), [(11, head.y - 7.2), (48, head.y - 7.2)], 3.4)
    canvas.ellipse("hair", (220, 40, 40), 32, head.y - 19, 2.6, 2.2)


def _woman(canvas: Canvas, head: Head, hair: Colour, _clothes: Colour) -> None:
    y = head.y - head.ry
    canvas.polygon("hair", hair, [(32, y - 1), (32, y + 3.5), (20, y + 15), (16, y + 22), (15, y + 10), (20, y + 1)])
    canvas.polygon("hair", hair, [(31, y - 1), (33, y + 3.5), (44, y + 14), (48, y + 22), (49, y + 10), (44, y + 1)])


def _man(canvas: Canvas, head: Head, hair: Colour, _clothes: Colour) -> None:
    y = head.y - head.ry
    canvas.half("hair", hair, 32, head.y - 7.2, head.rx + 1.6, head.ry - 5.4, lower=False)
    for side in (-1, 1):
        canvas.polygon("hair", hair, [(32 + side * x, y + h) for x, h in ((15.6, 8), (12, 8), (13.2, 15), (15, 15))])


def _older_woman(canvas: Canvas, head: Head, hair: Colour, _clothes: Colour) -> None:
    canvas.half("hair", hair, 32, head.y - 7.4, head.rx + 1, head.ry - 6.4, lower=False)
    for side in (-1, 1):
        canvas.ellipse("object", (255, 215, 40), 32 + side * 15.5, head.y + 8, 2, 2)


def _older_man(canvas: Canvas, head: Head, hair: Colour, _clothes: Colour) -> None:
    for side in (-1, 1):
        canvas.ellipse("hair", hair, 32 + side * 14, head.y - 6.5, 3, 6)
        canvas.ellipse("hair", hair, 32 + side * 8.5, head.y - 13.5, 7, 2.8)


def _old_woman(canvas: Canvas, head: Head, hair: Colour, _clothes: Colour) -> None:
    for side in (-1, 1):
        canvas.ellipse("hair", hair, 32 + side * 11, head.y - 11.5, 5.4, 4.4)
        canvas.ellipse("hair", hair, 32 + side * 14.4, head.y - 5, 2.4, 6)


def _old_man(canvas: Canvas, head: Head, hair: Colour, _clothes: Colour) -> None:
    for side in (-1, 1):
        canvas.ellipse("hair", hair, 32 + side * 14.8, head.y - 2.5, 3.4, 5.5)
        canvas.ellipse("hair", hair, 32 + side * 12.6, head.y + 10, 3.0, 6)
    canvas.ellipse("hair", hair, 32, head.y + 17.5, 10.5, 3.8)


_HAIRCUTS: dict[tuple[str, str], Callable[[Canvas, Head, Colour, Colour], None]] = {
    ("female", "0-3"): _baby_girl,
    ("male", "0-3"): _baby_boy,
    ("female", "4-19"): _girl,
    ("male", "4-19"): _boy,
    ("female", "20-39"): _woman,
    ("male", "20-39"): _man,
    ("female", "40-69"): _older_woman,
    ("male", "40-69"): _older_man,
    ("female", "70+"): _old_woman,
    ("male", "70+"): _old_man,
}


def _hand(canvas: Canvas, person: Person, x: float, y: float) -> None:
    canvas.ellipse("body", SKIN[person.skin], x, y, 3.4, 3.2)


def _reading(canvas: Canvas, person: Person) -> None:
    canvas.polygon("object", (130, 60, 20), [(10, 45.5), (54, 45.5), (56, 63.5), (8, 63.5)])
    for side in (-1, 1):
        page = [(32 + side * x, y) for x, y in ((0.8, 49), (19, 46.5), (21, 60.5), (0.8, 62.5))]
        canvas.polygon("object", WHITE, page)
        for y in (51, 54, 57):
            canvas.line("object", (110, 110, 120), [(32 + side * 3.5, y + 0.8), (32 + side * 17, y - 0.6)], 1.1)
        _hand(canvas, person, 32 + side * 22, 57)


def _drinking(canvas: Canvas, person: Person) -> None:
    canvas.arc("object", (200, 30, 40), (55, 54, 5.5, 5.5), (-100, 100), 2.6)
    canvas.polygon("object", (225, 40, 50), [(37, 45), (55, 45), (53.5, 63), (38.5, 63)])
    canvas.ellipse("object", WHITE, 46, 45.5, 9, 2.6)
    canvas.ellipse("object", (80, 45, 20), 46, 45.7, 7.2, 1.7)
    for x in (50.5, 55.5):
        canvas.line("object", WHITE, [(x, 42), (x + 1.8, 38.5), (x, 35), (x + 1.8, 31)], 1.5)
    _hand(canvas, person, 38.5, 55)


def _cooking(canvas: Canvas, person: Person) -> None:
    canvas.line("object", (120, 70, 30), [(40, 54), (61, 47)], 3.6)
    canvas.ellipse("object", (44, 44, 50), 25, 55, 20, 8.2)
    canvas.ellipse("object", (84, 84, 92), 25, 54.4, 17.2, 6.2)
    canvas.ellipse("object", WHITE, 23.5, 54.2, 11.5, 4.8)
    canvas.ellipse("object", (255, 190, 20), 24, 53.8, 4.6, 2.9)
    _hand(canvas, person, 54, 49.5)


def _football(canvas: Canvas, person: Person) -> None:
    canvas.ellipse("object", INK, 32, 54.4, 10.6, 10.2)
    canvas.ellipse("object", WHITE, 32, 54.4, 9.7, 9.3)
    canvas.polygon("object", INK, [(32, 50.6), (36, 53.6), (34.4, 58), (29.6, 58), (28, 53.6)])
    for x, y in ((24.4, 50.6), (39.6, 50.6), (26, 61.4), (38, 61.4), (32, 46)):
        canvas.ellipse("object", INK, x, y, 2, 1.8)
    for side in (-1, 1):
        _hand(canvas, person, 32 + side * 11.5, 56)


def _repairing(canvas: Canvas, person: Person) -> None:
    canvas.line("object", (150, 90, 40), [(55.5, 63.5), (55.5, 36)], 3.6)
    canvas.polygon("object", (96, 102, 116), [(47.5, 33), (60, 33), (63.5, 35), (63.5, 40), (47.5, 40)])
    canvas.polygon("object", (60, 64, 74), [(46.5, 31.5), (51, 31.5), (51, 41.5), (46.5, 41.5)])
    _hand(canvas, person, 55.5, 55)


def _dancing(canvas: Canvas, person: Person) -> None:
    for side in (-1, 1):
        elbow, wrist = (32 + side * 27.5, 42), (32 + side * 26.5, 17)
        canvas.line("clothes", CLOTHES[person.clothes], [(32 + side * 19, 54), elbow, wrist], 5)
        canvas.ellipse("clothes", CLOTHES[person.clothes], *elbow, 2.5, 2.5)
        canvas.ellipse("body", SKIN[person.skin], wrist[0], 14, 4, 4.6)


_OBJECTS: dict[str, Callable[[Canvas, Person], None]] = {
    "reading": _reading,
    "drinking": _drinking,
    "cooking": _cooking,
    "football": _football,
    "repairing": _repairing,
    "dancing": _dancing,
}

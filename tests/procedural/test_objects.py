"""The object grammar: geometry and captions of every category."""

import math
import random
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from scipy.sparse.csgraph import connected_components
from tokenizers import Tokenizer

import sds3d.priors.pocket
from sds3d.priors.pocket.text import MAX_TOKENS
from sds3d.procedural.objects import CATEGORIES, OBJECTS, sample_object, scenes
from sds3d.procedural.objects.colors import COLORS, PLAIN
from sds3d.procedural.objects.synonyms import ADJECTIVES, NOUNS, PARTS
from sds3d.procedural.objects.vocabulary import (
    ALIKE,
    CLOSE,
    FRAMES,
    HELD_OUT,
    STYLES,
    WOODS,
    Palette,
    caption,
    pluralize,
)  # fmt: skip
from sds3d.procedural.parts import GLOWING, MAX_PARTS, METALLIC, Part, bounds, half_extents, normalize, pack

SHIPPED = Path(sds3d.priors.pocket.__file__).parent / "weights"

SEEDS = range(20)


def count_bodies(parts: list[Part]) -> int:
    """The number of groups into which the world boxes of all solid parts overlap."""
    low, high = (np.array(corners) for corners in zip(*(bounds(p) for p in parts if not p.cut), strict=True))
    touches = (low[:, None] <= high).all(-1) & (low <= high[:, None]).all(-1)
    return int(connected_components(touches, directed=False)[0])


def distances(parts: list[Part], points: np.ndarray) -> np.ndarray:
    """Signed distances [P], or bounds of them, at `points` [P, 3]: an independent `object_distance` of trace.h."""
    solid, cut = np.full(len(points), np.inf), np.full(len(points), -np.inf)
    for p in parts:
        d = distance_of_part(p, (points - p.center) @ p.rotation)
        if p.cut:
            cut = np.maximum(cut, -d)
        else:
            near = np.maximum(p.blend - np.abs(d - solid), 0)
            solid = np.minimum(d, solid) - (near**2 / (4 * p.blend) if p.blend else 0)
    return np.maximum(solid, cut)


def distance_of_part(part: Part, q: np.ndarray) -> np.ndarray:
    (a, b, c), (x, y, z) = part.size, q.T
    match part.kind:
        case "ellipsoid":
            k0, k1 = np.linalg.norm(q / part.size, axis=1), np.linalg.norm(q / np.square(part.size), axis=1)
            return k0 * (k0 - 1) / np.maximum(k1, 1e-6)
        case "box":
            return np.maximum(np.maximum(np.abs(x) - a, np.abs(y) - b), np.abs(z) - c)
        case "frustum":
            radius = a * (1 + (part.taper - 1) * (z / c + 1) / 2)
            slope = a * (1 - part.taper) / (2 * c)
            return np.maximum((np.hypot(x, y) - radius) / np.hypot(1, slope), np.abs(z) - c)
        case "torus":
            return np.hypot(np.hypot(x, y) - a, z) - c
        case "capsule":
            along = np.clip(z, -c, c)
            return np.sqrt(x**2 + y**2 + (z - along) ** 2) - a * (1 + (part.taper - 1) * (along / c + 1) / 2)
        case "arc":
            half = b / a
            angle = np.clip(np.arctan2(x, z), -half, half)
            widest = np.sin(half) if half < np.pi / 2 else 1.0
            along = np.clip(x / (a * widest), -1, 1)
            gap = np.sqrt((x - a * np.sin(angle)) ** 2 + y**2 + (z - a * np.cos(angle)) ** 2)
            return gap - c * (1 + (part.taper - 1) * (along + 1) / 2)
        case "wedge":
            up = (z / c + 1) / 2
            wide, deep = a * (1 + (part.taper - 1) * up), b * (1 + (part.taper_y - 1) * up)
            side_x = (np.abs(x) - wide) / np.hypot(1, a * (1 - part.taper) / (2 * c))
            side_y = (np.abs(y) - deep) / np.hypot(1, b * (1 - part.taper_y) / (2 * c))
            return np.maximum(np.maximum(side_x, side_y), np.abs(z) - c)
    raise AssertionError(part.kind)


GRID = np.stack(np.meshgrid(*[np.linspace(-1, 1, 41)] * 3, indexing="ij"), -1).reshape(-1, 3)
NEAR = 0.04  # half the diagonal of a cell of 0.05 is 0.043: thin sheets are found, gaps below 0.08 are not


def test_there_are_many_categories() -> None:
    assert len(CATEGORIES) >= 90


@pytest.mark.parametrize("category", CATEGORIES)
def test_each_object_is_one_body_in_the_unit_ball(category: str) -> None:
    parts, _ = sample_object(random.Random(99), category)
    field = distances(parts, GRID)
    assert np.linalg.norm(GRID[field < 0], axis=1).max() <= 1.0
    assert ndimage.label((field < NEAR).reshape(41, 41, 41), np.ones((3, 3, 3)))[1] == 1


@pytest.mark.parametrize("category", CATEGORIES)
def test_parts_are_finite_in_range_and_connected(category: str) -> None:
    for seed in SEEDS:
        parts, _ = sample_object(random.Random(seed), category)
        packed = pack(parts)
        assert 0 < len(parts) <= MAX_PARTS
        assert np.isfinite(packed).all()
        colors = packed[: len(parts), 14:20]
        assert colors.min() >= 0 and colors.max() <= 1
        for p in parts:
            assert min(p.size) > 0, p
            assert p.cut or np.abs(np.array(p.center)).max() + half_extents(p).min() <= 1.0 + 1e-6, p
        assert count_bodies(parts) == 1, f"seed {seed} has floating parts"


@pytest.mark.parametrize("category", CATEGORIES)
def test_captions_are_distinct_and_short(category: str) -> None:
    for seed in SEEDS:
        captions = sample_object(random.Random(seed), category)[1]
        assert len(set(captions)) == 4
        for text in captions:
            assert text == " ".join(text.split()) and 1 <= len(text.split()) <= 20, text


def vocabulary() -> set[str]:
    """Every phrase of captions, except for the names in the builders."""
    colors = {name for variants in COLORS.values() for _, names in variants for name in names}
    woods = {name for _, names in WOODS for name in names}
    synonyms = {name for table in (NOUNS, PARTS, ADJECTIVES) for names in table.values() for name in names}
    return colors | woods | synonyms | set(STYLES) | set(FRAMES)


def is_held_out(word: str) -> bool:
    """Whether `word` is a held-out word, its plural, or a compound with one."""
    return any(word.startswith(held) or (len(held) > 4 and word.endswith(held)) for held in HELD_OUT)


@pytest.fixture(scope="module")
def captions() -> list[str]:
    rng = random.Random(0)
    builds = [OBJECTS[CATEGORIES[k % len(CATEGORIES)]](rng)[1] for k in range(30_000)]
    made = [scenes.sample_scene(rng) for _ in range(4000)]
    return [caption(rng, words) for words in builds for _ in range(6)] + [
        scene.say(rng) for scene in made for _ in "ab"
    ]


def test_no_caption_has_a_held_out_word(captions: list[str]) -> None:
    assert is_held_out("puppies") is False and is_held_out("kittens") and is_held_out("jetliner") and is_held_out("fir")
    used = {word for text in [*captions, *vocabulary()] for word in re.findall("[a-z0-9]+", text.lower())}
    assert not [word for word in used if is_held_out(word)]


def test_captions_fit_in_the_text_encoder(captions: list[str]) -> None:
    tokenizer = Tokenizer.from_file(str(SHIPPED / "text_encoder" / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    assert max(len(tokens) for tokens in tokenizer.encode_batch(list(set(captions)))) <= MAX_TOKENS


def test_a_color_word_belongs_to_one_family() -> None:
    family: dict[str, str] = {}
    for name, variants in COLORS.items():
        for word in {word for _, words in variants for word in words}:
            assert family.setdefault(word, name) == name, word


def test_plain_colors_have_their_share() -> None:
    """Three of five free colors of each family are plain; all typical and all fixed ones are."""
    pal = Palette(random.Random(0))
    plain = {(name, words) for name, variants in PLAIN.items() for _, words in variants}
    pal.typical = True
    drawn = [pal.pick(name) for name in COLORS for _ in range(50)] + [pal.fixed(name) for name in COLORS for _ in "ab"]
    assert all((paint.name, paint.words) in plain for paint in drawn)
    pal.typical = False
    free = [pal.pick() for _ in range(50_000)]
    for name in COLORS:
        is_plain = [(paint.name, paint.words) in plain for paint in free if paint.name == name]
        # 1,700 draws of the rarest families: the standard error is 0.012
        assert sum(is_plain) / len(is_plain) == pytest.approx(0.6, abs=0.05), name


def test_unlike_colors_differ() -> None:
    rng = random.Random(1)
    for _ in range(5000):
        pal = Palette(rng)
        pal.typical = False
        one = pal.pick()
        other = pal.pick(unlike=(one,))
        assert other.name not in (one.name, *CLOSE.get(one.name, ()))
        assert math.dist(one.color, other.color) >= ALIKE, (one, other)


def test_captions_have_correct_articles_and_no_repeated_words(captions: list[str]) -> None:
    for text in captions:
        assert not re.search(r"\ba (?!ufo)[aeiou]|\ba hour|\ban (?!hour)[^aeiou]", text), text
        assert not re.search(r"\b(\w+) \1\b|\ban? an? |  ", text), text


def test_captions_use_every_word_of_the_vocabulary(captions: list[str]) -> None:
    """Half of the names are the usual ones, and every word of every table is used."""
    dogs = [sample_object(random.Random(seed), "dog", 1)[1][0] for seed in range(1000)]
    assert 0.4 < sum("dog" in text.split() for text in dogs) / len(dogs) < 0.8
    text = " | ".join(captions)
    assert not [name for name in vocabulary() if name.replace("{}", "").strip() not in text]


def test_every_key_of_the_synonyms_is_a_word_of_some_object() -> None:
    nouns: set[str] = set()
    parts: set[str] = set()
    adjectives: set[str] = set()
    for build in OBJECTS.values():
        for seed in range(150):
            words = build(random.Random(seed))[1]
            nouns |= set(words.nouns)
            adjectives |= set(words.adjectives)
            parts |= {part for _, names in words.details for part in names.split("|")}
    assert nouns == set(NOUNS) and set(PARTS) <= parts and set(ADJECTIVES) <= adjectives


def test_the_number_of_captions_can_be_one() -> None:
    assert len(sample_object(random.Random(0), "car", num_captions=1)[1]) == 1


def test_the_same_seed_gives_the_same_object() -> None:
    for seed in range(20):
        (parts, captions), (again, same) = sample_object(random.Random(seed)), sample_object(random.Random(seed))
        assert captions == same
        assert np.array_equal(pack(parts), pack(again))


@pytest.fixture(scope="module", params=tuple(scenes.SHARES))
def made(request: pytest.FixtureRequest) -> tuple[str, list[tuple[scenes.Scene, str]]]:
    """A form, and scenes of that form with one caption each."""
    rng = random.Random(7)
    drawn = [scenes.sample_scene(rng, request.param) for _ in range(120)]
    return request.param, [(scene, scene.say(rng)) for scene in drawn]


def test_a_scene_has_its_number_of_bodies(made: tuple[str, list[tuple[scenes.Scene, str]]]) -> None:
    for scene, text in made[1]:
        parts = normalize(scene.parts)
        assert len(parts) <= MAX_PARTS
        assert count_bodies(parts) == scene.bodies, text
        for p in parts:
            assert p.cut or np.abs(np.array(p.center)).max() + half_extents(p).min() <= 1.0 + 1e-6, text


PATTERNS = {
    "surface": r"strip|dott|check|two-tone|half|metal|glowing|luminous|neon|matte|dull| and ",
    "count": r"\b(two|pair|2|three|3|four|4)\b",
    "stack": r"\b(stack|stacked|pile|on top of each other)\b",
    "on top": r"\b(on|on top)\b",
    "next to": r"\b(next to|beside|near)\b",
}


def test_captions_describe_the_form_of_a_scene(made: tuple[str, list[tuple[scenes.Scene, str]]]) -> None:
    """Always counts and positions; a surface in most captions, since some describe only other parts."""
    form, drawn = made
    if form == "object":
        return
    missing = [text for _, text in drawn if not re.search(PATTERNS[form], text)]
    assert len(missing) <= (0.35 * len(drawn) if form == "surface" else 0), missing


def test_numbers_in_captions_equal_the_number_of_bodies() -> None:
    rng = random.Random(3)
    for _ in range(100):
        scene = scenes.sample_scene(rng, "count")
        words = scene.say(rng).split()
        said = {n for n, names in scenes.NUMBERS.items() if {name.split()[-2:][0] for name in names} & set(words)}
        assert said == {scene.bodies}


def test_surfaces_match_their_captions() -> None:
    rng = random.Random(5)
    seen = set()
    for _ in range(300):
        scene = scenes.sample_scene(rng, "surface")
        shines, patterns, text = {p.shine for p in scene.parts}, {p.pattern for p in scene.parts}, scene.say(rng)
        for said, holds in (
            ("luminous", GLOWING in shines), ("metallic", METALLIC in shines), ("stripy", "stripes" in patterns),
            ("dotty", "dots" in patterns), ("checked", "checks" in patterns), ("matte", bool(shines - {GLOWING})),
        ):  # fmt: skip
            if said in text.split():
                assert holds, text
                seen.add(said)
    assert len(seen) == 6


@pytest.mark.parametrize(
    ("one", "many"),
    [
        ("red car", "red cars"), ("bus", "buses"), ("torch", "torches"), ("berry", "berries"), ("toy", "toys"),
        ("sheep", "sheep"), ("goldfish", "goldfish"), ("snow man", "snow men"), ("slice of pizza", "slices of pizza"),
        ("bookshelf", "bookshelves"), ("candle in a holder", "candles in a holder"), ("cactus", "cactuses"),
        ("box", "boxes"), ("snow person", "snow people"),
    ],
)  # fmt: skip
def test_plurals(one: str, many: str) -> None:
    assert pluralize(one) == many

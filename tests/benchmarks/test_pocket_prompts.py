"""The prompts of the pocket prior's benchmarks: many kinds, and all within the training captions."""

import importlib
import random
import re
from collections import Counter

from sds3d.procedural.objects import scenes
from sds3d.procedural.objects.kinds import OBJECTS
from sds3d.procedural.objects.vocabulary import pluralize
from sds3d.procedural.parts import MAX_PARTS
from tests.helpers.words import words

PROMPTS = importlib.import_module("benchmarks.pocket_prompts").PROMPTS


def kinds_in(prompt: str) -> list[str]:
    """The kinds of objects that a prompt names, in its order; the longest names are read first."""
    names = {pluralize(noun) if many else noun: kind for kind in OBJECTS for noun in (kind,) for many in (0, 1)}
    pattern = "|".join(sorted(map(re.escape, names), key=len, reverse=True))
    return [names[name] for name in re.findall(rf"\b(?:{pattern})\b", prompt)]


def test_pocket_prompts_name_many_kinds() -> None:
    prompts = [prompt for prompts in PROMPTS.values() for prompt in prompts]
    assert len(prompts) == len(set(prompts)) == 48
    assert [len(PROMPTS[name]) for name in ("count", "on top of", "next to", "no attribute")] == [8, 4, 4, 8]
    kinds = Counter(kind for prompt in prompts for kind in kinds_in(prompt))
    assert len(kinds) >= 45 and len({OBJECTS[kind].__module__ for kind in kinds}) >= 10
    for tested, group in PROMPTS.items():
        for prompt in group:
            assert len(kinds_in(prompt)) == (2 if tested in ("on top of", "next to") else 1), prompt


def test_pocket_prompts_use_only_words_of_training_captions(captions: list[str]) -> None:
    known = set().union(*map(words, captions))
    known |= {pluralize(word) for word in known if word}  # few of these captions have a plural
    for prompt in (prompt for prompts in PROMPTS.values() for prompt in prompts):
        assert words(prompt) <= known, prompt
    for prompt in PROMPTS["count"]:
        assert words(prompt) & {"two", "three", "four", "pair"}


def test_pocket_prompts_describe_scenes_of_the_grammar() -> None:
    """The number of objects fits in a scene, and the lower object of a stack can carry others."""
    rng = random.Random(0)
    for prompt in PROMPTS["count"]:
        [kind] = kinds_in(prompt)
        draw = scenes.stacked if "stack" in prompt else scenes.several
        wanted = {"two": 2, "pair": 2, "three": 3, "four": 4}
        [number] = [wanted[word] for word in words(prompt) & set(wanted)]
        drawn = (draw(rng, *OBJECTS[kind](rng)) for _ in range(200))
        shown = {scene.say(rng): len(scene.parts) for scene in drawn if scene}
        numbers = {2: ("two", "pair", "2"), 3: ("three", "3"), 4: ("four", "4")}[number]
        fitting = [parts for text, parts in shown.items() if words(text) & set(numbers)]
        assert fitting and min(fitting) <= MAX_PARTS, prompt
    for prompt in PROMPTS["on top of"]:
        assert kinds_in(prompt)[1] in scenes.SUPPORTS

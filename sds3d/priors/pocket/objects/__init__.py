"""The procedural object grammar: random objects made of parts, each with captions that are true of it."""

from __future__ import annotations

import random
from collections.abc import Callable

from sds3d.priors.pocket.objects import (
    animals_and_characters as animals,
)
from sds3d.priors.pocket.objects import (
    buildings,
    furniture,
    household,
    vehicles,
)
from sds3d.priors.pocket.objects import (
    food_and_plants as food,
)
from sds3d.priors.pocket.objects.vocabulary import Words, caption
from sds3d.priors.pocket.parts import Part, normalize

NUM_CAPTIONS = 4

# category -> builder of one random object, in free units, with what may be said about it
OBJECTS: dict[str, Callable[[random.Random], tuple[list[Part], Words]]] = {
    "chair": furniture.chair,
    "table": furniture.table,
    "stool": furniture.stool,
    "sofa": furniture.sofa,
    "bed": furniture.bed,
    "lamp": furniture.lamp,
    "clock": furniture.clock,
    "chest": furniture.chest,
    "barrel": furniture.barrel,
    "car": vehicles.car,
    "truck": vehicles.truck,
    "bus": vehicles.bus,
    "train": vehicles.train,
    "airplane": vehicles.airplane,
    "rocket": vehicles.rocket,
    "sailboat": vehicles.sailboat,
    "submarine": vehicles.submarine,
    "traffic cone": vehicles.traffic_cone,
    "house": buildings.house,
    "castle": buildings.castle,
    "tower": buildings.tower,
    "lighthouse": buildings.lighthouse,
    "windmill": buildings.windmill,
    "mushroom": food.mushroom,
    "tree": food.tree,
    "pine tree": food.pine_tree,
    "cactus": food.cactus,
    "flower": food.flower,
    "apple": food.apple,
    "pear": food.pear,
    "carrot": food.carrot,
    "pumpkin": food.pumpkin,
    "donut": food.donut,
    "ice cream": food.ice_cream,
    "cupcake": food.cupcake,
    "cake": food.cake,
    "hamburger": food.hamburger,
    "banana": food.banana,
    "snowman": animals.snowman,
    "robot": animals.robot,
    "teddy bear": animals.teddy_bear,
    "duck": animals.duck,
    "dog": animals.dog,
    "cat": animals.cat,
    "pig": animals.pig,
    "penguin": animals.penguin,
    "bird": animals.bird,
    "fish": animals.fish,
    "ladybug": animals.ladybug,
    "bee": animals.bee,
    "mug": household.mug,
    "teapot": household.teapot,
    "bottle": household.bottle,
    "vase": household.vase,
    "bowl": household.bowl,
    "goblet": household.goblet,
    "trophy": household.trophy,
    "hammer": household.hammer,
    "sword": household.sword,
    "axe": household.axe,
    "key": household.key,
    "top hat": household.top_hat,
    "party hat": household.party_hat,
    "umbrella": household.umbrella,
    "guitar": household.guitar,
    "drum": household.drum,
    "dice": household.dice,
    "gift": household.gift,
    "hot air balloon": household.balloon,
    "ball": household.ball_toy,
    "cube": household.cube,
    "cone": household.cone_solid,
    "cylinder": household.cylinder_solid,
    "ring": household.ring_solid,
}
CATEGORIES: tuple[str, ...] = tuple(OBJECTS)


def sample_object(
    rng: random.Random, category: str | None = None, num_captions: int = NUM_CAPTIONS
) -> tuple[list[Part], list[str]]:
    """Parts of a random object within the unit ball, and different captions of it; any category if none is given."""
    parts, words = OBJECTS[category or rng.choice(CATEGORIES)](rng)
    captions: list[str] = []
    while len(captions) < num_captions:
        text = caption(rng, words)
        if text not in captions:
            captions.append(text)
    return normalize(parts), captions

"""Rare names of colors, grouped by the common name that they replace in some training captions of the prior.

From one name per color a network learns that name. From many names it learns how colors are arranged among words, and so
also the meaning of names that it never read. `colors.py` has none of these names, so neither the pool nor the judge
knows them.
"""

from __future__ import annotations

import random
import re
from functools import cache

from sds3d.procedural.objects.colors import COLORS
from sds3d.procedural.objects.wordings import replace_words, whole_words

SHARE = 0.3  # of the color names that have rare alternatives

# a name of colors.py -> others of the same color
RARE: dict[str, tuple[str, ...]] = {
    "red": ("lipstick red", "candy apple red", "rose red", "chili red", "strawberry red", "cadmium red"),
    "bright red": ("lipstick red", "geranium red", "pillar box red", "ladybug red"),
    "dark red": ("merlot", "claret", "bordeaux", "black cherry", "cranberry", "pomegranate"),
    "light red": ("watermelon red", "bittersweet red"),
    "orange": ("clementine", "mandarin orange", "papaya", "persimmon", "traffic cone orange", "cadmium orange", "kumquat"),
    "light orange": ("melon orange", "sherbet orange"),
    "dark orange": ("ginger", "paprika"),
    "yellow": ("daffodil yellow", "corn yellow", "buttercup yellow", "school bus yellow", "rubber duck yellow", "chick yellow"),
    "light yellow": ("primrose", "buttermilk", "citron"),
    "pale yellow": ("chiffon", "straw yellow"),
    "golden yellow": ("goldenrod", "turmeric"),
    "green": ("clover green", "parrot green", "frog green", "ivy green", "malachite", "traffic light green", "basil green"),
    "dark green": ("spruce green", "cypress green", "juniper green", "racing green", "holly green", "spinach green"),
    "light green": ("pear green", "honeydew", "sprout green", "grasshopper green", "peridot"),
    "lime green": ("key lime", "slime green"),
    "mint green": ("spearmint", "peppermint green"),
    "olive green": ("pickle green", "camouflage green", "khaki green"),
    "blue": ("lapis lazuli", "ocean blue", "marine blue", "bluebird blue", "gentian blue", "blueberry blue", "delft blue"),
    "dark blue": ("prussian blue", "oxford blue", "admiral blue", "ink blue", "sailor blue"),
    "light blue": ("carolina blue", "glacier blue", "robin egg blue", "hydrangea blue", "topaz blue"),
    "pale blue": ("frost blue", "mist blue"),
    "purple": ("iris purple", "crocus purple", "pansy purple", "heliotrope", "byzantium", "beet purple", "imperial purple"),
    "light purple": ("wisteria", "heather", "thistle", "hyacinth"),
    "dark purple": ("blackberry", "fig purple", "raisin", "elderberry"),
    "indigo": ("midnight purple", "ink purple"),
    "pink": ("carnation pink", "flamingo pink", "peony pink", "cherry blossom pink", "azalea pink", "lotus pink", "bubble gum"),
    "light pink": ("cotton candy pink", "tulip pink", "piggy pink"),
    "hot pink": ("neon pink", "azalea", "dragon fruit pink"),
    "fuchsia": ("beetroot pink", "bougainvillea", "rhododendron"),
    "raspberry": ("ruby pink", "amaranth"),
    "brown": ("hickory", "acorn brown", "umber", "mocha", "bark brown", "leather brown", "teak brown", "cigar brown"),
    "light brown": ("fawn", "biscuit", "latte brown", "almond brown", "cork"),
    "dark brown": ("espresso", "bistre", "peat brown", "brownie"),
    "chestnut brown": ("russet", "fox brown"),
    "black": ("obsidian", "soot black", "ink black", "tar black", "licorice", "sable", "coal", "panther black", "carbon black"),
    "deep black": ("vantablack", "black as night", "crow black"),
    "off black": ("ash black", "lava black", "blackboard black"),
    "white": ("alabaster", "porcelain white", "bone", "paper white", "cotton white", "lily white", "marble white", "salt white"),
    "snow white": ("frost white", "polar white", "sugar white"),
    "off white": ("oyster", "parchment white", "coconut white"),
    "grey": ("smoke grey", "cement grey", "elephant grey", "lead grey", "mouse grey"),
    "gray": ("smoke gray", "cement gray", "elephant gray", "lead gray", "mouse gray"),
    "light grey": ("cloud grey", "fog grey"),
    "light gray": ("cloud gray", "fog gray"),
    "dark grey": ("anthracite", "asphalt grey", "shark grey"),
    "dark gray": ("anthracite", "asphalt gray", "shark gray"),
    "teal": ("lagoon", "mallard teal", "pine teal", "verdigris"),
    "turquoise": ("pool blue", "lagoon blue", "caribbean blue"),
    "cyan": ("process cyan", "neon aqua"),
    "dark teal": ("deep sea green", "mallard green"),
    "beige": ("ecru", "wheat", "oat", "almond"),
    "tan": ("dune", "cardboard", "desert tan"),
    "pale beige": ("eggnog", "nude"),
    "gold": ("gilt", "bullion gold"),
    "silver": ("aluminium", "platinum", "tin", "nickel"),
    "bronze": ("statue bronze", "gunmetal bronze"),
    "copper": ("penny copper", "new penny"),
    "salmon": ("shrimp pink", "flamingo orange"),
    "terracotta": ("clay", "adobe"),
    "mustard": ("dijon", "curry yellow"),
}  # fmt: skip


def with_rare_colors(rng: random.Random, caption: str) -> str:
    """`caption` with a SHARE of its color names replaced by rare names; "a" or "an" before them is corrected."""

    def rename(name: str) -> str:
        return rng.choice(RARE[name]) if name in RARE and rng.random() < SHARE else name

    return replace_words(caption, _color_names(), rename)


@cache
def _color_names() -> re.Pattern[str]:
    """All names, not only those in RARE, so that "dark red" is never read as "red"."""
    return whole_words({word for variants in COLORS.values() for _, words in variants for word in words})

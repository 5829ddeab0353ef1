"""The colors of objects and the words for them."""

from __future__ import annotations

from sds3d.procedural.parts import Vec3

# name -> variants, each a typical sRGB color with the words that describe it, the most common first
Variants = tuple[tuple[Vec3, tuple[str, ...]], ...]

# the colors that the name usually means
PLAIN: dict[str, Variants] = {
    "red": (
        ((0.86, 0.10, 0.10), ("red", "bright red", "scarlet", "cherry red", "vivid red", "poppy red", "primary red")),
        ((0.75, 0.08, 0.12), ("red", "ruby red", "ruby", "cherry red", "cardinal red", "rich red")),
        ((0.50, 0.06, 0.09), ("dark red", "red", "maroon", "burgundy", "wine red", "deep red")),
    ),
    "orange": (
        ((0.97, 0.50, 0.08), ("orange", "bright orange", "tangerine", "tangerine orange")),
        ((0.94, 0.42, 0.10), ("orange", "bright orange", "vivid orange", "carrot orange", "pumpkin orange", "deep orange")),
    ),
    "yellow": (
        ((0.98, 0.84, 0.12), ("yellow", "bright yellow", "sunny yellow", "sunflower yellow", "canary yellow", "vivid yellow", "banana yellow")),
        ((0.97, 0.90, 0.35), ("yellow", "lemon yellow", "light yellow", "canary yellow", "lemon")),
    ),
    "green": (
        ((0.20, 0.66, 0.22), ("green", "grass green", "bright green", "leaf green", "kelly green", "vivid green", "fresh green")),
        ((0.10, 0.42, 0.18), ("dark green", "green", "forest green", "bottle green", "deep green", "pine green", "hunter green")),
        ((0.52, 0.80, 0.22), ("light green", "green", "lime green", "apple green", "lime", "yellowish green")),
    ),
    "blue": (
        ((0.13, 0.33, 0.85), ("blue", "bright blue", "royal blue", "cobalt blue", "cobalt", "sapphire", "vivid blue")),
        ((0.10, 0.16, 0.48), ("dark blue", "navy", "navy blue", "midnight blue", "deep blue", "blue")),
        ((0.42, 0.68, 0.96), ("light blue", "sky blue", "baby blue", "cornflower blue", "blue")),
    ),
    "purple": (
        ((0.50, 0.18, 0.72), ("purple", "bright purple", "royal purple", "grape purple", "amethyst")),
        ((0.66, 0.48, 0.86), ("light purple", "purple", "lavender", "lilac", "soft purple")),
        ((0.36, 0.11, 0.38), ("dark purple", "purple", "plum", "plum purple", "eggplant purple", "aubergine")),
    ),
    "pink": (
        ((0.97, 0.55, 0.72), ("pink", "light pink", "baby pink", "bubblegum pink", "candy pink", "soft pink")),
        ((0.95, 0.30, 0.58), ("pink", "hot pink", "bright pink", "deep pink", "shocking pink")),
    ),
    "brown": (
        ((0.46, 0.27, 0.13), ("brown", "chocolate brown", "walnut brown", "cocoa brown", "chocolate")),
        ((0.64, 0.42, 0.22), ("light brown", "brown", "caramel", "caramel brown", "toffee brown", "hazelnut brown")),
        ((0.30, 0.17, 0.09), ("dark brown", "brown", "coffee brown", "deep brown", "dark chocolate")),
    ),
    "black": (
        ((0.07, 0.07, 0.08), ("black", "coal black", "pitch black", "ebony", "inky black", "raven black", "deep black", "onyx", "midnight black")),
    ),
    "white": (
        ((0.95, 0.95, 0.94), ("white", "snow white", "pure white", "bright white", "milky white", "chalk white", "snowy white")),
        ((0.97, 0.96, 0.92), ("white", "off white", "milk white", "snow white", "eggshell white", "creamy white")),
    ),
    "grey": (
        ((0.52, 0.53, 0.55), ("grey", "gray", "gray", "medium grey", "medium gray", "ash gray", "concrete grey")),
        ((0.72, 0.73, 0.74), ("light grey", "light gray", "grey", "gray", "pale grey", "pale gray", "dove grey")),
    ),
    "teal": (
        ((0.08, 0.62, 0.62), ("teal", "turquoise", "dark turquoise", "dark cyan", "teal green", "peacock blue")),
        ((0.15, 0.80, 0.85), ("turquoise", "aqua", "bright turquoise", "aqua blue", "light teal")),
    ),
    "beige": (
        ((0.90, 0.80, 0.62), ("beige", "sand colored", "buff", "light beige")),
        ((0.83, 0.70, 0.50), ("tan", "beige", "khaki", "dark beige", "camel", "sand", "light tan")),
    ),
    "gold": (((0.95, 0.73, 0.22), ("gold", "golden", "golden", "metallic gold", "bright gold", "gilded", "gold plated")),),
    "silver": (((0.78, 0.79, 0.82), ("silver", "metal", "chrome", "steel", "metallic", "silvery", "stainless steel", "metallic silver")),),
    "bronze": (((0.70, 0.43, 0.20), ("bronze", "metallic bronze", "bronze colored", "bright bronze")),),
}  # fmt: skip
# shades that have a special name, but could also be called by the key
SHADES: dict[str, Variants] = {
    "red": (
        ((0.71, 0.21, 0.16), ("brick red", "rusty red", "dull red")),
        ((0.93, 0.29, 0.20), ("tomato red", "vermilion", "orange red", "light red")),
        ((0.43, 0.03, 0.05), ("dark red", "blood red", "oxblood", "garnet")),
        ((0.82, 0.33, 0.34), ("light red", "soft red", "pale red", "faded red")),
    ),
    "orange": (
        ((0.99, 0.50, 0.36), ("coral", "coral orange", "pinkish orange", "bright coral")),
        ((1.00, 0.78, 0.60), ("peach", "pale orange", "soft peach", "pastel orange")),
        ((0.98, 0.68, 0.42), ("apricot", "light orange", "cantaloupe", "soft orange")),
        ((0.98, 0.68, 0.05), ("amber", "yellowish orange", "marigold", "saffron")),
        ((0.74, 0.30, 0.06), ("rust", "burnt orange", "dark orange", "rust orange")),
        ((0.80, 0.42, 0.29), ("terracotta", "dull orange", "terra cotta", "earthy orange")),
    ),
    "yellow": (
        ((0.82, 0.64, 0.12), ("mustard yellow", "mustard", "ochre", "dark yellow")),
        ((1.00, 0.95, 0.62), ("pale yellow", "pastel yellow", "butter yellow", "custard yellow")),
        ((0.99, 0.76, 0.10), ("golden yellow", "dandelion yellow", "honey yellow", "egg yolk yellow")),
        ((0.88, 0.93, 0.16), ("greenish yellow", "acid yellow", "highlighter yellow")),
    ),
    "green": (
        ((0.42, 0.45, 0.14), ("olive green", "olive", "army green")),
        ((0.62, 0.91, 0.74), ("mint green", "mint", "seafoam", "seafoam green", "pastel green", "pale green")),
        ((0.55, 0.94, 0.08), ("chartreuse", "acid green", "bright lime green", "yellow green")),
        ((0.06, 0.66, 0.42), ("jade green", "jade", "shamrock green")),
        ((0.18, 0.54, 0.36), ("sea green", "viridian", "medium green", "ocean green")),
        ((0.12, 0.93, 0.50), ("spring green", "electric green", "bright green")),
        ((0.60, 0.68, 0.54), ("sage green", "sage", "greyish green", "grayish green", "dusty green")),
        ((0.36, 0.51, 0.20), ("moss green", "fern green", "avocado green")),
        ((0.71, 0.84, 0.52), ("pistachio", "pistachio green", "light green", "celery green")),
    ),
    "blue": (
        ((0.27, 0.51, 0.71), ("steel blue", "dusty blue", "greyish blue", "grayish blue")),
        ((0.21, 0.36, 0.56), ("denim blue", "denim", "jeans blue", "faded blue")),
        ((0.42, 0.42, 0.76), ("slate blue", "purplish blue", "iris blue")),
        ((0.60, 0.63, 0.96), ("periwinkle", "soft blue", "lavender blue")),
        ((0.12, 0.08, 0.66), ("ultramarine", "ultramarine blue", "lapis blue", "deep blue")),
        ((0.10, 0.56, 0.96), ("cerulean", "bright blue", "cerulean blue", "electric blue", "dodger blue")),
        ((0.73, 0.87, 0.95), ("pale blue", "ice blue", "powder blue", "icy blue", "pastel blue")),
    ),
    "purple": (
        ((0.28, 0.06, 0.54), ("indigo", "deep purple", "bluish purple", "deep indigo")),
        ((0.75, 0.58, 0.74), ("mauve", "dusty purple", "greyish purple", "muted purple")),
        ((0.82, 0.44, 0.82), ("orchid", "orchid purple", "pinkish purple")),
        ((0.56, 0.12, 0.40), ("mulberry", "reddish purple", "berry purple", "boysenberry")),
        ((0.86, 0.80, 0.97), ("pale purple", "pastel purple", "pale lilac", "light lavender")),
        ((0.61, 0.18, 0.92), ("bright purple", "vivid purple", "electric purple")),
    ),
    "pink": (
        ((0.98, 0.54, 0.48), ("salmon", "salmon pink", "orangey pink", "warm pink")),
        ((0.87, 0.36, 0.48), ("rose", "rose pink", "rosy pink")),
        ((0.81, 0.61, 0.63), ("dusty pink", "dusty rose", "muted pink", "greyish pink")),
        ((0.76, 0.09, 0.36), ("raspberry", "raspberry pink", "cerise", "dark pink")),
        ((0.99, 0.83, 0.85), ("pale pink", "blush pink", "blush", "pastel pink")),
        ((0.90, 0.14, 0.70), ("fuchsia", "fuchsia pink", "purplish pink", "electric pink")),
    ),
    "brown": (
        ((0.55, 0.27, 0.18), ("chestnut brown", "chestnut", "reddish brown", "auburn")),
        ((0.42, 0.15, 0.10), ("mahogany", "mahogany brown", "dark reddish brown")),
        ((0.66, 0.34, 0.17), ("sienna", "cinnamon", "cinnamon brown", "orangish brown")),
        ((0.53, 0.45, 0.38), ("taupe", "greyish brown", "grayish brown", "muted brown")),
    ),
    "black": (((0.15, 0.15, 0.16), ("off black", "soft black", "faded black", "smoky black")),),
    "white": (((0.93, 0.91, 0.86), ("pearl white", "pearl", "antique white", "bone white", "linen white")),),
    "grey": (
        ((0.30, 0.30, 0.31), ("dark grey", "dark gray", "graphite", "deep grey", "iron grey")),
        ((0.44, 0.50, 0.57), ("slate grey", "slate gray", "bluish grey", "bluish gray", "slate")),
        ((0.27, 0.33, 0.37), ("gunmetal", "gunmetal grey", "gunmetal gray", "dark slate grey")),
    ),
    "teal": (
        ((0.02, 0.36, 0.38), ("dark teal", "deep teal", "petrol", "petrol green")),
        ((0.08, 0.93, 0.96), ("cyan", "bright cyan", "electric cyan", "bright aqua")),
        ((0.50, 0.93, 0.83), ("aquamarine", "light turquoise", "light aqua")),
    ),
    "beige": (
        ((0.97, 0.92, 0.78), ("cream", "cream coloured", "cream colored", "vanilla")),
        ((0.94, 0.85, 0.70), ("champagne", "pale beige", "champagne beige")),
        ((0.79, 0.73, 0.65), ("greyish beige", "grayish beige", "oatmeal")),
    ),
    "gold": (((0.78, 0.63, 0.30), ("brass", "brassy gold", "old gold", "antique gold")),),
    "silver": (((0.57, 0.58, 0.60), ("pewter", "dark silver", "antique silver", "tarnished silver")),),
    "bronze": (
        ((0.80, 0.46, 0.33), ("copper", "bright copper", "copper colored")),
        ((0.45, 0.31, 0.17), ("dark bronze", "antique bronze", "aged bronze")),
    ),
}  # fmt: skip
COLORS: dict[str, Variants] = {name: variants + SHADES[name] for name, variants in PLAIN.items()}

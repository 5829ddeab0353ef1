"""48 prompts that the pocket prior should know; most name something that can be checked by eye."""

from __future__ import annotations

# tested property -> prompts in everyday words about objects and properties of the training data
PROMPTS: dict[str, tuple[str, ...]] = {
    "color": (
        "a purple frog",
        "a yellow submarine",
        "a pink elephant",
        "a turquoise bicycle",
        "an orange sofa",
        "a green piano",
        "a blue butterfly",
        "a black snake",
    ),
    "color of a part": (
        "a green chair with a white seat",
        "a white rocket with a red nose",
        "a red lighthouse with white stripes",
        "a grey rabbit with a white belly",
        "a yellow house with a blue roof",
        "a snail with a pink shell",
        "a gnome with a green pointed hat",
        "a hammer with a yellow handle",
        "a blue gift with a gold ribbon",
        "a cupcake with pink frosting",
    ),
    "pattern or material": (
        "a red and white striped vase",
        "a blue umbrella with yellow dots",
        "a black and white checkered ball",
        "a metallic green car",
        "a glowing purple mushroom",
        "a two-tone orange and blue bottle",
    ),
    "count": (
        "two red apples",
        "three yellow bananas",
        "four blue cubes",
        "three black chess pawns",
        "a pair of white mugs",
        "four orange traffic cones",
        "a stack of three books",
        "two pink tulips",
    ),
    "on top of": (
        "a yellow duck on top of a blue cube",
        "a green cactus on top of a white stool",
        "a gold trophy on top of a red book",
        "a pink teapot on a brown table",
    ),
    "next to": (
        "a small red ball next to a big blue cube",
        "a white mug next to a green bottle",
        "a yellow pear beside a red apple",
        "a big orange pumpkin next to a small brown mushroom",
    ),
    "no attribute": (
        "an owl",
        "a castle",
        "a helicopter",
        "a hamburger",
        "a violin",
        "a palm tree",
        "an astronaut",
        "an anchor",
    ),
}

"""The procedural world: objects of signed-distance parts, their captions, and their pictures."""

"""Prompts that look like YAML, shell, paths or options, and must stay text."""

HOSTILE = [
    "${oc.env:HOME}", "${", "a: b", "[a]", "{a: b}", "true", "null", "1e3", "# x", "- x", "*x", "&x", "!!python/none x",
    '"; rm -rf / #', "$(touch x)", "`touch x`", "../../etc/passwd", "C:\\con", "/", ".", "-x", "--config", "%s {0}",
    "عربي \u202eabc", "👩‍🔬🍄", "e\u0301", "ß" * 300, "'", "a\u2028b", "x=y", "prompt=z", "~", "\ufeffa", "\ufffe",
]  # fmt: skip

"""The words of a caption."""


def words(text: str) -> set[str]:
    return set(text.replace(",", "").split())

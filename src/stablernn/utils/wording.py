"""Numbers with the noun that they count."""

_PLURALS = {"is": "es", "ry": "ries", "tch": "tches", "s": "ses"}


def counted(number: int | str, noun: str) -> str:
    """``1 run``, ``2 runs``, ``1 to 3 seeds``: the noun has its plural beside all but a lone 1.

    Args:
        number: a string is taken as it is, an integer gets its thousands separated.
        noun: in the singular, with the words before it; ``-s`` makes its plural, but for those like ``analysis``,
            ``entry``, ``batch`` and ``class``.
    """
    text = number if isinstance(number, str) else f"{number:,}"
    if text == "1":
        return f"1 {noun}"
    ending = next((ending for ending in _PLURALS if noun.endswith(ending)), "")
    return f"{text} {noun.removesuffix(ending)}{_PLURALS.get(ending, 's')}"

"""Numbers with the noun that they count."""


def counted(number: int | str, noun: str) -> str:
    """``1 run``, ``2 runs``, ``1 to 3 seeds``: the noun has its plural beside all but a lone 1.

    Args:
        number: a string is taken as it is, an integer gets its thousands separated.
        noun: in the singular, with the words before it; ``-s`` makes its plural, ``-es`` behind ``s`` and ``tch``.
    """
    text = number if isinstance(number, str) else f"{number:,}"
    ending = "" if text == "1" else "es" if noun.endswith(("s", "tch")) else "s"
    return f"{text} {noun}{ending}"

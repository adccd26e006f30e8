"""Words to numbers, in order of first appearance, in one pass and constant memory."""

from collections.abc import Callable, Iterable
from pathlib import Path

from stablernn.tasks.splits import EOS
from stablernn.tasks.tokens import TokenWriter

_BUFFER_TOKENS = 1 << 20


class _Index(dict[str, int]):
    """Word to number; a word that is looked up for the first time gets the next one."""

    def __missing__(self, word: str) -> int:
        number = self[word] = len(self)
        return number


class Vocabulary:
    """A bijection between word types and 0..V-1.

    ``<eos>`` is the type 0: it precedes the first token of every split, so it does appear first.
    """

    def __init__(self, types: Iterable[str] = (EOS,)) -> None:
        self._index = _Index((word, number) for number, word in enumerate(types))

    def __len__(self) -> int:
        return len(self._index)

    @property
    def types(self) -> list[str]:
        return list(self._index)

    def encode(self, lines: Iterable[str], path: Path, tokens_of: Callable[[str], Iterable[str]] = str.split) -> int:
        """Write the ids of ``lines`` to the file ``path``, ``<eos>`` before the first line and after each.

        New tokens are added to the vocabulary. Ids are written as they come, so the memory needed does not grow with
        the text. Returns the number of tokens, the leading ``<eos>`` not counted.

        Args:
            tokens_of: a line: its words, or ``iter``, its characters.
        """
        number = self._index.__getitem__
        eos = number(EOS)
        buffer = [eos]
        with TokenWriter(path) as out:
            for line in lines:
                buffer.extend(map(number, tokens_of(line)))
                buffer.append(eos)
                if len(buffer) >= _BUFFER_TOKENS:
                    out.write(buffer)
                    buffer.clear()
            out.write(buffer)
        return out.written - 1

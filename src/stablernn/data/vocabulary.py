"""Words to numbers, in order of first appearance, in one pass and constant memory."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from stablernn.data.splits import EOS

_BUFFER_TOKENS = 1 << 20


class Vocabulary:
    """A bijection between word types and 0..V-1.

    ``<eos>`` is the type 0: it precedes the first token of every split, so it does appear first.
    """

    def __init__(self, types: Iterable[str] = (EOS,)) -> None:
        self._index = {word: number for number, word in enumerate(types)}

    def __len__(self) -> int:
        return len(self._index)

    @property
    def types(self) -> list[str]:
        return list(self._index)

    def encode(self, lines: Iterable[str], path: Path) -> int:
        """Append the ids of ``lines`` to the file ``path``, ``<eos>`` before the first line and after each.

        New words are added to the vocabulary. Ids are little-endian 32-bit integers, written as they come,
        so the memory needed does not grow with the text. Returns the number of tokens, the leading
        ``<eos>`` not counted.
        """
        index = self._index
        eos = index[EOS]
        buffer = [eos]
        tokens = -1
        with path.open("wb") as out:
            for line in lines:
                for word in line.split():
                    number = index.get(word)
                    if number is None:
                        number = index[word] = len(index)
                    buffer.append(number)
                buffer.append(eos)
                if len(buffer) >= _BUFFER_TOKENS:
                    out.write(np.asarray(buffer, dtype="<i4").tobytes())
                    tokens += len(buffer)
                    buffer.clear()
            out.write(np.asarray(buffer, dtype="<i4").tobytes())
            tokens += len(buffer)
        return tokens

"""Generated piano rolls as notes, and these as MIDI."""

from pathlib import Path

import numpy as np

from stablernn.tasks.music import LOWEST
from stablernn.utils.files import replacing

Note = tuple[int, int, int]  # key as MIDI counts, first frame, frame after the last
_TICKS, _TEMPO, _VELOCITY = 480, 600_000, 72  # of a frame, which is a quarter; microseconds of one: 100 a minute


def notes_of(roll: np.ndarray) -> list[Note]:
    """The notes of a roll (T, 88), in order of their beginnings: a key that sounds on from frame to frame is one."""
    silent = np.zeros((1, roll.shape[1]), dtype=np.int8)
    change = np.diff(np.concatenate([silent, roll > 0, silent]).astype(np.int8), axis=0)
    notes = []
    for key in range(roll.shape[1]):
        begins, ends = (np.flatnonzero(change[:, key] == sign).tolist() for sign in (1, -1))
        notes += [(LOWEST + key, begin, end) for begin, end in zip(begins, ends, strict=True)]
    return sorted(notes, key=lambda note: (note[1], note[0]))


def write_midi(roll: np.ndarray, path: Path) -> Path:
    """A roll (T, 88) as a MIDI file of one track, a frame a quarter, held for as long as the roll is."""
    import mido  # here, as nothing else needs it

    events = [
        (when * _TICKS, kind, key) for key, *ends in notes_of(roll) for when, kind in zip(ends, (1, 0), strict=True)
    ]
    track = mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=_TEMPO)])
    now = 0
    for tick, on, key in sorted(events):  # what ends comes before what begins
        track.append(mido.Message("note_on" if on else "note_off", note=key, velocity=_VELOCITY, time=tick - now))
        now = tick
    track.append(mido.MetaMessage("end_of_track", time=len(roll) * _TICKS - now))
    with replacing(path) as temporary:
        mido.MidiFile(ticks_per_beat=_TICKS, tracks=[track]).save(temporary)
    return path

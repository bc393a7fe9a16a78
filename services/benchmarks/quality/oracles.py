"""Oracles: classifiers and measurements of generated media, independent of the nano bundle.

Small classifiers name the noun and the instrument. They are trained here from the data packages alone, on both picture
styles, and share no weights, features or code with the generators or the encoder. Colour, pitch and motion are measured
from pixels and samples.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from motet.training.nano.world import clips, pictures, sounds
from motet.training.nano.world.world import BACKGROUNDS, INSTRUMENTS, MOTIONS, MOVERS, NOUNS, REGISTERS

Pixels = NDArray[np.uint8]
Samples = NDArray[np.float32]
LabelledBatch = tuple[Tensor, Tensor]

_NOUNS = tuple(NOUNS)
_INSTRUMENTS = tuple(INSTRUMENTS)
# Input of the instrument classifier: 64 log-spaced bands of 60 Hz to 7.6 kHz, 64 ms windows every 32 ms.
_WINDOW, _HOP, _BANDS = 1024, 512, 64


class Oracles:
    """The two classifiers. They are trained on first use (about two minutes) and stored in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._noun = _classifier(folder / "noun-oracle.safetensors", _picture_net, _picture_batches, steps=600)
        self._instrument = _classifier(folder / "instrument-oracle.safetensors", _sound_net, _sound_batches, steps=500)

    def noun(self, picture: Pixels) -> str:
        """Return the noun in a picture, uint8 (64, 64, 3)."""
        with torch.inference_mode():
            return _NOUNS[int(self._noun(_pixels(picture)[None]).argmax())]

    def instrument(self, sound: Samples, rate: int) -> str:
        """Return the instrument of a sound. `rate` is in hertz."""
        with torch.inference_mode():
            return _INSTRUMENTS[int(self._instrument(_spectrum(sound, rate)[None]).argmax())]


def background(picture: Pixels) -> str:
    """Return the named colour nearest to the median of the picture's border."""
    border = np.concatenate([picture[:3].reshape(-1, 3), picture[-3:].reshape(-1, 3)])
    return _nearest_colour(np.median(border, axis=0))


def corner_background(frames: Pixels) -> str:
    """Return the named colour nearest to the median of the corners of all frames, uint8 (frames, 64, 64, 3)."""
    corners = [
        frames[:, rows, columns] for rows in (slice(3), slice(-3, None)) for columns in (slice(3), slice(-3, None))
    ]
    return _nearest_colour(np.median(np.concatenate(corners).reshape(-1, 3), axis=0))


def register(sound: Samples, rate: int) -> str:
    """Return the register nearest to the pitch. `rate` is in hertz."""
    octave = np.log2(pitch(sound, rate))
    middles = {name: np.log2(np.mean([sounds.frequency(note) for note in notes])) for name, notes in REGISTERS.items()}
    return min(middles, key=lambda name: abs(middles[name] - octave))


def pitch(sound: Samples, rate: int) -> float:
    """Return the fundamental frequency in hertz, by autocorrelation of the loudest half second.

    The inverse transform takes the magnitude of the spectrum, not its power, so a strong overtone does not hide a weak
    fundamental (Tolonen and Karjalainen, 2000). Multiples of the period also have peaks, so the result is the shortest
    lag among the peaks above 82 % of the highest.
    """
    width = rate // 2
    loudest = max(
        range(0, max(1, len(sound) - width), width // 2), key=lambda at: float(np.sum(sound[at:][:width] ** 2))
    )
    excerpt = sound[loudest:][:width].astype(np.float64)
    excerpt = (excerpt - excerpt.mean()) * np.hanning(len(excerpt))
    spectrum = np.fft.rfft(excerpt, 2 * len(excerpt))
    correlation = np.fft.irfft(np.abs(spectrum))[: len(excerpt)]
    # The window attenuates long lags: divide by its own autocorrelation.
    window = np.fft.rfft(np.hanning(len(excerpt)), 2 * len(excerpt))
    correlation /= np.maximum(np.fft.irfft(np.abs(window) ** 2)[: len(excerpt)], 1e-3)
    first, last = rate // 1200, rate // 70
    lags = np.arange(first, last)
    inside = correlation[first:last]
    peaks = lags[1:-1][(inside[1:-1] > inside[:-2]) & (inside[1:-1] >= inside[2:])]
    if not len(peaks):
        return rate / float(lags[int(inside.argmax())])
    best = correlation[peaks].max()
    return rate / float(peaks[correlation[peaks] > 0.82 * best][0])


def motion(frames: Pixels, growth: float = 1.6) -> str:
    """Return the motion of the object in a clip, from its centroid, its area and its rotation.

    A growing object has `growth` times its first area at the end, or more.
    """
    masks = [_foreground(frame) for frame in frames]
    first, last = _centroid(masks[0]), _centroid(masks[-1])
    right, down = last[0] - first[0], last[1] - first[1]
    if max(abs(right), abs(down)) > 8:
        if abs(right) > abs(down):
            return "moving right" if right > 0 else "moving left"
        return "moving down" if down > 0 else "moving up"
    areas = [float(mask.sum()) for mask in masks]
    if areas[-1] > growth * areas[0]:
        return "growing"
    start, end = frames[0].astype(float), frames[-1].astype(float)
    rotated = np.abs(start[::-1, ::-1] - end).mean()
    return "turning" if rotated < np.abs(start - end).mean() else "still"


def _foreground(frame: Pixels) -> NDArray[np.bool_]:
    border = np.median(np.concatenate([frame[:2].reshape(-1, 3), frame[-2:].reshape(-1, 3)]), axis=0)
    mask: NDArray[np.bool_] = np.abs(frame.astype(float) - border).sum(axis=-1) > 60
    return mask


def _centroid(mask: NDArray[np.bool_]) -> tuple[float, float]:
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return mask.shape[1] / 2, mask.shape[0] / 2
    return float(columns.mean()), float(rows.mean())


def _nearest_colour(colour: NDArray[np.floating]) -> str:
    return min(BACKGROUNDS, key=lambda name: float(np.square(np.subtract(BACKGROUNDS[name], colour)).sum()))


def _pixels(picture: Pixels) -> Tensor:
    return torch.from_numpy(picture.astype(np.float32) / 127.5 - 1).permute(2, 0, 1)  # (3, 64, 64)


def _spectrum(sound: Samples, rate: int) -> Tensor:
    """Return the log power in bands, after normalising the peak of the sound: (1, bands, frames)."""
    if rate != sounds.RATE:
        raise ValueError(f"the sound has {rate} Hz: the oracle needs {sounds.RATE} Hz")
    padded = np.zeros(sounds.SAMPLES, np.float32)
    padded[: len(sound)] = sound[: sounds.SAMPLES]
    padded /= np.abs(padded).max() + 1e-6
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP] * np.hanning(_WINDOW)
    power = np.abs(np.fft.rfft(frames)) ** 2  # (frames, window / 2 + 1)
    edges = np.geomspace(60, 7600, _BANDS + 1) / rate * _WINDOW
    bands = [power[:, int(low) : max(int(low) + 1, int(high))].mean(axis=1) for low, high in itertools.pairwise(edges)]
    return torch.from_numpy(np.log(np.stack(bands) + 1e-3).astype(np.float32))[None]


def _classifier(
    path: Path, build: Callable[[], nn.Module], batches: Callable[[], Iterator[LabelledBatch]], steps: int
) -> nn.Module:
    torch.manual_seed(0)
    net = build()
    if path.exists():
        net.load_state_dict(load_file(path))
        return net.eval()
    optimiser = torch.optim.AdamW(net.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps)
    for inputs, labels in itertools.islice(batches(), steps):
        loss = nn.functional.cross_entropy(net(inputs), labels, label_smoothing=0.05)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(net.state_dict(), path)
    return net.eval()


def _net(channels: int, classes: int) -> nn.Module:
    """Return four strided convolutions, a mean and a linear layer: small enough to train in a minute."""
    layers: list[nn.Module] = []
    for width in (24, 48, 64, 96):
        layers += [nn.Conv2d(channels, width, 3, stride=2, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
        channels = width
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(0.2), nn.Linear(channels * 4, classes)
    )


def _picture_net() -> nn.Module:
    return _net(3, len(_NOUNS))


def _sound_net() -> nn.Module:
    return _net(1, len(_INSTRUMENTS))


def _picture_batches(size: int = 48) -> Iterator[LabelledBatch]:
    rng = np.random.default_rng(1)
    while True:
        labels = rng.integers(len(_NOUNS), size=size)
        images = [_augmented_picture(_NOUNS[label], rng) for label in labels]
        yield torch.stack(images), torch.from_numpy(labels)


def _augmented_picture(noun: str, rng: np.random.Generator) -> Tensor:
    """Return a picture with a random background, position and scale, blurred and with noise."""
    colour = tuple(int(level) for level in rng.integers(0, 256, 3))
    style = pictures.STYLES[rng.integers(len(pictures.STYLES))]
    offset = tuple(float(x) for x in rng.normal(0, 4, 2))
    picture = _pixels(
        pictures.draw(noun, (colour[0], colour[1], colour[2]), style, rng.uniform(0.5, 1.15), (offset[0], offset[1]))
    )
    if rng.random() < 0.5:
        small = int(rng.integers(24, 64))
        shrunk = nn.functional.interpolate(picture[None], size=small, mode="bilinear", antialias=True)
        picture = nn.functional.interpolate(shrunk, size=pictures.SIZE, mode="bilinear")[0]
    return picture + float(rng.uniform(0, 0.1)) * torch.from_numpy(rng.normal(size=picture.shape).astype(np.float32))


def _sound_batches(size: int = 32) -> Iterator[LabelledBatch]:
    rng = np.random.default_rng(2)
    notes = {name: [] for name in _INSTRUMENTS}  # type: dict[str, list[Samples]]
    for (name, _, _), sound in sounds.load().items():
        notes[name].append(sound)
    while True:
        labels = rng.integers(len(_INSTRUMENTS), size=size)
        spectra = []
        for label in labels:
            choices = notes[_INSTRUMENTS[label]]
            sound = np.roll(choices[rng.integers(len(choices))], int(rng.integers(-800, 800)))
            noise = rng.normal(0, 10 ** rng.uniform(-4, -1.7), sound.shape)
            spectra.append(_spectrum((sound + noise).astype(np.float32), sounds.RATE))
        yield torch.stack(spectra), torch.from_numpy(labels)


def _self_test() -> None:
    """Print the accuracy of each oracle on the data packages."""
    oracles = Oracles(Path("build/oracles"))
    rng = np.random.default_rng(3)
    examples = [(noun, colour) for noun in _NOUNS for colour in BACKGROUNDS]
    nouns = [oracles.noun(pictures.draw(noun, colour)) == noun for noun, colour in examples]
    colours = [background(pictures.draw(noun, colour)) == colour for noun, colour in examples]
    notes = [(key, sound) for key, sound in sounds.load().items()]
    print(f"noun {np.mean(nouns):.3f}  background {np.mean(colours):.3f}")
    print(f"instrument {np.mean([oracles.instrument(s, sounds.RATE) == key[0] for key, s in notes]):.3f}")
    print(f"register {np.mean([register(s, sounds.RATE) == key[1] for key, s in notes]):.3f}")
    pairs = [(noun, manner) for noun in MOVERS for manner in MOTIONS]
    motions = [motion(clips.draw(n, w, offset=(float(rng.normal()), float(rng.normal())))) for n, w in pairs]
    print(
        f"motion {np.mean([s == w for s, (_, w) in zip(motions, pairs, strict=True)]):.3f}",
        [p for p, s in zip(pairs, motions, strict=True) if p[1] != s][:8],
    )


if __name__ == "__main__":
    _self_test()

"""Kaldi's filter bank."""

import numpy as np
import torch

from motet.models.encoder.fbank import RATE, fbank


def by_definition(sound: np.ndarray, bins: int) -> np.ndarray:
    """Compute Kaldi's filter bank frame by frame and filter by filter, in double precision."""
    mel = lambda hertz: 1127 * np.log(1 + hertz / 700)  # noqa: E731
    edges = np.linspace(mel(20), mel(8000), bins + 2)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 399)
    rows = []
    for start in range(0, len(sound) - 399, 160):
        frame = sound[start : start + 400].astype(np.float64)
        frame = frame - frame.mean()
        frame = np.array([frame[i] - 0.97 * frame[max(i - 1, 0)] for i in range(400)]) * window
        power = np.abs(np.fft.rfft(frame, 512)) ** 2
        row = []
        for low, centre, high in zip(edges[:-2], edges[1:-1], edges[2:], strict=True):
            energy = 0.0
            for index in range(256):
                at = mel(index * RATE / 512)
                if low < at < high:
                    energy += power[index] * min((at - low) / (centre - low), (high - at) / (high - centre))
            row.append(np.log(max(energy, np.finfo(np.float32).eps)))
        rows.append(row)
    return np.array(rows)


def test_the_filter_bank_matches_its_definition() -> None:
    sound = np.random.default_rng(0).normal(0, 0.1, 1200).astype(np.float32)

    actual = fbank(torch.from_numpy(sound), 24)

    assert actual.shape == (6, 24)
    np.testing.assert_allclose(actual.numpy(), by_definition(sound, 24), atol=2e-3)


def test_two_seconds_have_198_frames() -> None:
    assert fbank(torch.zeros(2 * RATE), 128).shape == (198, 128)


def test_a_higher_tone_has_its_peak_in_a_higher_band() -> None:
    time = torch.arange(RATE) / RATE
    peaks = [int(fbank(torch.sin(2 * torch.pi * pitch * time), 128).mean(0).argmax()) for pitch in (300, 1000, 4000)]

    assert peaks == sorted(set(peaks))


def test_a_sound_shorter_than_a_frame_has_one_frame() -> None:
    assert fbank(torch.ones(10), 128).shape == (1, 128)

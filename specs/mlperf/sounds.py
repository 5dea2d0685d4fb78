"""Features of sounds as MLPerf Tiny's networks read them, and sounds to make them of: synthesized, none is recorded.

Sounds are float64 [samples] at 16 kHz. The features are those of the reference's front ends, in NumPy.
"""

from __future__ import annotations

import io
import subprocess
import wave
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct
from scipy.signal import get_window, resample_poly

Sound = NDArray[np.float64]
Features = NDArray[np.float32]

RATE_HZ = 16_000
_FEWEST_POWER = 1e-30


class Voice(NamedTuple):
    """A voice of espeak-ng, how fast it speaks (words a minute) and how high (0..99)."""

    name: str
    speed: int
    pitch: int


def spoken(word: str, voice: Voice) -> Sound:
    """Return a word as espeak-ng says it, at most a second.

    FileNotFoundError without espeak-ng: Debian's package of that name.
    """
    options = ["-v", voice.name, "-s", str(voice.speed), "-p", str(voice.pitch), "--stdout", word]
    said = subprocess.run(["espeak-ng", *options], check=True, capture_output=True).stdout  # noqa: S607
    with wave.open(io.BytesIO(said)) as file:
        rate = file.getframerate()
    samples = np.frombuffer(said[44:], "<i2").astype(np.float64) / 2**15  # The length in its header is not right.
    return resample_poly(samples, RATE_HZ, rate)[:RATE_HZ]


def coloured(random: np.random.Generator, samples: int, slope: float) -> Sound:
    """Return noise of a power that falls with frequency ** slope, with a standard deviation of 1."""
    spectrum = np.fft.rfft(random.normal(size=samples))
    noise = np.fft.irfft(spectrum / np.arange(1, len(spectrum) + 1) ** (slope / 2), samples)
    return noise / noise.std()


def machine(random: np.random.Generator, faults: Sequence[str]) -> Sound:
    """Return two seconds of a small motor with a gear; faults are "knock", "whine" and "rattle"."""
    time_s = np.arange(2 * RATE_HZ) / RATE_HZ
    turns_hz = random.uniform(55, 60)
    phase = 2 * np.pi * np.cumsum(turns_hz * (1 + 0.01 * coloured(random, len(time_s), 2))) / RATE_HZ
    sound = np.zeros_like(time_s)
    for order in range(1, 40):
        sound += np.sin(order * phase + random.uniform(0, 6)) / order
    noise = coloured(random, len(time_s), 1) * (1 + 0.3 * np.sin(phase))
    sound = 0.05 * sound + 0.05 * noise + 0.02 * np.sin(23 * phase)
    if "knock" in faults:
        sound += 0.5 * np.exp(-(phase / 2 % (2 * np.pi)) * 6) * random.normal(size=len(time_s))
    if "whine" in faults:
        sound += 0.1 * np.sin(random.uniform(60, 90) * phase)
    if "rattle" in faults:
        sound += 0.2 * np.maximum(0, np.sin(phase / 7)) * np.diff(random.normal(size=len(time_s) + 1))
    return sound


def mfcc(sound: Sound) -> Features:
    """Return the keyword spotter's input: ten cepstral coefficients of 49 windows of 30 ms, float32 [49, 10, 1]."""
    magnitudes = np.abs(_spectra(sound, 480, 320, "hann"))
    mel = magnitudes @ _mel_filters(40, magnitudes.shape[-1], 20, 4000)
    coefficients = dct(np.log(mel + 1e-6), axis=-1) / np.sqrt(2 * mel.shape[-1])
    return coefficients[:, :10, None].astype(np.float32)


def log_mel(sound: Sound) -> Features:
    """Return the wake word detector's input: 40 bands of 30 windows of 64 ms as parts of 64 dB, float32 [30, 1, 40]."""
    emphasized = sound - (1 - 2**-5) * np.concatenate([[0], sound[:-1]])
    power = np.abs(_spectra(emphasized, 1024, 512, "hamming")) ** 2 / 1024
    mel = power @ _mel_filters(40, power.shape[-1], 0, RATE_HZ / 2)
    levels = (10 * np.log10(np.maximum(mel, _FEWEST_POWER)) + 52) / 64
    return np.clip(levels, 0, 1)[:, None].astype(np.float32)


def machine_levels(sound: Sound) -> Features:
    """Return the autoencoder's inputs: 128 bands in dB of five successive windows of 64 ms, float32 [windows, 640]."""
    power = np.abs(_spectra(sound, 1024, 512, "hann")) ** 2
    levels = (10 * np.log10(power @ _slaney_filters(128, power.shape[-1]) + np.finfo(float).eps)).astype(np.float32)
    return np.concatenate([levels[first : len(levels) - 4 + first] for first in range(5)], axis=-1)


def _spectra(sound: Sound, length: int, step: int, window: str) -> NDArray[np.complex128]:
    frames = np.lib.stride_tricks.sliding_window_view(sound, length)[::step]
    symmetric = window == "hamming"
    size = 1 << (length - 1).bit_length()
    return np.fft.rfft(frames * get_window(window, length, fftbins=not symmetric), size)


def _mel_filters(bands: int, bins: int, least_hz: float, most_hz: float) -> NDArray[np.float64]:
    """Return HTK's triangles, straight in mel, of the height 1: [bins, bands]."""

    def mel(hertz: NDArray[np.float64]) -> NDArray[np.float64]:
        return 1127 * np.log1p(hertz / 700)

    edges = np.linspace(*mel(np.array([least_hz, most_hz])), bands + 2)
    filters = _triangles(mel(np.linspace(0, RATE_HZ / 2, bins)), edges)
    filters[0] = 0
    return filters


def _slaney_filters(bands: int, bins: int) -> NDArray[np.float64]:
    """Return the triangles of Slaney's Auditory Toolbox, straight in hertz, of the area 1: [bins, bands].

    The scale is linear up to 1 kHz and logarithmic from there on.
    """
    mels = np.linspace(0, 15 + 27 * np.log(RATE_HZ / 2000) / np.log(6.4), bands + 2)
    edges = np.where(mels < 15, mels * 200 / 3, 1000 * np.exp((mels - 15) * np.log(6.4) / 27))  # noqa: PLR2004
    return _triangles(np.linspace(0, RATE_HZ / 2, bins), edges) * (2 / (edges[2:] - edges[:-2]))


def _triangles(places: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    rising = (places[:, None] - low) / (middle - low)
    falling = (high - places[:, None]) / (high - middle)
    return np.maximum(0, np.minimum(rising, falling))

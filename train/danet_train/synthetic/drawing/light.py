"""The light and weather of a scene, and their effect on the picture."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from danet_train.synthetic.drawing.texture import Color, vary


@dataclass(frozen=True)
class Light:
    """The light of a scene, and the optics of the camera.

    Attributes:
        weather: ``sun``, ``overcast``, ``dusk`` or ``fog``.
        gain: Factor on each channel (blue, green, red).
        sky_top: Color of the sky above.
        sky_horizon: Color of the sky at the horizon, and of fog.
        visibility_m: Distance at which fog hides about two thirds.
        sun_side: Side of the sun: -1 left, 1 right, 0 no shadows from the side.
        shadow: Part of the light that a shadow takes away, 0..1.
        lamps_lit: Whether lamps and tail lights are on.
        windows_lit: Part of the windows with light in them, 0..1.
        noise: Standard deviation of the sensor's noise in levels.
        blur_px: Blur of the lens, in pixels of the picture.
    """

    weather: str
    gain: tuple[float, float, float]
    sky_top: Color
    sky_horizon: Color
    visibility_m: float
    sun_side: int
    shadow: float
    lamps_lit: bool
    windows_lit: float
    noise: float
    blur_px: float


def draw_light(rng: np.random.Generator) -> Light:
    """Choose one of four weathers, and vary it."""
    weather = str(rng.choice(["sun", "overcast", "dusk", "fog"], p=[0.42, 0.3, 0.13, 0.15]))
    noise, blur = float(rng.uniform(1, 5)), float(rng.uniform(0, 0.7))
    side = int(rng.choice([-1, 1]))
    if weather == "sun":
        level, balance = rng.uniform(1.0, 1.25), (0.94, 1.0, 1.04)
        top, horizon = vary((215, 150, 90), rng, 14), vary((235, 220, 200), rng, 8)
        visibility, shadow = rng.uniform(250, 600), rng.uniform(0.35, 0.6)
    elif weather == "overcast":
        level, balance = rng.uniform(0.78, 1.0), (1.03, 1.0, 0.97)
        top, horizon = vary((190, 185, 180), rng, 14), vary((215, 212, 208), rng, 8)
        visibility, shadow = rng.uniform(150, 400), rng.uniform(0.15, 0.3)
    elif weather == "dusk":
        level, balance = rng.uniform(0.42, 0.6), (1.12, 0.98, 0.95)
        top, horizon = vary((140, 95, 75), rng, 10), vary((150, 165, 225), rng, 14)
        visibility, shadow = rng.uniform(120, 300), rng.uniform(0.1, 0.2)
    else:
        level, balance = rng.uniform(0.85, 1.0), (1.0, 1.0, 1.0)
        top = horizon = vary((205, 205, 200), rng, 10)
        visibility, shadow = rng.uniform(22, 60), rng.uniform(0.08, 0.18)
    dark = weather == "dusk"
    return Light(
        weather=weather,
        gain=(level * balance[0], level * balance[1], level * balance[2]),
        sky_top=top,
        sky_horizon=horizon,
        visibility_m=float(visibility),
        sun_side=side if weather == "sun" else 0,
        shadow=float(shadow),
        lamps_lit=dark or (weather == "fog" and bool(rng.random() < 0.5)),
        windows_lit=float(rng.uniform(0.2, 0.5)) if dark else 0.03,
        noise=noise * (1.6 if dark else 1.0),
        blur_px=blur + (0.2 if weather == "fog" else 0.0),
    )


def expose(
    color: npt.NDArray[np.uint8],
    inverse_depth: npt.NDArray[np.float32],
    light: Light,
    size_hw: tuple[int, int],
    rng: np.random.Generator,
) -> npt.NDArray[np.uint8]:
    """Return the picture that the camera takes of a canvas.

    Args:
        color: (h * k, w * k, 3) BGR, the canvas.
        inverse_depth: (h * k, w * k) in 1/m, 0 for the sky.
        light: States fog, gain, blur and noise.
        size_hw: Size of the picture.
        rng: Random generator of the noise.

    Returns:
        (h, w, 3) uint8 BGR.
    """
    height, width = size_hw
    picture = cv2.resize(color, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
    nearness = cv2.resize(inverse_depth, (width, height), interpolation=cv2.INTER_AREA)
    depth_m = 1 / np.maximum(nearness, 1e-4)
    clear = np.exp(-depth_m / light.visibility_m)[..., None]
    clear[nearness <= 1e-3] = 1  # the sky has its own haze
    picture = picture * clear + np.array(light.sky_horizon, np.float32) * (1 - clear)
    picture *= np.array(light.gain, np.float32)
    rows = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    columns = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    picture *= (1 - 0.12 * (rows**2 + columns**2) / 2)[..., None]
    if light.blur_px > 0.25:
        picture = cv2.GaussianBlur(picture, (0, 0), light.blur_px)
    shot = 0.6 + 0.4 * picture / 255
    picture = picture + light.noise * shot * rng.standard_normal(picture.shape, dtype=np.float32)
    return np.asarray(np.clip(picture, 0, 255), np.uint8)

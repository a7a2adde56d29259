"""Every way to score against a slow reference: plain loops in float64, written from the references' rules."""

import math

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch.utils._python_dispatch import TorchDispatchMode
from undecided_network import undecided_network

from danet_train.config.sections import EvaluationConfig, Normalisation
from danet_train.evaluation import prediction
from danet_train.evaluation.prediction import predict
from danet_train.evaluation.test_time_augmentation import scaled_size
from danet_train.evaluation.upsampling import Rows, aligns_corners, resize_rows, source_rows
from danet_train.evaluation.windows import windows_inside, windows_over

NORMALISATION = Normalisation()
MEAN, STD = np.array(NORMALISATION.mean), np.array(NORMALISATION.std)


@pytest.fixture(scope="module")
def image():
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (8, 12, 3)).astype(np.uint8)
    return cv2.resize(coarse, (90, 62), interpolation=cv2.INTER_CUBIC)


# --- the slow reference ---


def _bilinear(picture, height, width, align):
    """(C, h, w) -> (C, height, width), pixel by pixel."""
    _, h, w = picture.shape

    def place(index, size, source):
        if align:
            return index * (source - 1) / (size - 1) if size > 1 else 0.0
        return max((index + 0.5) * source / size - 0.5, 0.0)

    out = np.empty((len(picture), height, width))
    for i in range(height):
        y = place(i, height, h)
        y0 = min(int(y), h - 1)
        y1 = min(y0 + 1, h - 1)
        for j in range(width):
            x = place(j, width, w)
            x0 = min(int(x), w - 1)
            x1 = min(x0 + 1, w - 1)
            top = picture[:, y0, x0] * (1 - (x - x0)) + picture[:, y0, x1] * (x - x0)
            bottom = picture[:, y1, x0] * (1 - (x - x0)) + picture[:, y1, x1] * (x - x0)
            out[:, i, j] = top * (1 - (y - y0)) + bottom * (y - y0)
    return out


def _normalised(image):
    return ((image[..., ::-1].astype(np.float64) - MEAN) / STD).transpose(2, 0, 1)


def _network_logits(model, pixels, align):
    """The network's logits for (3, h, w), at the input's size."""
    with torch.inference_mode():
        small = model(torch.from_numpy(pixels.copy()).float()[None])[0].double().numpy()
    return _bilinear(small, *pixels.shape[1:], align)


def _softmax(logits):
    exp = np.exp(logits - logits.max(axis=0))
    return exp / exp.sum(axis=0)


def _mmseg_scores(model, image, config, align):
    height, width = image.shape[:2]
    augmentations = []
    for scale in config.scales:
        factor = scale
        if config.base_hw:
            short, long = (int(side * scale) for side in config.base_hw)
            factor = min(long / max(height, width), short / min(height, width))
        h, w = int(height * factor + 0.5), int(width * factor + 0.5)
        resized = cv2.resize(image, (w, h), interpolation=cv2.INTER_LINEAR)
        for mirrored in (False, True) if config.flip else (False,):
            pixels = _normalised(resized[:, ::-1] if mirrored else resized)
            if config.mode == "whole":
                logits = _network_logits(model, pixels, align)
            else:
                (wh, ww), (sh, sw) = config.window_hw, config.stride
                total, count = np.zeros((5, h, w)), np.zeros((h, w))
                for row in range(max(h - wh + sh - 1, 0) // sh + 1):
                    for column in range(max(w - ww + sw - 1, 0) // sw + 1):
                        bottom, right = min(row * sh + wh, h), min(column * sw + ww, w)
                        top, left = max(bottom - wh, 0), max(right - ww, 0)
                        window = _network_logits(model, pixels[:, top:bottom, left:right], align)
                        total[:, top:bottom, left:right] += window
                        count[top:bottom, left:right] += 1
                logits = total / count
            if mirrored:
                logits = logits[..., ::-1]
            augmentations.append(_bilinear(logits, height, width, align))
    return (
        augmentations[0]
        if len(augmentations) == 1
        else np.mean([_softmax(one) for one in augmentations], axis=0)
    )


def _authors_scores(model, image, config, align):
    height, width = image.shape[:2]
    scores = np.zeros((5, height, width))
    black = (-MEAN / STD)[:, None, None]
    for scale in config.scales:
        long = math.ceil((config.base_hw[1] if config.base_hw else max(height, width)) * scale)
        if height > width:
            h, w = long, int(1.0 * width * long / height + 0.5)
        else:
            h, w = int(1.0 * height * long / width + 0.5), long
        pixels = _bilinear(_normalised(image), h, w, True)
        (wh, ww), (sh, sw) = (config.window_hw, config.stride) if config.mode == "slide" else ((h, w), (h, w))
        ph, pw = max(h, wh), max(w, ww)
        padded = np.broadcast_to(black, (3, ph, pw)).copy()
        padded[:, :h, :w] = pixels
        total, count = np.zeros((5, ph, pw)), np.zeros((ph, pw))
        for row in range(math.ceil((ph - wh) / sh) + 1):
            for column in range(math.ceil((pw - ww) / sw) + 1):
                top, left = row * sh, column * sw
                cut = padded[:, top : top + wh, left : left + ww]
                whole = np.broadcast_to(black, (3, wh, ww)).copy()
                whole[:, : cut.shape[1], : cut.shape[2]] = cut
                logits = _network_logits(model, whole, align)
                if config.flip:
                    logits = logits + _network_logits(model, whole[..., ::-1], align)[..., ::-1]
                total[:, top : top + wh, left : left + ww] += np.exp(logits)[
                    :, : cut.shape[1], : cut.shape[2]
                ]
                count[top : top + wh, left : left + ww] += 1
        scores += _bilinear((total / count)[:, :h, :w], height, width, True)
    return scores


def _agree(labels, scores):
    """Equal labels wherever the reference's best score is clear of the second by more than rounding."""
    best = np.sort(scores, axis=0)
    clear = best[-1] - best[-2] > 1e-4 * np.abs(best[-1])
    assert clear.mean() > 0.98
    assert len(np.unique(labels)) > 2
    np.testing.assert_array_equal(labels[clear], scores.argmax(axis=0)[clear])


SLIDE = {"mode": "slide", "window_hw": (33, 41)}
ALIGNED = ("whole", "slide", "slide, scales, mirrored, fitted")
"""Ways that `make test` tries with aligned corners and upright pictures as well."""

WAYS = {
    "whole": {},
    "whole, mirrored": {"flip": True},
    "whole, scales": {"scales": (0.5, 1.25), "flip": True},
    "fitted": {"base_hw": (48, 128)},
    "fitted, scales": {"base_hw": (50, 100), "scales": (0.75, 1.0)},
    "slide": {**SLIDE, "stride_hw": (22, 28)},
    "slide, three at once": {**SLIDE, "windows_at_once": 3},
    "slide, image narrower than a window": {"mode": "slide", "window_hw": (30, 120)},
    "slide, image smaller than a window": {"mode": "slide", "window_hw": (100, 120)},
    "slide, scales, mirrored, fitted": {**SLIDE, "scales": (0.5, 1.0), "flip": True, "base_hw": (80, 80)},
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("way", "align"),
    [
        pytest.param(way, align, marks=[pytest.mark.slow] if align and way not in ALIGNED else [])
        for way in WAYS
        for align in (False, True)
    ],
)
def test_mmsegmentations_way_is_the_slow_references(image, way, align):
    model, config = undecided_network(align), EvaluationConfig(**WAYS[way])
    _agree(predict(model, image, NORMALISATION, config), _mmseg_scores(model, image, config, align))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("way", "size_wh"),
    [
        pytest.param(way, size, marks=[pytest.mark.slow] if upright and way not in ALIGNED else [])
        for way in WAYS
        for upright, size in enumerate([(90, 62), (50, 82)])
        if "fitted" not in way
    ],
)
def test_the_authors_way_is_the_slow_references(image, way, size_wh):
    image = cv2.resize(image, size_wh)
    model, config = undecided_network(True), EvaluationConfig(**WAYS[way], protocol="authors")
    _agree(predict(model, image, NORMALISATION, config), _authors_scores(model, image, config, True))


def test_the_authors_base_size_is_a_fit_of_two_equal_sides(image):
    config = EvaluationConfig(**SLIDE, protocol="authors", base_hw=(101, 101), flip=True)
    model = undecided_network(True)
    assert scaled_size((62, 90), 1.0, config) == (70, 101)
    _agree(predict(model, image, NORMALISATION, config), _authors_scores(model, image, config, True))


def test_the_two_protocols_differ(image):
    model = undecided_network(True)
    labels = [
        predict(model, image, NORMALISATION, EvaluationConfig(**SLIDE, flip=True, protocol=protocol))
        for protocol in ("mmsegmentation", "authors")
    ]
    assert (labels[0] != labels[1]).any()


def test_a_window_of_8k_plus_1_aligns_corners_and_one_of_8k_does_not(image):
    model = undecided_network(None)
    for window, align in ((33, True), (32, False)):
        config = EvaluationConfig(mode="slide", window_hw=(window, window))
        labels = predict(model, image, NORMALISATION, config)
        _agree(labels, _mmseg_scores(model, image, config, align))
        assert aligns_corners(None, config.window_hw) == align


@pytest.mark.parametrize("way", ["whole", "slide, scales, mirrored, fitted"])
@pytest.mark.parametrize("protocol", ["mmsegmentation", "authors"])
def test_bands_of_rows_give_the_labels_of_the_whole(monkeypatch, image, way, protocol):
    model, config = undecided_network(True), EvaluationConfig(**WAYS[way], protocol=protocol)
    whole = predict(model, image, NORMALISATION, config)
    monkeypatch.setattr(prediction, "BAND_VALUES", 5 * 90 * 7)
    np.testing.assert_array_equal(predict(model, image, NORMALISATION, config), whole)


class _Largest(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, torch.Tensor):
                self.numel = max(self.numel, tensor.numel())
        return out


@pytest.mark.parametrize("changes", [{}, {"scales": (1.0, 1.5), "flip": True}])
def test_many_classes_never_stand_at_full_size(monkeypatch, changes):
    model = undecided_network(True, classes=150, pam=False, cam=False)
    picture = np.random.default_rng(0).integers(0, 256, (256, 256, 3)).astype(np.uint8)
    band = 2**19
    monkeypatch.setattr(prediction, "BAND_VALUES", band)
    with _Largest() as largest:
        predict(model, picture, NORMALISATION, EvaluationConfig(**changes))
    assert 18 * band < 150 * 256 * 256
    assert largest.numel < 1.25 * band


sizes = st.tuples(st.integers(1, 150), st.integers(1, 150))


@settings(deadline=None, max_examples=300)
@given(size=sizes, window=sizes, parts=st.tuples(st.floats(0.05, 1), st.floats(0.05, 1)))
def test_windows_cover_every_pixel_and_stay_inside(size, window, parts):
    stride = tuple(max(1, int(side * part)) for side, part in zip(window, parts, strict=True))
    padded = tuple(map(max, size, window))
    for windows, area in (
        (windows_inside(size, window, stride), size),
        (windows_over(padded, window, stride), padded),
    ):
        count = np.zeros(area, int)
        for place in windows:
            assert 0 <= place.top < place.bottom <= area[0]
            assert 0 <= place.left < place.right <= area[1]
            count[place.top : place.bottom, place.left : place.right] += 1
        assert count.min() >= 1
        assert len(set(windows)) == len(windows)
    for place in windows_inside(size, window, stride):
        assert (place.bottom - place.top, place.right - place.left) == tuple(map(min, size, window))


def test_windows_of_769_on_cityscapes_are_mmsegmentations_eight():
    windows = windows_inside((1024, 2048), (769, 769), (513, 513))
    assert [(window.top, window.left) for window in windows] == [
        (top, left) for top in (0, 255) for left in (0, 513, 1026, 1279)
    ]
    assert EvaluationConfig(window_hw=(769, 769)).stride == (513, 513)
    assert EvaluationConfig(window_hw=(768, 768)).stride == (512, 512)


@settings(deadline=None, max_examples=60)
@given(
    source=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    target=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    align=st.booleans(),
    cut=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_a_band_of_a_resized_picture_is_torchs_own(source, target, align, cut):
    picture = torch.randn(3, *source, dtype=torch.float64)
    first = int(min(cut) * (target[0] - 1))
    last = max(first + 1, round(max(cut) * target[0]))
    held = source_rows(Rows(first, last), target[0], source[0], align_corners=align)
    assert 0 <= held.first < held.last <= source[0]
    band = resize_rows(
        picture[:, held.first : held.last], held, source[0], Rows(first, last), target, align_corners=align
    )
    whole = torch.nn.functional.interpolate(picture[None], target, mode="bilinear", align_corners=align)[0]
    torch.testing.assert_close(band, whole[:, first:last], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("size_hw", "scale", "base_hw", "expected"),
    [
        ((1024, 2048), 0.75, None, (768, 1536)),
        ((683, 512), 1.0, (512, 2048), (683, 512)),
        ((256, 341), 1.0, (512, 2048), (512, 682)),
        ((200, 1000), 1.0, (512, 2048), (410, 2048)),
        ((256, 341), 0.5, (512, 2048), (256, 341)),
    ],
)
def test_a_fitted_size_keeps_the_ratio_and_both_limits(size_hw, scale, base_hw, expected):
    assert scaled_size(size_hw, scale, EvaluationConfig(base_hw=base_hw)) == expected


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"window_hw": (64, 64), "stride_hw": (65, 64)}, "stay unseen"),
        ({"scales": ()}, "at least 1"),
        ({"scales": (0.0,)}, "greater than 0"),
        ({"scales": (1.0, 1.0)}, "differ"),
        ({"base_hw": (2048, 512)}, "short side"),
        ({"mode": "sliding"}, "whole"),
        ({"windows": 3}, "windows"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings_, message):
    with pytest.raises(ValidationError, match=message):
        EvaluationConfig(**settings_)

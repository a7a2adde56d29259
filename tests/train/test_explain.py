"""The output of `danet explain`, against the paper's equations written out; no N x N map is built."""

import json
import math
import re

import cv2
import matplotlib.image
import numpy as np
import pytest
import torch
import typer
from authors_network import authors_file, literal_logits
from torch.utils._python_dispatch import TorchDispatchMode
from typer.testing import CliRunner

from danet_train import CITYSCAPES, build_model, read_checkpoint, save_checkpoint
from danet_train.classes import numbered_classes
from danet_train.cli.explain import explain
from danet_train.config.sections import Normalisation
from danet_train.data.torch_samples import normalise
from danet_train.errors import DataError, UsageError
from danet_train.evaluation.prediction import predict
from danet_train.explain.channels import channel_weights, describe_channel, separating_channels
from danet_train.explain.explanation import explain_image
from danet_train.explain.positions import attend, attention_rows, entropy
from danet_train.model.attention import PositionAttention

SMALL = {"base_channels": 4, "stem_channels": 4, "head_channels": 8, "attention_channels": 4}
NORMALISATION = Normalisation()


def _network(gamma=0.7, **options):
    torch.manual_seed(3)
    model = build_model(18, **SMALL, aux_channels=None, **{"num_classes": 5, **options}).eval()
    head = model.decode_head
    torch.nn.init.normal_(head.conv_seg.weight, 0.0, 1.0)
    with torch.no_grad():
        logits = model(torch.randn(1, 3, 8, 12).repeat_interleave(8, 2).repeat_interleave(8, 3))
        head.conv_seg.bias -= logits.mean(dim=(0, 2, 3))
        for attention in (head.pam, head.cam):
            if attention is not None:
                attention.gamma.scale.fill_(gamma)
    return model


@pytest.fixture(scope="module")
def image():
    coarse = np.random.default_rng(0).integers(0, 256, (8, 12, 3)).astype(np.uint8)
    return cv2.resize(coarse, (96, 64), interpolation=cv2.INTER_NEAREST)


# --- the two attentions ---


def _attention(channels=6, width=3):
    torch.manual_seed(0)
    attention = PositionAttention(channels, width).double()
    torch.nn.init.constant_(attention.gamma.scale, 0.3)
    return attention, torch.randn(1, channels, 5, 7, dtype=torch.float64)


def _conv(layer, x):
    weight, bias = layer.weight.detach().numpy()[:, :, 0, 0], layer.bias.detach().numpy()
    return weight @ x + bias[:, None]


def _written_out(attention, x):
    """Eq. 1's map (N, N) and eq. 2's result (C, N), position by position."""
    flat = x[0].flatten(1).numpy()
    query, key, value = (
        _conv(layer, flat)
        for layer in (attention.query_project, attention.key_project, attention.value_project)
    )
    count = flat.shape[1]
    weights = np.empty((count, count))
    for j in range(count):
        energy = [math.exp(query[:, j] @ key[:, i]) for i in range(count)]
        weights[j] = np.array(energy) / sum(energy)
    gamma = float(attention.gamma.scale.detach())
    out = np.stack([gamma * (weights[j] * value).sum(axis=1) + flat[:, j] for j in range(count)], axis=1)
    return weights, out


def test_a_row_is_that_of_the_whole_softmax():
    attention, x = _attention()
    weights, _ = _written_out(attention, x)
    cells = [0, 34, 17, 8]
    with torch.inference_mode():
        rows = attention_rows(attention, x, cells)
    np.testing.assert_allclose(rows.numpy(), weights[cells], rtol=1e-12)
    np.testing.assert_allclose(rows.sum(dim=1).numpy(), 1, rtol=1e-12)


def test_attending_block_by_block_is_the_paper_and_the_modules_own():
    attention, x = _attention()
    _, out = _written_out(attention, x)
    with torch.inference_mode():
        blocks = attend(attention, x)
        torch.testing.assert_close(blocks, attention(x), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(blocks[0].flatten(1).numpy(), out, rtol=1e-10)


def test_the_weights_of_a_channel_are_eq_3_of_the_references():
    x = torch.randn(1, 5, 3, 4, dtype=torch.float64)
    flat = x[0].flatten(1).numpy()
    for channel in range(5):
        exp = np.array([math.exp(-(flat[channel] @ flat[other])) for other in range(5)])
        np.testing.assert_allclose(channel_weights(x, channel).numpy(), exp / exp.sum(), rtol=1e-10)


def test_entropy_is_0_for_one_position_and_log_n_for_even_attention():
    rows = torch.tensor([[1.0, 0, 0, 0], [0.25, 0.25, 0.25, 0.25]])
    torch.testing.assert_close(entropy(rows), torch.tensor([0.0, math.log(4)]))


class _NothingOfNTimesN(TorchDispatchMode):
    def __init__(self, limit):
        super().__init__()
        self.limit = limit

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, torch.Tensor) and tensor.numel() >= self.limit:
                raise AssertionError(f"{function} made a tensor of {tuple(tensor.shape)}")
        return out


def test_no_tensor_of_an_eighth_of_n_times_n_is_ever_made():
    model, size = _network(), (512, 512)
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    positions = size[0] // 8 * (size[1] // 8)
    guard = _NothingOfNTimesN(limit=positions * positions // 8)
    with pytest.raises(AssertionError, match="made a tensor"), guard:
        torch.zeros(positions // 8, positions)  # the guard does see such a tensor
    with guard:
        explanation = explain_image(model, picture, NORMALISATION)
    assert explanation.pixels[0].weights.size == positions


# --- what is chosen and found ---


@pytest.mark.parametrize("options", [{}, {"pam": False}, {"cam": False}, {"pam": False, "cam": False}])
@pytest.mark.parametrize("size_wh", [(96, 64), (75, 51)])
def test_the_result_is_the_networks_own_for_every_head(image, options, size_wh):
    picture, model = cv2.resize(image, size_wh), _network(**options)
    explanation = explain_image(model, picture, NORMALISATION)
    own = predict(model, picture, NORMALISATION)
    assert (explanation.labels == own).mean() > 0.999  # sums are rounded in another order
    has_pam, has_cam = options.get("pam", True), options.get("cam", True)
    assert bool(explanation.pixels) == has_pam
    assert bool(explanation.channels) == has_cam
    notes = " ".join(explanation.notes)
    assert ("no position attention" in notes) != has_pam
    assert ("no channel attention" in notes) != has_cam


def test_a_file_of_the_authors_is_explained_with_aligned_corners(tmp_path, image):
    state = authors_file(deep=False)
    torch.save({"state_dict": state}, tmp_path / "danet.pth.tar")
    loaded = read_checkpoint(tmp_path / "danet.pth.tar", multi_grid=(4, 8, 16))
    explanation = explain_image(loaded.model, image, NORMALISATION, pixels=[(0, 0), (95, 63), (47, 31)])
    logits = literal_logits(state, normalise(image, NORMALISATION)[None], (4, 8, 16))
    full = torch.nn.functional.interpolate(logits, size=(64, 96), mode="bilinear", align_corners=True)
    assert (explanation.labels == full.argmax(dim=1)[0].numpy()).mean() > 0.999
    assert (explanation.pam_gamma, explanation.cam_gamma) == pytest.approx((0.8, -0.6))
    with torch.inference_mode():
        head = loaded.model.decode_head
        x = head.pam_in_conv(loaded.model.backbone(normalise(image, NORMALISATION)[None])[1])
        rows = attention_rows(head.pam, x, [0, 8 * 12 - 1, 3 * 12 + 5])  # corners meet corners
    for pixel, row in zip(explanation.pixels, rows, strict=True):
        np.testing.assert_allclose(pixel.weights.ravel(), row.numpy(), rtol=1e-5)


def test_the_map_of_a_pixel_is_that_of_its_cell(image):
    model = _network()
    explanation = explain_image(model, image, NORMALISATION, pixels=[(0, 0), (95, 63), (41, 18)])
    with torch.inference_mode():
        x = model.decode_head.pam_in_conv(model.backbone(normalise(image, NORMALISATION)[None])[1])
        pam = model.decode_head.pam
        query, key = (layer(x).flatten(2)[0] for layer in (pam.query_project, pam.key_project))
        whole = torch.softmax(query.T @ key, dim=-1)
    for pixel, cell in zip(explanation.pixels, (0, 8 * 12 - 1, 2 * 12 + 5), strict=True):
        np.testing.assert_allclose(pixel.weights.ravel(), whole[cell].numpy(), rtol=1e-4)
        x_most, y_most, weight = pixel.most_attended[0]
        assert (y_most // 8) * 12 + x_most // 8 == int(whole[cell].argmax())
        assert weight == pytest.approx(float(whole[cell].max()), rel=1e-4)
        assert 0 < pixel.entropy <= math.log(96) + 1e-6
        assert pixel.train_id == explanation.labels[pixel.y, pixel.x]


def test_a_resized_input_is_asked_about_in_the_images_own_pixels(image):
    model = _network()
    explanation = explain_image(model, image, NORMALISATION, pixels=[(95, 63)], size_hw=(128, 64))
    half = explain_image(model, cv2.resize(image, (64, 128)), NORMALISATION, pixels=[(63, 127)])
    assert explanation.labels.shape == (64, 96)
    assert explanation.input_hw == (128, 64)
    np.testing.assert_allclose(explanation.pixels[0].weights, half.pixels[0].weights, rtol=1e-4)
    assert explanation.at_image_size(explanation.pixels[0].weights).shape == (64, 96)


def test_pixels_are_chosen_inside_the_largest_classes(image):
    explanation = explain_image(_network(), image, NORMALISATION)
    counts = np.bincount(explanation.labels.ravel(), minlength=5)
    chosen = [pixel.train_id for pixel in explanation.pixels]
    assert chosen[0] == counts.argmax()
    assert len(set(chosen)) == len(chosen)
    assert 1 < len(chosen) <= 4


def test_the_channels_that_tell_a_class_are_found():
    torch.manual_seed(0)
    labels = torch.zeros(10, 12, dtype=torch.long)
    labels[:4], labels[4:, :5] = 1, 2
    maps = torch.rand(6, 10, 12)
    maps[3] = (labels == 2) * 5.0
    maps[5] = (labels == 1) * 0.1
    maps[0] = 0.0
    found = separating_channels(maps, labels, 2)
    assert {(channel.number, channel.train_id) for channel in found} == {(3, 2), (5, 1)}
    inside, outside = maps[3][labels == 2].mean(), maps[3][labels != 2].mean()
    expected = float((inside - outside) / maps[3].std(correction=0))
    assert describe_channel(maps, labels, 3) == (3, 2, pytest.approx(expected))
    assert describe_channel(maps, labels, 0).separation == 0
    alone = separating_channels(maps, torch.zeros_like(labels), 2)
    assert [channel.number for channel in alone] == maps.flatten(1).std(dim=1).argsort().flip(0)[:2].tolist()
    assert alone[0].train_id is None


def test_a_gamma_of_0_is_said(image):
    notes = " ".join(explain_image(_network(gamma=0.0), image, NORMALISATION).notes)
    assert "PAM's gamma is 0" in notes
    assert "CAM's gamma is 0" in notes
    assert explain_image(_network(), image, NORMALISATION).notes == ()


def test_numbered_classes_have_colors_of_their_own():
    table = numbered_classes(150)
    assert table.names[149] == "class 149"
    assert len(set(table.colors)) == 150


# --- the command ---


def _run(*arguments):
    app = typer.Typer()
    app.command()(explain)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def files(tmp_path_factory, image):
    """A checkpoint that names its classes, one without attention and names, an image and its label."""
    folder = tmp_path_factory.mktemp("explain")
    save_checkpoint(folder / "c.pt", _network(num_classes=19), classes=CITYSCAPES)
    save_checkpoint(folder / "plain.pt", _network(num_classes=19, pam=False, cam=False))
    cv2.imwrite(str(folder / "image.png"), image)
    cv2.imwrite(str(folder / "label.png"), CITYSCAPES.encode(np.full((64, 96), 13, np.uint8)))
    return folder


@pytest.mark.slow
def test_the_picture_is_drawn_the_same_every_time_and_its_figures_written(tmp_path, files):
    pictures = []
    for name in ("a", "b"):
        result = _run(
            files / "c.pt", files / "image.png", "-o", tmp_path / f"{name}.png",
            "--label", files / "label.png", "--pixel", "10,20", "--pixel", "90,5", "--channel", 2,
            "--json", tmp_path / f"{name}.json",
        )  # fmt: skip
        assert result.exit_code == 0, (result.output, result.exception)
        pictures.append((tmp_path / f"{name}.png").read_bytes())
    assert pictures[0] == pictures[1]
    drawn = matplotlib.image.imread(tmp_path / "a.png")
    assert drawn.shape[0] > 900
    assert drawn.shape[1] > 2000
    record = json.loads((tmp_path / "a.json").read_text())
    assert [(pixel["x"], pixel["y"]) for pixel in record["pixels"]] == [(10, 20), (90, 5)]
    assert [channel["number"] for channel in record["channels"]] == [2]
    assert record["pam_gamma"] == pytest.approx(0.7)
    for pixel in record["pixels"]:
        weights = [place["weight"] for place in pixel["most_attended"]]
        assert weights == sorted(weights, reverse=True)
    assert re.search(r"pixel 10,20 \(\w+.*\) attends most to \d+,\d+", result.output)


def test_a_network_without_attention_has_one_row_of_panels_and_says_so(tmp_path, files):
    start = (files / "plain.pt", files / "image.png", "-o", tmp_path / "p.png")
    result = _run(*start, "--label", files / "label.png", "--classes", "cityscapes")
    assert result.exit_code == 0, (result.output, result.exception)
    assert matplotlib.image.imread(tmp_path / "p.png").shape[0] < 800
    assert "no position attention" in result.output
    assert "no channel attention" in result.output


def test_a_label_needs_named_classes(tmp_path, files):
    start = (files / "plain.pt", files / "image.png", "-o", tmp_path / "p.png")
    result = _run(*start, "--label", files / "label.png")
    assert isinstance(result.exception, UsageError)
    assert "--classes" in str(result.exception)


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        (("--pixel", "96,0"), UsageError, "outside the image, which is 96x64"),
        (("--pixel", "0,64"), UsageError, "a Y of 0 to 63"),
        (("--pixel", "0;64"), UsageError, "X,Y"),
        (("--channel", "8"), UsageError, "0 to 7"),
        (("--size", "64"), UsageError, "HEIGHTxWIDTH"),
        (("--classes", "camvid"), DataError, "19 classes"),
    ],
)
def test_what_cannot_be_shown_is_refused_and_nothing_written(tmp_path, files, arguments, kind, words):
    result = _run(files / "c.pt", files / "image.png", "-o", tmp_path / "p.png", *arguments)
    assert isinstance(result.exception, kind), (result.output, result.exception)
    assert words in str(result.exception)
    assert list(tmp_path.iterdir()) == []


def test_a_label_of_another_size_a_file_that_is_there_and_a_wrong_suffix_are_refused(tmp_path, files):
    cv2.imwrite(str(tmp_path / "other.png"), np.zeros((64, 95), np.uint8))
    start = (files / "c.pt", files / "image.png", "-o")
    result = _run(*start, tmp_path / "p.png", "--label", tmp_path / "other.png")
    assert isinstance(result.exception, DataError)
    assert "95x64" in str(result.exception)
    for target, words in (("other.png", "--overwrite"), ("p.jpg", "PNG")):
        result = _run(*start, tmp_path / target)
        assert isinstance(result.exception, UsageError)
        assert words in str(result.exception)
    result = _run(*start, tmp_path / "p.png", "--json", tmp_path / "p.png", "--overwrite")
    assert isinstance(result.exception, UsageError)
    assert "another output" in str(result.exception)
    result = _run(*start, files / "image.png", "--overwrite")
    assert isinstance(result.exception, UsageError)
    assert "which is read" in str(result.exception)


@pytest.mark.slow
def test_the_picture_of_a_ribbon_is_no_ribbon(tmp_path, files):
    cv2.imwrite(str(tmp_path / "tall.png"), np.zeros((600, 12, 3), np.uint8))
    result = _run(files / "c.pt", tmp_path / "tall.png", "-o", tmp_path / "p.png", "--pixel", "3,3")
    assert result.exit_code == 0, result.output
    height, width = cv2.imread(str(tmp_path / "p.png")).shape[:2]
    assert height < 3 * width

"""Fake quantisation: its arithmetic and gradients, where it stands, and what a checkpoint keeps of it."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from danet_train import build_model, open_dataset, read_checkpoint, save_checkpoint
from danet_train.data.samples.sample import Splits
from danet_train.errors import CheckpointError, ConfigError, DataError, QuantisationError
from danet_train.quantisation.activations import quantised_activations
from danet_train.quantisation.fake_quantisation import (
    SMALLEST_SCALE,
    ActivationQuantiser,
    QuantisedConv2d,
    fake_quantise,
    fake_quantise_weight,
)
from danet_train.quantisation.network import QuantisedNetwork
from danet_train.quantisation.trained_scales import TrainedScale, read_trained_scales, write_trained_scales
from danet_train.training.config import TrainConfig
from danet_train.training.fine_tune import EVALUATIONS, fine_tune_to_file, fine_tuning_config
from danet_train.training.listeners import Listeners

SMALL = {
    "depth": 18,
    "base_channels": 16,
    "stem_channels": 16,
    "head_channels": 16,
    "attention_channels": 8,
    "aux_channels": 8,
}


def lively_model(**changes):
    torch.manual_seed(0)
    model = build_model(**{**SMALL, **changes})
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0.0, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    return model.eval()


def config(**changes):
    return TrainConfig.model_validate({
        "augmentation": {"crop_hw": [32, 48]},
        "optimiser": {"kind": "adamw", "lr": 0.01},
        "quantisation": {"lr_factor": 0.1, "frames": 2},
        "steps": 20, "batch_size": 2, "in_memory": True, "device": "cpu", "threads": 1, **changes,
    })  # fmt: skip


@settings(deadline=None)
@given(values=st.lists(st.floats(-50, 50, width=32), min_size=1, max_size=30), scale=st.floats(0.01, 2))
def test_values_and_gradients_are_those_of_the_definition(values, scale):
    x = torch.tensor(values, requires_grad=True)
    s = torch.tensor(scale, requires_grad=True)
    fake_quantise(x, s).backward(torch.arange(1.0, len(values) + 1))
    ratio = np.float32(values) / np.float32(scale)
    inside = (ratio >= -128) & (ratio <= 127)
    levels = np.clip(np.rint(ratio), -128, 127)  # halves to even, as ONNX rounds
    upstream = np.arange(1, len(values) + 1)
    np.testing.assert_allclose(fake_quantise(x, s).detach(), levels * np.float32(scale), rtol=1e-5)
    np.testing.assert_allclose(x.grad, upstream * inside, rtol=1e-5)
    expected = (upstream * np.where(inside, levels - ratio, levels)).sum()
    assert float(s.grad) == pytest.approx(expected, rel=1e-3, abs=0.02 * len(values))


def test_a_weight_keeps_its_largest_value_of_each_channel_and_passes_its_gradient():
    weight = torch.randn(5, 3, 3, 3) * torch.logspace(-3, 3, 5)[:, None, None, None]
    weight[4] = 0
    weight.requires_grad_()
    quantised = fake_quantise_weight(weight)
    largest = weight.detach().abs().amax((1, 2, 3))
    torch.testing.assert_close(quantised.detach().abs().amax((1, 2, 3)), largest)
    assert ((quantised - weight).detach().abs().amax((1, 2, 3)) <= largest / 254 * 1.001).all()
    quantised.sum().backward()
    torch.testing.assert_close(weight.grad, torch.ones_like(weight))


def test_rounding_weights_before_the_batch_norm_is_folded_is_rounding_them_after():
    torch.manual_seed(0)
    conv, norm = nn.Conv2d(8, 16, 3, bias=False), nn.BatchNorm2d(16)
    nn.init.normal_(norm.weight)  # of both signs
    norm.running_var.uniform_(0.1, 10)
    norm.eval()
    folded = nn.utils.fusion.fuse_conv_bn_eval(conv.eval(), norm)
    factor = (norm.weight / (norm.running_var + norm.eps).sqrt())[:, None, None, None]
    assert (factor < 0).any()
    torch.testing.assert_close(
        fake_quantise_weight(conv.weight) * factor, fake_quantise_weight(folded.weight), rtol=1e-4, atol=1e-6
    )


def test_a_scale_is_found_on_what_is_observed_and_never_too_small_for_fp16():
    quantiser = ActivationQuantiser("x", 100.0, torch.device("cpu"))
    quantiser.observing = True
    for largest in (2.54, 1.0):
        x = torch.tensor([0.0, -largest])
        assert quantiser(x) is x
    quantiser.adopt_range()
    assert quantiser.scale == pytest.approx(0.02)
    quantiser(torch.zeros(3))
    quantiser.adopt_range()
    assert quantiser.scale == pytest.approx(SMALLEST_SCALE)


@pytest.mark.parametrize("ranges", [[], [math.nan], [1.0, math.inf]])
def test_a_range_that_is_none_is_an_error_with_the_activations_name(ranges):
    quantiser = ActivationQuantiser("backbone.layer1.0", 100.0, torch.device("cpu"))
    quantiser.observing = True
    for value in ranges:
        quantiser(torch.tensor([value]))
    with pytest.raises(QuantisationError, match=r"backbone\.layer1\.0"):
        quantiser.adopt_range()


def test_the_quantised_network_has_the_state_of_the_plain_one_and_rounds_a_little():
    model = lively_model()
    names, x = list(model.state_dict()), torch.randn(1, 3, 32, 48)
    with torch.no_grad():
        before = model(x)
    network = QuantisedNetwork(model)
    network.calibrate([x])
    assert list(network.model.state_dict()) == names
    with torch.no_grad():
        after = network.model(x)
        plain = network.plain_model()(x)
    assert 0.001 < float((after - before).norm() / before.norm()) < 0.2
    torch.testing.assert_close(plain, before)


def test_every_reader_of_an_activation_reads_it_with_one_quantiser():
    network = QuantisedNetwork(lively_model())
    by_name = {activation.name: activation for activation in quantised_activations(network.model)}
    assert len(by_name["decode_head.pam_in_conv"].readers) == 3
    for name, activation in by_name.items():
        for reader in activation.readers:
            module = network.model.get_submodule(reader.module)
            if isinstance(module, nn.Conv2d):
                assert isinstance(module, QuantisedConv2d)
                assert module.activation is network.quantisers[name]


def test_heads_that_only_train_stay_in_floating_point():
    model = QuantisedNetwork(lively_model()).model
    for name in ("auxiliary_head.conv_seg", "decode_head.pam_conv_seg", "decode_head.cam_conv_seg"):
        assert not isinstance(model.get_submodule(name), QuantisedConv2d)
    assert isinstance(model.decode_head.conv_seg, QuantisedConv2d)


def test_every_scale_and_every_exported_weight_gets_a_gradient():
    network = QuantisedNetwork(lively_model())
    x = torch.randn(2, 3, 32, 48)
    with torch.no_grad():
        network.model.decode_head.pam.gamma.scale.fill_(0.5)
        network.model.decode_head.cam.gamma.scale.fill_(0.5)
    network.calibrate([x])
    network.train_with_frozen_statistics()
    statistics = network.model.backbone.layer1[0].bn1.running_mean.clone()
    network.model(x).fused.square().mean().backward()
    assert torch.equal(network.model.backbone.layer1[0].bn1.running_mean, statistics)
    for name, quantiser in network.quantisers.items():
        assert float(quantiser.log_scale.grad.abs()) > 0, name
    exported = ("backbone.", "decode_head.conv_seg", "decode_head.pam.", "decode_head.pam_out_conv")
    for name, parameter in network.model.named_parameters():
        if name.startswith(exported) and not name.endswith("key_project.bias"):  # a softmax ignores that one
            assert parameter.grad is not None, name
            assert float(parameter.grad.abs().sum()) > 0, name


@pytest.fixture(scope="module")
def plain_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("plain") / "c.pt"
    save_checkpoint(path, lively_model())
    return path


def fine_tune(plain_file, synthetic_root, out, **changes):
    source = read_checkpoint(plain_file)
    settings = fine_tuning_config(config(**changes), source)
    train, val = open_dataset(synthetic_root, "train"), open_dataset(synthetic_root, "val")
    return fine_tune_to_file(settings, source, Splits(train, val), out), settings, len(val)


def test_a_fine_tuning_writes_weights_scales_and_both_scores(plain_file, synthetic_root, tmp_path):
    result, settings, _ = fine_tune(plain_file, synthetic_root, tmp_path / "q.pt")
    assert settings.steps == 2
    assert settings.optimiser.lr == pytest.approx(0.001)
    before, after = read_checkpoint(plain_file), read_checkpoint(tmp_path / "q.pt")
    assert before.scales is None
    assert set(after.scales) == {activation.name for activation in quantised_activations(after.model)}
    assert after.metadata["int8"]["miou"] == result.int8.miou
    assert after.metadata["fine_tuned_from_sha256"] == before.sha256
    state, old = after.model.state_dict(), before.model.state_dict()
    assert list(state) == list(old)
    for name in state:
        changed = not torch.equal(state[name], old[name])
        assert changed != ("running" in name or "num_batches" in name), name


@pytest.mark.slow
def test_it_continues_from_the_scales_that_a_checkpoint_has(plain_file, synthetic_root, tmp_path):
    model = read_checkpoint(plain_file).model
    scales = {activation.name: 0.5 for activation in quantised_activations(model)}
    save_checkpoint(tmp_path / "s.pt", model, scales=scales)
    still = {"quantisation": {"scale_lr": 0.0}}
    fine_tune(tmp_path / "s.pt", synthetic_root, tmp_path / "q.pt", **still)
    assert read_checkpoint(tmp_path / "q.pt").scales == pytest.approx(scales)
    fine_tune(tmp_path / "s.pt", synthetic_root, tmp_path / "r.pt")
    assert read_checkpoint(tmp_path / "r.pt").scales != pytest.approx(scales, rel=1e-4)


def test_the_validation_split_is_scored_as_often_as_is_said(plain_file, synthetic_root, tmp_path):
    count = []
    source = read_checkpoint(plain_file)
    val = open_dataset(synthetic_root, "val")
    fine_tune_to_file(
        fine_tuning_config(config(), source, steps=1),
        source,
        Splits(open_dataset(synthetic_root, "train"), val),
        tmp_path / "q.pt",
        listeners=Listeners(on_sample=lambda: count.append(1)),
    )
    assert len(count) == EVALUATIONS * len(val)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {"depth": 50}}, "model.depth is 50 in the configuration, but 18 in the checkpoint"),
        ({"model": {"head_channels": 8}}, "model.head_channels is 8"),
        ({"normalisation": {"mean": [1, 2, 3]}}, "the normalisation is"),
    ],
)
def test_a_configuration_of_another_network_is_refused(plain_file, changes, message):
    with pytest.raises(ConfigError, match=message):
        fine_tuning_config(config(**changes), read_checkpoint(plain_file))
    with pytest.raises(ConfigError, match="steps must be 1 or more"):
        fine_tuning_config(config(), read_checkpoint(plain_file), steps=0)


def test_a_label_stride_is_refused_where_the_checkpoint_aligns_corners(tmp_path):
    save_checkpoint(tmp_path / "aligned.pt", lively_model(align_corners=True))
    source = read_checkpoint(tmp_path / "aligned.pt")
    strided = config(augmentation={"crop_hw": [33, 48]}, loss={"label_stride": 3})
    with pytest.raises(ConfigError, match=r"label_stride 3 does not go .* set loss\.label_stride: 1"):
        fine_tuning_config(strided, source)
    assert fine_tuning_config(config(), source).model.align_corners


def test_a_checkpoint_of_other_classes_is_refused(synthetic_root, tmp_path):
    save_checkpoint(tmp_path / "c.pt", lively_model(num_classes=5))
    with pytest.raises(DataError, match="5 classes, the dataset 19"):
        fine_tune(tmp_path / "c.pt", synthetic_root, tmp_path / "q.pt")
    assert not (tmp_path / "q.pt").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.update({"image": math.nan}), "activation image must be a positive number, not nan"),
        (lambda s: s.update({"image": -0.1}), "activation image must be a positive number, not -0.1"),
        (lambda s: s.update({"image": 0.0}), "activation image must be a positive number"),
        (lambda s: s.update({"image": math.inf}), "activation image must be a positive number"),
        (lambda s: s.update({"image": "0.1"}), "activation image must be a positive number"),
        (lambda s: s.pop("backbone.layer2.0"), r"missing: \['backbone.layer2.0'\]"),
        (lambda s: s.update({"another": 0.1}), r"unexpected: \['another'\]"),
        (lambda s: s.clear(), "missing"),
    ],
)
def test_damaged_scales_are_refused_by_name(tmp_path, change, message):
    model = lively_model(base_channels=32, stem_channels=32)
    scales = {activation.name: 0.1 for activation in quantised_activations(model)}
    save_checkpoint(tmp_path / "c.pt", model, scales=scales)
    assert read_checkpoint(tmp_path / "c.pt").scales == scales
    content = torch.load(tmp_path / "c.pt", weights_only=True)
    change(content["quantisation"]["scales"])
    torch.save(content, tmp_path / "c.pt")
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(tmp_path / "c.pt")
    with pytest.raises(CheckpointError, match=message):
        save_checkpoint(tmp_path / "d.pt", model, scales=content["quantisation"]["scales"])


@pytest.mark.parametrize("section", [None, [], {"scales": 3}, {"scales": {}, "more": 1}])
def test_a_section_of_another_form_is_refused(plain_file, tmp_path, section):
    content = torch.load(plain_file, weights_only=True)
    torch.save({**content, "quantisation": section}, tmp_path / "c.pt")
    with pytest.raises(CheckpointError, match="quantisation must hold 'scales'"):
        read_checkpoint(tmp_path / "c.pt")


def entry(**changes):
    return TrainedScale(**{"node": "conv", "position": 0, "scale": 0.25, "activation": "image", **changes})


def test_the_file_of_scales_comes_back_as_it_was():
    data = write_trained_scales([entry(), entry(node="add", position=1, scale=1e-5)])
    assert read_trained_scales(data) == {("conv", 0): 0.25, ("add", 1): 1e-5}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "JSON"),
        (b'{"kind": "danet-trained-scales", "scales": []}', "scales: "),
        (write_trained_scales([entry()]).replace(b"0.25", b"NaN"), "scales.0.scale"),
        (write_trained_scales([entry()]).replace(b"0.25", b"-0.25"), "scales.0.scale"),
        (write_trained_scales([entry()]).replace(b"scale\"", b"width\""), "scales.0"),
        (write_trained_scales([entry(), entry(node="b")]).replace(b'"b"', b'"conv"'), "two scales"),
    ],
)  # fmt: skip
def test_a_damaged_file_of_scales_is_refused(data, message):
    with pytest.raises(QuantisationError, match=message):
        read_trained_scales(data)


def spread_channels(model, spread, seed=0):
    """Scale the channels between the convolutions of a block apart: the same function, ruinous for INT8.

    ReLU passes a positive factor, so what the batch norm multiplies the next convolution divides.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in ("layer1", "layer2", "layer3", "layer4"):
            for block in getattr(model.backbone, layer):
                factor = spread ** (torch.rand(block.bn1.weight.shape, generator=generator) * 2 - 1)
                block.bn1.weight *= factor
                block.bn1.bias *= factor
                block.conv2.weight /= factor[None, :, None, None]


def test_spreading_channels_changes_no_output_in_floating_point_and_much_in_int8():
    model, x = lively_model(), torch.randn(1, 3, 32, 48)
    errors = []
    with torch.no_grad():
        expected = model(x)
        for spread in (1.0, 100.0):
            altered = lively_model()
            spread_channels(altered, spread)
            torch.testing.assert_close(altered(x), expected, rtol=1e-3, atol=1e-3)
            network = QuantisedNetwork(altered, percentile=100.0)
            network.calibrate([x])
            errors.append(float((network.model(x) - expected).norm() / expected.norm()))
    assert errors[1] > 3 * errors[0]


@pytest.mark.slow
def test_learning_under_quantisation_wins_back_what_the_largest_magnitude_as_scale_loses():
    model, x = lively_model(), torch.randn(2, 3, 32, 48)
    with torch.no_grad():
        expected = model(x)
    spread_channels(model, 100.0)
    network = QuantisedNetwork(model, percentile=100.0)
    network.calibrate([x])
    optimisers = [
        torch.optim.Adam(network.model.parameters(), lr=1e-3),
        torch.optim.Adam([quantiser.log_scale for quantiser in network.quantisers.values()], lr=0.01),
    ]
    errors = []
    for _ in range(30):
        for optimiser in optimisers:
            optimiser.zero_grad()
        loss = (network.model(x) - expected).square().mean()  # eval mode: the very outputs of INT8
        loss.backward()
        errors.append(float(loss.detach()))
        for optimiser in optimisers:
            optimiser.step()
    assert errors[-1] < 0.5 * errors[0]

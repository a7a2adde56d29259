import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from danet_train import build_model
from danet_train.errors import ConfigError
from danet_train.model.backbones.resnet_options import layer_dilations
from danet_train.model.danet import TrainingLogits

SMALL = {
    "base_channels": 4,
    "stem_channels": 4,
    "head_channels": 8,
    "attention_channels": 4,
    "aux_channels": 4,
}


def _tiny(depth=18, **options):
    return build_model(depth, **{**SMALL, "num_classes": 5, **options})


@pytest.mark.parametrize(("depth", "parameters"), [(50, 49_846_574), (101, 68_838_702)])
def test_the_published_networks_have_the_published_number_of_parameters(depth, parameters):
    with torch.device("meta"):
        model = build_model(depth)
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_names_and_shapes_are_those_of_mmsegmentation():
    with torch.device("meta"):
        state = build_model(50).state_dict()
    for name, shape in {
        "backbone.stem.0.weight": (32, 3, 3, 3),
        "backbone.stem.7.running_var": (64,),
        "backbone.layer1.0.downsample.0.weight": (256, 64, 1, 1),
        "backbone.layer3.5.conv2.weight": (256, 256, 3, 3),
        "backbone.layer4.2.bn3.weight": (2048,),
        "decode_head.pam_in_conv.conv.weight": (512, 2048, 3, 3),
        "decode_head.pam.query_project.weight": (64, 512, 1, 1),
        "decode_head.pam.key_project.bias": (64,),
        "decode_head.pam.value_project.weight": (512, 512, 1, 1),
        "decode_head.pam.gamma.scale": (),
        "decode_head.cam.gamma.scale": (),
        "decode_head.cam_out_conv.bn.running_mean": (512,),
        "decode_head.pam_conv_seg.weight": (19, 512, 1, 1),
        "decode_head.conv_seg.bias": (19,),
        "auxiliary_head.convs.0.conv.weight": (256, 1024, 3, 3),
        "auxiliary_head.conv_seg.weight": (19, 256, 1, 1),
    }.items():
        assert tuple(state[name].shape) == shape
    assert len(state) == 376


def test_the_first_block_of_a_dilated_layer_uses_half_its_dilation():
    assert layer_dilations(50, None)[2:] == [(1, 2, 2, 2, 2, 2), (2, 4, 4)]
    assert layer_dilations(50, (4, 8, 16))[3] == (4, 8, 16)
    model = _tiny(50)
    assert [block.conv2.dilation[0] for block in model.backbone.layer4] == [2, 4, 4]


def test_the_second_convolution_of_a_basic_block_is_never_dilated():
    layer4 = _tiny(18).backbone.layer4
    assert [block.conv1.dilation[0] for block in layer4] == [2, 4]
    assert [block.conv2.dilation[0] for block in layer4] == [1, 1]


@settings(max_examples=15, deadline=None)
@given(height=st.integers(9, 90), width=st.integers(9, 90), stem=st.sampled_from(["deep", "plain"]))
def test_the_output_stride_is_8_rounded_up_for_every_size(height, width, stem):
    model = _tiny(stem=stem).eval()
    with torch.no_grad():
        logits = model(torch.zeros(1, 3, height, width))
    assert logits.shape == (1, 5, -(-height // 8), -(-width // 8))


def test_769_gives_97_positions_a_side():
    with torch.no_grad():
        assert _tiny(pam=False).eval()(torch.zeros(1, 3, 769, 17)).shape == (1, 5, 97, 3)


def test_training_mode_returns_the_logits_of_every_classifier():
    logits = _tiny()(torch.randn(2, 3, 32, 40))
    assert isinstance(logits, TrainingLogits)
    assert all(head.shape == (2, 5, 4, 5) for head in logits)


@pytest.mark.parametrize(("pam", "cam"), [(True, False), (False, True), (False, False)])
def test_an_attention_that_is_left_out_leaves_no_parameters_behind(pam, cam):
    model = _tiny(pam=pam, cam=cam, aux_channels=None)
    head = model.decode_head
    assert (head.pam is None) == (not pam)
    assert (head.cam is None) == (not cam)
    assert (head.convs is None) == (pam or cam)
    names = [name for name in model.state_dict() if not name.startswith("backbone.")]
    assert any("pam" in name for name in names) == pam
    assert any("cam" in name for name in names) == cam
    logits = model(torch.randn(2, 3, 32, 32))
    assert logits.fused.shape == (2, 5, 4, 4)
    assert logits.pam is logits.cam is logits.aux is None


def test_the_sum_of_the_branches_is_what_the_classifier_reads():
    model = _tiny().eval()
    with torch.no_grad():
        _, c4 = model.backbone(torch.randn(1, 3, 32, 32))
        features = model.decode_head.features(c4)
        torch.testing.assert_close(features.fused, features.pam + features.cam)
        torch.testing.assert_close(model.decode_head(c4).fused, model.decode_head.conv_seg(features.fused))


def test_classifiers_and_residual_blocks_start_as_the_reference_does():
    torch.manual_seed(0)
    model = _tiny(50, head_channels=64, num_classes=19)
    weight = model.decode_head.conv_seg.weight
    assert 0.008 < float(weight.detach().std()) < 0.012
    assert not model.decode_head.conv_seg.bias.detach().any()
    assert not model.backbone.layer2[1].bn3.weight.detach().any()
    assert bool((model.backbone.layer2[1].bn2.weight == 1).all())


@pytest.mark.parametrize(
    "options",
    [
        {"depth": 20},
        {"multi_grid": (4, 8)},
        {"dropout": 1.5},
        {"heads": 2},
        {"num_classes": "19"},
        {"pam": 1},
    ],
)
def test_an_impossible_option_is_refused_by_name(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        build_model(**options)


def test_zero_auxiliary_channels_means_no_auxiliary_head():
    assert _tiny(aux_channels=0).auxiliary_head is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("depth", "size_hw", "backbone", "head", "total"),
    [
        (50, (512, 1024), 201.84, (193.27, 2.68, 38.65, 4.29), 440.83),
        (50, (769, 769), 231.67, (221.99, 3.08, 50.99, 4.93), 512.75),
        (50, (1024, 2048), 807.37, (773.09, 10.74, 618.48, 17.18), 2227.18),
        (101, (512, 1024), 357.00, (193.27, 2.68, 38.65, 4.29), 595.99),
        (101, (1024, 2048), 1427.99, (773.09, 10.74, 618.48, 17.18), 2847.80),
    ],
)
def test_the_network_needs_the_published_multiplications(depth, size_hw, backbone, head, total):
    convolutions, projections, position, channel = head
    with torch.device("meta"):
        model = build_model(depth).eval()
        x = torch.empty(1, 3, *size_hw)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(x)
    counts = {
        name: {str(operation): flops / 2e9 for operation, flops in operations.items()}
        for name, operations in counter.get_flop_counts().items()
    }

    def gmacs(*modules):
        return sum(sum(counts[f"DANet.{module}"].values()) for module in modules)

    of_position = counts["DANet.decode_head.pam"]
    qkv = sum(value for operation, value in of_position.items() if "convolution" in operation)
    assert gmacs("backbone") == pytest.approx(backbone, abs=0.006)
    blocks = [
        f"decode_head.{name}" for name in ("pam_in_conv", "pam_out_conv", "cam_in_conv", "cam_out_conv")
    ]
    assert gmacs(*blocks) == pytest.approx(convolutions, abs=0.006)
    assert qkv == pytest.approx(projections, abs=0.006)
    assert sum(of_position.values()) - qkv == pytest.approx(position, abs=0.006)
    assert gmacs("decode_head.cam") == pytest.approx(channel, abs=0.006)
    assert sum(counts["Global"].values()) == pytest.approx(total, abs=0.02)

"""Whole networks: their forms, what does not fit, and the labels with the kernels."""

import pytest
import torch

from danet_export.ops.execution import plain_ops

pytest.importorskip("triton", reason="Triton is not installed (it has wheels for Linux only)")


def test_a_pool_is_counted_alone(load):
    network_script = load("network")
    snapshot = [
        {"segment_pool_id": (0, 3), "total_size": 100},
        {"segment_pool_id": (0, 0), "total_size": 7},
        {"segment_pool_id": (0, 3), "total_size": 20},
    ]
    assert network_script.pool_bytes(snapshot, (0, 3)) == 120
    with pytest.raises(ValueError, match="segments of the pool"):
        network_script.pool_bytes(snapshot, (0, 4))


def test_a_form_without_room_is_recorded_and_the_others_are_measured(load, monkeypatch):
    script = load("network")
    timing = load("measurement").Timing.of([2.0], host_bound=False)
    image = torch.zeros(1)
    truth = {"fits": False}

    class Network:
        def __call__(self, _image):
            if not truth["fits"]:
                raise torch.OutOfMemoryError("FP32 does not fit\nmore")
            return torch.ones(4)

        def to(self, *_, **__):
            return self

        half = to

        def state_dict(self):
            return {"weight": torch.zeros(3)}

    def eager(*_):
        raise torch.OutOfMemoryError("CUDA out of memory.\nmore")

    monkeypatch.setattr(script, "DEVICE", "cpu")
    monkeypatch.setattr(script, "Eager", lambda network: network)
    monkeypatch.setattr(script, "random_network", lambda _: Network())
    monkeypatch.setattr(script, "in_half", lambda _: (eager, Network()))
    monkeypatch.setattr(torch, "randn", lambda *_, **__: torch.zeros(1, 3, 8, 8))
    monkeypatch.setattr(
        script, "plain_form", lambda module, _: eager() if module is eager else script.Form(lambda: image, 5)
    )
    monkeypatch.setattr(script, "graph_form", lambda *_: script.Form(lambda: image + 1, 6, 7))
    for clock in ("time_side_by_side", "loop_side_by_side"):
        monkeypatch.setattr(script, clock, lambda runs, *_: dict.fromkeys(runs, timing))
    row = script.measure(50, (8, 8), 1)
    assert row["forms"]["eager"] == {"skipped": "CUDA out of memory."}
    assert row["forms"]["kernels"]["fps"] == row["forms"][script.GRAPH]["fps"] == 500
    assert (row["truth_skipped"], row["forms"]["kernels"]["label_agreement"]) == ("FP32 does not fit", None)
    assert row["graph_device_bytes"] == 7
    assert script.problems([row]) == []
    script.show([row], {})
    truth["fits"] = True
    row = script.measure(50, (8, 8), 1)
    assert [row["forms"][name]["label_agreement"] for name in ("kernels", script.GRAPH)] == [0.0, 1.0]
    assert len(script.problems([row])) == 1


def test_batch_norm_is_folded_before_weights_are_rounded(load, monkeypatch):
    script = load("network")
    folded = []
    fold = script.fold_batch_norm

    def watched(network):
        folded.extend({part.dtype for part in network.parameters()})
        fold(network)

    monkeypatch.setattr(script, "fold_batch_norm", watched)
    network = script.build_model(18, base_channels=8, stem_channels=8, head_channels=32, aux_channels=0)
    eager, fused = script.in_half(network.eval())
    assert folded == [torch.float32]
    for module in (eager, fused):
        assert {part.dtype for part in module.parameters()} == {torch.float16}


@pytest.mark.slow
def test_the_network_with_the_kernels_gives_the_eager_networks_labels(load):
    network_script = load("network")
    torch.manual_seed(0)
    network = network_script.build_model(
        18, base_channels=8, stem_channels=8, head_channels=32, attention_channels=16, aux_channels=0
    ).eval()
    torch.nn.init.normal_(network.decode_head.conv_seg.weight, std=0.5)
    with torch.no_grad():
        network.decode_head.pam.gamma.scale.fill_(1)
        network.decode_head.cam.gamma.scale.fill_(1)
    image = torch.randn(1, 3, 64, 128).half()
    with torch.inference_mode(), plain_ops():
        eager, fused = network_script.in_half(network)
        expected, labels = eager(image), fused(image)
    assert (labels == expected).float().mean() > network_script.AGREEMENT
    assert len(expected.unique()) > 2

"""The precision of a configuration on CPUs with and without instructions for BF16."""

import pytest

from danet_train.cli import precision_here as module
from danet_train.cli.precision_here import computes_bfloat16, precision_here
from danet_train.training.config import read_config
from danet_train.training.distributed import ALONE

WITH = "processor\t: 0\nflags\t\t: fpu avx2 avx512f avx512_bf16\n"
WITHOUT = "processor\t: 0\nflags\t\t: fpu sse2 avx2 avx512f\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd bf16\n"


@pytest.fixture
def cpu(tmp_path, monkeypatch):
    def choose(text):
        (tmp_path / "cpuinfo").write_text(text, encoding="utf-8")
        monkeypatch.setattr(module, "_CPU", tmp_path / "cpuinfo")

    return choose


def test_the_cpus_features_tell_and_silence_means_yes():
    assert computes_bfloat16(WITH)
    assert computes_bfloat16(ARM)
    assert not computes_bfloat16(WITHOUT)
    assert computes_bfloat16("")


def test_bf16_of_a_configuration_becomes_fp32_where_it_would_be_emulated(cpu):
    cpu(WITHOUT)
    settings, sentence = precision_here(read_config("demo", "device=cpu"), ["device=cpu"], ALONE)
    assert settings.precision == "fp32"
    assert "precision=bf16" in sentence
    assert settings.model_copy(update={"precision": "bf16"}) == read_config("demo", "device=cpu")


def test_it_stays_where_the_cpu_computes_it_or_the_user_asks_for_it(cpu):
    cpu(WITH)
    assert precision_here(read_config("demo", "device=cpu"), [], ALONE)[0].precision == "bf16"
    cpu(WITHOUT)
    stated = ["precision=bf16"]
    assert precision_here(read_config("demo", "device=cpu"), stated, ALONE) == (
        read_config("demo", "device=cpu"),
        None,
    )

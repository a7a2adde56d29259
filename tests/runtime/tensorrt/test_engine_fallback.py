"""The forms of the attention are tried in their order, and each that fails says why."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from danet_runtime.errors import BackendError, BundleError, FaultError
from danet_runtime.tensorrt.build.layers import NoInt8Error
from danet_runtime.tensorrt.build.library import TensorRTLibrary
from danet_runtime.tensorrt.engine_build import BuildPlan, EngineBuild
from danet_runtime.tensorrt.engine_fallback import obtain_first
from danet_runtime.tensorrt.engine_obtain import Obtained
from danet_runtime.tensorrt.plugins.lowering import Lowering, Lowerings
from danet_runtime.tensorrt.plugins.withdrawal import restore_plugins, withdraw_plugins

TUNED, SMALL = Lowering("plugin", "kernels", "tuned"), Lowering("plugin", "little memory", "small")
NATIVE = Lowering("native", "fused")


class Attempts:
    """Builds the forms that nothing is wrong with, and notes what happens."""

    def __init__(self, steps=(TUNED, SMALL, NATIVE), passed_over=(), **wrong):
        self.wrong = {
            key: BackendError(error) if isinstance(error, str) else error for key, error in wrong.items()
        }
        self.tried, self.notes, self.stored = [], [], {}
        self.plan = BuildPlan(Lowerings(tuple(steps), tuple(passed_over)), self.make, "a machine", "big maps")

    def make(self, lowering):
        return EngineBuild(None, None, lowering, None, None, b"", None, None)

    def obtain(self, planned):
        key = planned.lowering.kernel_variant or planned.lowering.attention
        self.tried.append(key)
        if key in self.wrong:
            raise self.wrong[key]
        return Obtained(planned.passed_over, reused=False)

    def first(self, *, rebuild=False):
        find = None if rebuild else lambda planned: self.stored.get(planned.lowering)
        return obtain_first(self.plan, self.obtain, find, self.notes.append)


def test_the_first_form_that_serves_is_taken_and_nothing_else_tried():
    attempts = Attempts()
    planned, obtained = attempts.first()
    assert planned.lowering == TUNED
    assert (attempts.tried, attempts.notes, obtained.engine) == (["tuned"], [], ())


def test_each_form_that_fails_says_why_and_the_next_one_is_tried():
    attempts = Attempts(tuned="too much shared memory", small="gives 3.00% of the golden frame's labels")
    planned, obtained = attempts.first()
    assert planned.lowering == NATIVE
    assert attempts.tried == ["tuned", "small", "native"]
    assert attempts.notes == [
        "the plugin with tuned kernels failed: too much shared memory. Trying the plugin with small kernels",
        "the plugin with small kernels failed: gives 3.00% of the golden frame's labels. "
        "Trying TensorRT's own attention",
    ]
    assert obtained.engine == (  # what its manifest holds
        "the plugin with tuned kernels: too much shared memory",
        "the plugin with small kernels: gives 3.00% of the golden frame's labels",
    )


def test_what_cannot_be_tried_is_told_before_the_first():
    attempts = Attempts([SMALL], ["the plugin: no tuned kernels"], small="it fails")
    with pytest.raises(BackendError, match=r"^it fails$"):
        attempts.first()
    assert attempts.notes == ["the plugin: no tuned kernels; not tried"]


def test_where_none_serves_the_error_names_each_reason_the_slow_form_and_what_to_report():
    attempts = Attempts(tuned="one", small="two", native="three")
    with pytest.raises(BackendError) as refused:
        attempts.first()
    for words in (
        "the plugin with tuned kernels: one; the plugin with small kernels: two; ",
        "; TensorRT's own attention: three. `--attention",
        "`--attention reference` builds the plain one, for comparison: big maps",
        "Please report this, with what is written here: a machine",
    ):
        assert words in str(refused.value)
    assert attempts.tried == ["tuned", "small", "native"]


def test_what_was_asked_for_alone_fails_with_its_own_error():
    attempts = Attempts([TUNED], tuned="it fails")
    with pytest.raises(BackendError, match=r"^it fails$"):
        attempts.first()


@pytest.mark.parametrize("error", [BundleError("a hash"), NoInt8Error("no INT8"), KeyboardInterrupt()])
def test_what_no_other_form_would_mend_ends_it(error):
    attempts = Attempts(tuned=error)
    with pytest.raises(type(error)):
        attempts.first()
    assert attempts.tried == ["tuned"]


def test_a_lost_gpu_ends_it_with_what_to_try_in_another_process():
    attempts = Attempts(tuned="slow", small=FaultError("ILLEGAL_ADDRESS"))
    with pytest.raises(FaultError, match=r"lost by the plugin with small kernels; .* --attention native`"):
        attempts.first()
    with pytest.raises(FaultError, match=r"with `danet build ... --kernels small`"):
        Attempts(tuned=FaultError("ILLEGAL_ADDRESS")).first()
    with pytest.raises(FaultError, match=r"^ILLEGAL_ADDRESS$"):
        Attempts([NATIVE], native=FaultError("ILLEGAL_ADDRESS")).first()


def stored(*passed_over):
    return SimpleNamespace(manifest=SimpleNamespace(passed_over=passed_over))


def test_an_engine_that_was_built_because_others_failed_is_taken_until_a_rebuild():
    attempts = Attempts()
    attempts.stored[SMALL] = stored("tuned: too much shared memory")
    assert attempts.first()[0].lowering == SMALL
    assert attempts.tried == ["small"]
    assert attempts.first(rebuild=True)[0].lowering == TUNED
    attempts.stored[TUNED] = stored()
    assert attempts.first()[0].lowering == TUNED


def test_an_engine_that_was_asked_for_alone_does_not_stand_for_the_first_form():
    attempts = Attempts()
    attempts.stored[NATIVE] = stored()
    assert attempts.first()[0].lowering == TUNED


class Registry:
    """As TensorRT's."""

    def __init__(self, *names):
        self.creators = {name: SimpleNamespace(name=name) for name in names}
        self.keeps = False

    def get_creator(self, name, version, namespace):
        assert (version, namespace) == ("1", "danet")
        return self.creators.get(name)

    def deregister_creator(self, creator):
        return not self.keeps and self.creators.pop(creator.name, None) is creator

    def register_creator(self, creator, namespace):
        assert namespace == "danet"
        return self.creators.setdefault(creator.name, creator) is creator


def test_plugins_are_taken_out_of_the_registry_for_other_forms_and_put_back():
    registry = Registry("PositionAttention", "UpsampleArgmax")
    before = dict(registry.creators)
    trt = SimpleNamespace(__version__="11.4.0", get_plugin_registry=lambda: registry)
    withdraw_plugins(trt)
    withdraw_plugins(trt)
    assert registry.creators == {}
    restore_plugins(SimpleNamespace())  # of another library's module there is nothing
    restore_plugins(trt)
    restore_plugins(trt)
    assert registry.creators == before
    registry.keeps = True
    with pytest.raises(BackendError, match=r"keeps the plugin danet::PositionAttention"):
        withdraw_plugins(trt)


def test_plugins_are_faulty_in_two_releases_alone():
    faulty = [
        version
        for version in ((10, 3), (10, 13), (10, 14), (10, 15), (10, 16), (11, 0), (11, 4))
        if TensorRTLibrary(None, "tensorrt", (*version, 1)).has_faulty_plugins
    ]
    assert faulty == [(10, 14), (10, 15)]
    assert not TensorRTLibrary(None, "tensorrt-rtx", (10, 14, 1)).has_faulty_plugins

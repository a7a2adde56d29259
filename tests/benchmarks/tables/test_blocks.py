"""Every document holds what is made of the results, and one that does not is named."""

import json
import re
import subprocess
import sys
from dataclasses import replace

import pytest

from benchmarks.places import GPU_RESULTS, REPOSITORY, RESULTS
from benchmarks.tables.blocks import BLOCKS, Block, documents, with_block
from benchmarks.tables.engines import kernels

MADE = re.compile(r"<!-- made by benchmarks\.tables, (.*): begin -->")


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.name)
def test_the_document_holds_what_the_results_give(block):
    text = (REPOSITORY / block.document).read_text(encoding="utf-8")
    made = with_block(text, block.make(block.results), block.markers)
    assert made == text, "run python -m benchmarks.tables"


def test_every_marker_in_a_document_is_that_of_a_block():
    held = [
        (name, str(file.relative_to(REPOSITORY)))
        for file in (REPOSITORY / "README.md", *(REPOSITORY / "docs").rglob("*.md"))
        for name in MADE.findall(file.read_text(encoding="utf-8"))
    ]
    assert sorted(held) == sorted((block.name, block.document) for block in BLOCKS)


@pytest.mark.skipif(GPU_RESULTS != RESULTS, reason="a trial run's figures of a GPU are in another folder")
def test_the_check_passes_and_says_nothing():
    command = [sys.executable, "-m", "benchmarks.tables", "--check"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_a_changed_result_changes_its_document_alone(tmp_path):
    results, root = tmp_path / "results", tmp_path / "root"
    results.mkdir()
    (root / "docs").mkdir(parents=True)
    for name in {block.document for block in BLOCKS}:
        (root / name).write_text((REPOSITORY / name).read_text(encoding="utf-8"), encoding="utf-8")
    for file in RESULTS.glob("*.json"):
        (results / file.name).write_bytes(file.read_bytes())
    own = {RESULTS: results, GPU_RESULTS: results}
    here = [replace(block, results=own.get(block.results, block.results)) for block in BLOCKS]
    assert all(text == wanted for text, wanted in documents(here, root).values())
    measured = json.loads((results / "flushing.json").read_text())
    measured["sinks"]["video"]["write_over_unflushed"] = 7.25
    (results / "flushing.json").write_text(json.dumps(measured))
    changed = {path: wanted for path, (text, wanted) in documents(here, root).items() if text != wanted}
    assert list(changed) == [root / "docs" / "stream.md"]
    assert "took 7.25 (video)" in changed[root / "docs" / "stream.md"]


def test_every_kept_result_is_told_somewhere(tmp_path):
    for file in RESULTS.glob("*.json"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    made = [block.make(tmp_path) for block in BLOCKS]
    untold = []
    for file in sorted(RESULTS.glob("*.json")):
        (tmp_path / file.name).unlink()
        if [block.make(tmp_path) for block in BLOCKS] == made:
            untold.append(file.name)
        (tmp_path / file.name).write_bytes(file.read_bytes())
    assert not untold


def test_a_kernel_that_spills_is_named_with_its_architecture_and_size(tmp_path):
    kept = json.loads((RESULTS / "kernel_resources.json").read_text())
    for row in kept["kernels"]:
        row["spill_bytes"] = 8 if (row["arch"], row["tokens"]) == ("sm_90", 8192) else 0
    (tmp_path / "kernel_resources.json").write_text(json.dumps(kept))
    made = " ".join(kernels(tmp_path).split())
    assert (
        "spilled by ChannelEnergy on sm_90 at N = 8192 (8 bytes) and PositionAttention on sm_90 at N = 8192 "
        "(8 bytes) and" in made
    )
    assert "sm_75" not in made


def test_only_the_block_is_exchanged_and_its_markers_must_be_there_once():
    markers = ("<!-- begin -->", "<!-- end -->")
    text = "before\n<!-- begin -->\nold\n<!-- end -->\nafter\n"
    assert with_block(text, "new", markers) == text.replace("old", "new")
    for broken in ("no markers", text + text, text.replace(markers[1], ""), markers[1] + text):
        with pytest.raises(SystemExit, match="once"):
            with_block(broken, "new", markers)


def test_a_document_without_its_markers_is_named(tmp_path):
    (tmp_path / "page.md").write_text("nothing")
    block = Block("name", "page.md", lambda _results: "made", tmp_path)
    with pytest.raises(SystemExit, match=r"^page\.md: expected each of the markers"):
        documents([block], tmp_path)

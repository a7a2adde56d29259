"""The README's figures of GPUs, from results/<gpu>.json of every GPU that was measured."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from benchmarks.tables.text import Document, markdown, mib

NOTHING_YET = """\
No figures of a GPU are measured yet. `make gpu` measures, and makes this block from what it writes into
`benchmarks/results/<gpu>.json`: the kernels' errors against float64, and whether a bundle's PTX gives the
bits of the kernel as Triton launches it; compute-sanitizer's word; time, TFLOP/s and memory of position
attention beside eager PyTorch, scaled_dot_product_attention and torch.compile; time and memory of the forms
of CAM and of the upsampling; frames a second and memory of DANet R-50 and R-101; and what TensorRT for RTX
does there."""

SANITIZERS = ("memcheck", "racecheck")
IN_STEP = "triton, in step"
"""The candidate of position attention whose warps have no roles."""
AIMED_GPU = "H200"
"""The GPU of the targets; on any other they are given without a verdict."""


def milliseconds(row: Document) -> str:
    """A median and its range over the rounds."""
    lowest, highest = row["milliseconds_range"]
    return f"{row['milliseconds']:.3f} ({lowest:.3f} to {highest:.3f})"


def fastest(rows: Iterable[Document], prefix: str) -> Document | None:
    """The fastest of the candidates whose names begin so and that ran."""
    ran = [row for row in rows if row["candidate"].startswith(prefix) and "milliseconds" in row]
    return min(ran, key=lambda row: float(row["milliseconds"]), default=None)


def correctness(section: Document, sanitizer: Document | None) -> str:
    """A sentence for each of the demands on our own kernels."""
    rows = section["measurements"]
    parts = []
    for dtype in dict.fromkeys(row["dtype"] for row in rows):
        chosen = [row for row in rows if row["dtype"] == dtype and row["operator"] != "UpsampleArgmax"]
        worst = max(max(row["relative_error_jit"], row["relative_error_ptx"]) for row in chosen)
        parts.append(f"{worst:.1e} in {dtype.upper()}")
    sizes = ", ".join(str(size) for size in dict.fromkeys(row["tokens"] for row in rows))
    equal = sum(row["bits_equal_to_jit"] for row in rows)
    lines = [
        f"Correctness at N = {sizes}: **{'passed' if section['passed'] else 'FAILED'}**. Largest relative "
        f"error of the attentions against float64: {', '.join(parts)}. The bundle's PTX gives the bits of "
        f"the kernel as Triton launches it in {equal} of {len(rows)} cases."
    ]
    verdicts = [f"{tool} {sanitizer[tool]['verdict']}" for tool in SANITIZERS] if sanitizer else []
    lines.append(f"compute-sanitizer: {', '.join(verdicts) or 'not checked'}.")
    return " ".join(lines)


def largest(section: Document) -> list[Document]:
    """The measurements at the largest N; the file has the others."""
    most = max(row["tokens"] for row in section["measurements"])
    return [row for row in section["measurements"] if row["tokens"] == most]


def attention(section: Document, measurements: list[Document], dtype: str) -> str:
    """Position attention by N: ours beside the stock ways, of sdpa's backends the fastest."""
    rows: list[list[str]] = []
    for tokens in dict.fromkeys(row["tokens"] for row in measurements):
        here = [row for row in measurements if row["tokens"] == tokens]
        ways = {
            "ptx tuned": "**bundle's PTX**",
            "ptx small": "bundle's PTX, small",
            "eager": "eager",
            "torch.compile": "torch.compile",
        }
        if fastest(here, IN_STEP):  # measured where the bundle's kernel is another
            ways[IN_STEP] = "warps in step"
        chosen = [(title, fastest(here, name)) for name, title in ways.items()]
        whole = [row for row in here if not row["candidate"].startswith("sdpa split")]
        for row in (fastest(whole, "sdpa"), fastest(here, "sdpa split V")):
            chosen.append((row["candidate"] if row else "sdpa", row))
        for title, row in chosen:
            if row is None:
                rows.append([str(tokens), title, "did not run", "", "", "", ""])
                continue
            figures = [f"{row['tflops']:.0f}", f"{row['share_of_matmul']:.0%}"]
            memory = mib(row["memory_beyond_output_bytes"])
            error = f"{row['relative_error']:.1e}"
            rows.append([str(tokens), title, milliseconds(row), *figures, memory, error])
    matmul = f"{section['matmul_bf16_8192_tflops']:.0f}"
    title = f"Position attention, {dtype.upper()}, beside an 8192^3 BF16 matmul of {matmul} TFLOP/s"
    share = section["targets"].get("share_of_matmul")
    if share:
        title += f" ({matmul_targets(share)})"
    header = ("N", "", "ms", "TFLOP/s", "of matmul", "MiB beyond output", "error")
    return f"{title}:\n\n{markdown(header, rows)}"


def matmul_targets(share: Document) -> str:
    """The targets of the rate at N = 32768, and a verdict where it is asked of this GPU."""
    if not share["required"]:
        asked = f"{share['limit']:.0%} are asked and {share['aim']:.0%} aimed at"
        return f"at N = 32768, {asked} on an {AIMED_GPU}, which this is not"
    verdicts = ["reached" if share["reached"] >= share[name] else "missed" for name in ("limit", "aim")]
    return (
        f"at N = 32768, asked: {share['limit']:.0%}, {verdicts[0]}; "
        f"aimed at: {share['aim']:.0%}, {verdicts[1]}"
    )


def channel(section: Document, dtype: str) -> str:
    """The forms of CAM's map, and the upsampling, at the largest N."""
    rows = []
    for row in largest(section):
        names = [str(row["tokens"]), row["candidate"]]
        if "refused" in row:
            rows.append([*names, "did not run", "", ""])
            continue
        wrong = f"{row['relative_error']:.1e}" if "relative_error" in row else f"{row['wrong_labels']} labels"
        rows.append([*names, milliseconds(row), mib(row["memory_beyond_output_bytes"]), wrong])
    header = ("N", "", "ms", "MiB beyond output", "error")
    return f"CAM up to its map, and the upsampling, {dtype.upper()}:\n\n{markdown(header, rows)}"


def network(section: Document) -> str:
    """Whole networks in PyTorch."""
    rows = []
    for row in section["measurements"]:
        for name, form in row["forms"].items():
            if "skipped" in form:
                rows.append([f"{row['network']} {row['size']}", name, "did not fit", "", "", ""])
                continue
            figures = [f"{form['fps']:.1f}", milliseconds(form["gpu"]), mib(form["peak_memory_bytes"])]
            agreement = form["label_agreement"]
            compared = "not compared" if agreement is None else f"{agreement:.2%}"
            rows.append([f"{row['network']} {row['size']}", name, *figures, compared])
    header = ("network", "PyTorch", "fps", "GPU ms", "MiB beyond output", "labels as in FP32")
    aim = section["targets"].get("fps")
    target = ""
    if aim:
        verdict = "reached" if aim["passed"] else "missed"
        here = f": {verdict}" if aim["aimed_gpu"] else ", which this is not"
        target = f"; {aim['of']} is to reach {aim['aim']:g} fps on an {AIMED_GPU}{here}"
    return (
        "Whole DANet in FP16, image to labels, frames one after the other (the graph's memory is its whole "
        f"pool{target}):\n\n{markdown(header, rows)}"
    )


def rtx(section: Document) -> str:
    """TensorRT for RTX: figures, or its error."""
    rows = []
    for row in section["measurements"]:
        outcome = f"{row.get('stage', 'start')}: {row['error']}" if "error" in row else milliseconds(row)
        outcome = " ".join(outcome.replace("|", "\\|").split())[:200]
        rows.append([f"{row['network']} {row['size']}", row["precision"], outcome])
    header = ("network", "precision", "ms, or at which stage what failed")
    return f"TensorRT for RTX, native lowering:\n\n{markdown(header, rows)}"


def origin(made_with: Document) -> str:
    """The libraries and the commit that figures were made with."""
    return (
        f"PyTorch {made_with['torch']}, Triton {made_with['triton']}, CUDA {made_with['cuda']}, "
        f"commit {made_with['commit']}"
    )


def origins(document: Document) -> str:
    """The origin of all sections, or of each where they come of different runs."""
    names: dict[str, list[str]] = {}
    for name, section in document.items():
        if isinstance(section, dict) and "made_with" in section:
            names.setdefault(origin(section["made_with"]), []).append(name)
    if len(names) == 1:
        return next(iter(names))
    return "measured in several states: " + "; ".join(
        f"{', '.join(sections)} with {made}" for made, sections in names.items()
    )


def gpu_block(document: Document) -> str:
    """All that one results file holds."""
    gpu = document["gpu"]
    parts = [
        f"**{gpu['name']}** ({gpu['capability']}, {gpu['memory_bytes'] / 2**30:.0f} GiB), "
        f"{origins(document)}. Times are medians over rounds, with the lowest and highest."
    ]
    if "correctness" in document:
        parts.append(correctness(document["correctness"], document.get("compute_sanitizer")))
    for dtype in ("fp16", "bf16"):
        if section := document.get(f"position_attention_{dtype}"):
            chosen = section["measurements"] if dtype == "fp16" else largest(section)
            parts.append(attention(section, chosen, dtype))
    for dtype in ("fp16", "bf16"):
        if f"channel_energy_{dtype}" in document:
            parts.append(channel(document[f"channel_energy_{dtype}"], dtype))
    if "network_fp16" in document:
        parts.append(network(document["network_fp16"]))
    if "tensorrt_rtx_native" in document:
        parts.append(rtx(document["tensorrt_rtx_native"]))
    return "\n\n".join(parts)


def block(results: Path) -> str:
    """The text between the markers, from all results of GPUs in a folder."""
    documents = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(results.glob("*.json"))]
    gpus = [document for document in documents if document.get("kind") == "gpu-results"]
    return "\n\n".join(gpu_block(document) for document in gpus) if gpus else NOTHING_YET

"""Memory of engines and kernels, as the builder and the assembler tell it without a GPU."""

from __future__ import annotations

from pathlib import Path

from benchmarks.tables.text import Document, markdown, mib, prose, read

FCN = "native, without both (FCN)"


def activation_memory(results: Path) -> str:
    """The whole network's by its lowering, and what each part of the attention has of it."""
    document = read(results, "activation_memory")
    if document is None:
        return ""
    networks = document["activation_memory_bytes"]
    rows = []
    for form in next(iter(networks.values())):
        bold = "**" if form == "native" else ""
        cells = (form, *(mib(forms[form]) for forms in networks.values()))
        rows.append([f"{bold}{cell}{bold}" for cell in cells])
    library = " ".join(document["library"].split())
    intro = (
        f"Activation memory of the whole network in {document['precision'].upper()} at {document['size']}, "
        f"as the builder of {library} tells it for {document['target']}, in MiB "
        "(`python -m benchmarks.engines.activation_memory`):"
    )
    return "\n\n".join((prose(intro), markdown(["", *networks], rows), prose(_shares(networks["R-50"]))))


def _shares(forms: Document) -> str:
    """The share of each part of R-50's attention in its peak."""
    both, pam, cam = (
        _more(forms[form], forms[FCN]) for form in ("native", "native, without CAM", "native, without PAM")
    )
    logits = _more(forms["native"], forms["native, without upsampling"])
    return (
        "A row is the peak of one network, and peaks do not add up: what is freed before the peak costs "
        f"nothing. In R-50 the attention takes {both} more than the FCN; without CAM it would be {pam}, "
        f"without PAM {cam}; the upsampled logits add {logits} to the peak."
    )


def _more(size: int, base: int) -> str:
    return f"{(size - base) / 2**20:.0f} MiB" if size > base else "nothing"


def kernels(results: Path) -> str:
    """Which kernels spill registers, how much shared memory they take, and how much device memory."""
    document = read(results, "kernel_resources")
    if document is None:
        return ""
    rows = document["kernels"]
    spilling = sorted(
        {
            f"{row['operator']} on {row['arch']} at N = {row['tokens']} ({row['spill_bytes']} bytes)"
            for row in rows
            if row["spill_bytes"]
        }
    )
    kib = {
        variant: max(row["shared_memory_bytes"] for row in rows if row["variant"] == variant) / 1024
        for variant in ("tuned", "small")
    }
    beyond = document["plugin_device_memory_beyond_inputs_and_outputs"]["bytes"]
    sizes = ", ".join(str(tokens) for tokens in sorted({row["tokens"] for row in rows}))
    return prose(
        f"In {document['dtype'].upper()} at N = {sizes} a `tuned` kernel takes up to {kib['tuned']:.0f} KiB "
        f"of shared memory, a `small` one up to {kib['small']:.0f}; registers are spilled by "
        f"{' and '.join(spilling) or 'none'}; device memory beyond inputs and outputs is {beyond} bytes. "
        "`benchmarks/results/kernel_resources.json` has every kernel and architecture (`python -m "
        "benchmarks.engines.kernel_resources`)."
    )


def engines(document: Document) -> str:
    """Size, memory and layers of the engines."""
    rows = [
        [
            f"{network} {size}",
            precision.upper(),
            *(mib(row[key]) for key in ("engine_bytes", "activation_memory_bytes")),
            str(row["layers"]),
        ]
        for network, sizes in document["engines"].items()
        for size, precisions in sizes.items()
        for precision, row in precisions.items()
    ]
    title = (
        f"Engines by the builder of {document['library']} for {document['target']}, native lowering, all "
        "convolutions on INT8 or none. Layers are those of the file as it was parsed, Q/DQ among them "
        "(`python -m benchmarks.engines.rtx_engines`); built, not run:"
    )
    return f"{prose(title)}\n\n{markdown(['network', '', 'engine, MiB', 'activations, MiB', 'layers'], rows)}"


def engine_memory(document: Document) -> str:
    """Why INT8 takes more activation memory than FP16."""
    sizes = document["sizes"]
    names = list(next(iter(sizes.values())))
    rows = []
    for name in names:
        row = next(iter(sizes.values()))[name]
        types = ", ".join(f"{count} {kind}" for kind, count in row["convolutions"].items())
        memory_of = (mib(held[name]["activation_memory_bytes"]) for held in sizes.values())
        rows.append([name, *memory_of, mib(row["moved_bytes"]), types])
    first = next(iter(sizes))
    header = ["R-50", *(f"activations at {size}, MiB" for size in sizes), f"moved at {first}, MiB"]
    intro = (
        "INT8 needs more activation memory than FP16 here because this builder lets a convolution with one "
        "weight scale a channel write FP32: the largest tensors, 2048 channels at an eighth of the size, "
        "stand there twice, with 4 bytes a value. Q/DQ at the residual sums save memory, at the pooling they "
        "change nothing. With one scale a tensor it writes FP16. So the same INT8 weights with one scale a "
        "tensor, and each channel's factor multiplied behind the convolution, take no more than FP16; `danet "
        "build` does not do this (`python -m benchmarks.engines.rtx_int8_memory`):"
    )
    return f"{prose(intro)}\n\n{markdown([*header, 'convolutions'], rows)}"

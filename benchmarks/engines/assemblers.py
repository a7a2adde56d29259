"""Whether the assemblers of the field make the same of a bundle's PTX as Triton's own. Needs no GPU.

pip download --no-deps -d WHEELS nvidia-cuda-nvcc-cu12==12.6.85
pip download --no-deps -d WHEELS nvidia-cuda-nvcc-cu12==12.8.93
pip download --no-deps -d WHEELS nvidia-cuda-nvcc==13.0.88
python -m benchmarks.engines.assemblers WHEELS [--arch sm_87 ...] [--output FILE]

The address that ``tcgen05.alloc`` gives is written and read by a sequence that each release of ptxas makes of
its own; it is left out, by its uniform addresses, which no store of a kernel here has.

A driver assembles a bundle's PTX by itself, with the assembler of its own release: JetPack 6 with that of
CUDA 12.6. Counted for each is what the kernel does to shared memory, to the matrix units and at barriers, and
its spills. Everything goes into benchmarks/results/assemblers.json; a part only into the file of --output.

It is a command and no test, since the wheels of two releases cannot be installed beside each other: a test
would be skipped wherever the development environment is set up as written.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from rich.progress import track

from benchmarks.engines.machine_code import Assembled, Instruction, assemble, count, own_assembler, release
from benchmarks.gpu.cases import problem
from benchmarks.places import results_file
from danet_export.kernels.architectures import ARCHITECTURES, find_architectures
from danet_export.kernels.bundle_kernels import VARIANTS, specify
from danet_export.kernels.cache import compile_cached
from danet_export.kernels.compiler import triton_version
from danet_runtime.errors import DanetError, UsageError
from danet_runtime.files.atomic import write_json
from danet_runtime.tensorrt.kernels.targets import KERNEL_TARGETS

RESULTS = results_file("assemblers")
TOKENS: Final = 32768
COUNTED: Final = ("STS", "LDS", "LDSM", "STSM", "HMMA", "HGMMA", "UTCHMMA", "BAR", "LDGSTS")
"""Families of instructions whose number decides what a kernel computes; others are the assembler's affair."""

READS: Final[Mapping[str, tuple[int, int]]] = {"12.6": (8, 5), "12.8": (8, 7), "13.0": (9, 0)}
"""Newest PTX of each release of CUDA that is asked for."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheels", type=Path, help="folder with the wheels of nvidia-cuda-nvcc")
    parser.add_argument("--arch", nargs="+", default=list(ARCHITECTURES), help="sm_75 ... sm_120")
    parser.add_argument("--output", type=Path, help="of a part too; without it, only a whole run is written")
    arguments = parser.parse_args()
    architectures = find_architectures(arguments.arch, "fp16")
    output = arguments.output or (RESULTS if set(arguments.arch) == set(ARCHITECTURES) else None)
    with tempfile.TemporaryDirectory(prefix="danet-ptxas-") as folder:
        assemblers = unpack(arguments.wheels, Path(folder))
        work = [
            (architecture, variant, spec)
            for architecture in architectures
            for variant in VARIANTS
            for spec in specify(problem(TOKENS), architecture, variant)
        ]
        rows: list[dict[str, Any]] = []
        done: dict[str, dict[str, Any]] = {}
        for architecture, variant, spec in track(work, "assemble"):
            ptx = compile_cached(spec, architecture, "fp16").ptx
            if ptx not in done:
                done[ptx] = compare(ptx, assemblers, KERNEL_TARGETS[architecture.name].ptx)
            names = {"arch": architecture.name, "operator": spec.operator, "variant": variant}
            rows.append({**names, "tokens": TOKENS, **done[ptx]})
        releases = {name: release(path) for name, path in assemblers.items()}
    differing = [row for row in rows if row["differences"]]
    for row in differing:
        print(f"{row['operator']} {row['variant']} for {row['arch']}: {'; '.join(row['differences'])}")
    print(f"{len(rows)} kernels, {len(differing)} of which an assembler makes otherwise")
    if output is None:
        print(f"not written, as this is a part of {RESULTS.name}; give --output to keep it")
    else:
        kind = {"kind": "assemblers", "triton": triton_version(), "releases": releases}
        write_json(output, {**kind, "kernels": rows})
        print(f"written to {output}")
    if differing:
        sys.exit(1)


def unpack(wheels: Path, folder: Path) -> dict[str, Path]:
    """Take the assembler out of each wheel; by its release of CUDA, as 12.6.

    Raises:
        UsageError: A release that is asked for is missing.
    """
    found = {}
    for wheel in sorted(wheels.glob("nvidia_cuda_nvcc*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            members = [name for name in archive.namelist() if name.endswith("/bin/ptxas")]
            if members:
                path = Path(archive.extract(members[0], folder / wheel.stem))
                path.chmod(0o755)
                found[".".join(release(path).split(".")[:2])] = path
    absent = [name for name in READS if name not in found]
    if absent:
        raise UsageError(
            f"expected the wheels of CUDA {', '.join(READS)} in {wheels}, found none of {', '.join(absent)}; "
            "the first lines of benchmarks/engines/assemblers.py download them"
        )
    return {name: found[name] for name in READS}


def compare(ptx: str, assemblers: Mapping[str, Path], version: tuple[int, int]) -> dict[str, Any]:
    """Assemble one kernel by every assembler that reads its PTX, and say where one differs from Triton's."""
    own = figures(assemble(ptx, own_assembler(ptx)))
    others = {
        name: figures(assemble(ptx, path)) for name, path in assemblers.items() if READS[name] >= version
    }
    return {
        "triton": own,
        "others": others,
        "differences": [text for name, other in others.items() for text in differences(name, own, other)],
    }


def figures(assembled: Assembled) -> dict[str, int]:
    """The counted instructions, registers and spills of one kernel."""
    running = [each for each in assembled.code.instructions if not each.idle]
    allocates = any(each.family == "UTCHMMA" for each in running)
    families = count(each for each in running if not (allocates and _is_allocation(each)))
    return {
        **{family: families[family] for family in COUNTED},
        "registers": assembled.resources.registers,
        "spill_bytes": assembled.resources.spill_bytes,
    }


def _is_allocation(each: Instruction) -> bool:
    """Whether all lanes of a store or load name one address, held in a uniform register alone."""
    address = next((part for part in each.arguments if part.startswith("[")), "")
    return each.family in ("STS", "LDS") and address.startswith("[UR")


def differences(name: str, own: Mapping[str, int], other: Mapping[str, int]) -> list[str]:
    """Say what an assembler makes otherwise: a count, or spills where Triton's has none."""
    found = [
        f"ptxas {name} has {other[family]} {family}, Triton's {own[family]}"
        for family in COUNTED
        if other[family] != own[family]
    ]
    if other["spill_bytes"] and not own["spill_bytes"]:
        found.append(f"ptxas {name} spills {other['spill_bytes']} bytes")
    return found


if __name__ == "__main__":
    try:
        main()
    except DanetError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)

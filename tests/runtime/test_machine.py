"""What the machine says of itself."""

from __future__ import annotations

from danet_runtime import machine


def test_free_memory_is_what_the_kernel_says_that_programs_may_still_take(monkeypatch, tmp_path):
    file = tmp_path / "meminfo"
    file.write_text("MemTotal:     1000 kB\nMemFree:        10 kB\nMemAvailable:  400 kB\n")
    monkeypatch.setattr(machine, "_MEMORY_INFO", file)
    assert (machine.free_memory_bytes(), machine.memory_bytes()) == (400 << 10, 1000 << 10)
    file.unlink()
    assert machine.free_memory_bytes() is None

"""Writing scenes as a dataset in the layout of Cityscapes, with a film of a drive.

    OUT/leftImg8bit/{train,val}/synthetic/synthetic_000000_000019_leftImg8bit.png
    OUT/gtFine/{train,val}/synthetic/synthetic_000000_000019_gtFine_labelIds.png
    OUT/video/street.mp4, OUT/video/labelIds/000000.png ...
    OUT/synthetic.json: the arguments; they mark the folder as synthetic

The same arguments give the same files, whatever the number of workers.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from multiprocessing import resource_tracker
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from danet_train.child_processes import heed_the_parent_alone, holding_signals
from danet_train.classes import CITYSCAPES
from danet_train.errors import DataError, UsageError
from danet_train.files.atomic import new_folder
from danet_train.files.replaceable import check_replaceable, write_marker
from danet_train.synthetic.placement import build_world
from danet_train.synthetic.render import render

VIDEO_FPS = 25
_SPEED_MPS = 8.0
_SIGHT_M = 95.0
_STREAMS = {"train": 0, "val": 1, "video": 2}
_CITY = "synthetic"
_MARKER = "synthetic.json"
_FORMAT = "danet-synthetic"
_CONTENT = frozenset({"leftImg8bit", "gtFine", "video", _MARKER})

Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Scenes:
    """The scenes to draw; the same values give the same files.

    Attributes:
        train: Number of scenes in the training split.
        val: Number of scenes in the validation split; none is also in training.
        video_frames: Number of frames of one drive at 25 per second, 0 for no film.
        size_hw: Size of every picture.
        seed: Seed of all random choices.
    """

    train: int
    val: int
    video_frames: int
    size_hw: tuple[int, int]
    seed: int


def synthesize_dataset(
    out: Path,
    scenes: Scenes,
    *,
    workers: int = 2,
    overwrite: bool = False,
    advance: Callable[[], None] = lambda: None,
) -> None:
    """Write the dataset to the new folder ``out``, whole or not at all.

    Args:
        out: The folder to make; it must not exist unless ``overwrite`` is true.
        scenes: The scenes to draw.
        workers: Number of processes that render.
        overwrite: Whether an empty folder or an earlier dataset of this function may be replaced.
        advance: Called after each picture.

    Raises:
        UsageError: ``out`` exists and may not be replaced, nothing is asked for, or a size is too small.
    """
    size_hw, seed = scenes.size_hw, scenes.seed
    counts = {"train": scenes.train, "val": scenes.val}
    if min(*counts.values(), scenes.video_frames) < 0 or sum(counts.values()) + scenes.video_frames == 0:
        raise UsageError("ask for at least one picture: --train, --val or --video-frames above 0, none below")
    if min(size_hw) < 32 or max(size_hw) > 4096:
        raise UsageError(f"a picture must be 32 to 4096 pixels high and wide, not {size_hw[0]}x{size_hw[1]}")
    if seed < 0:
        raise UsageError(f"the seed must be 0 or above, not {seed}")
    if overwrite and out.is_dir():
        check_replaceable(out, _MARKER, _FORMAT, _CONTENT)
    with new_folder(out, overwrite=overwrite) as folder:
        jobs = [(split, index) for split, count in counts.items() for index in range(count)]
        for split in ("train", "val"):
            for kind in ("leftImg8bit", "gtFine"):
                (folder / kind / split / _CITY).mkdir(parents=True)
        # closed before the folder is removed, or the workers would go on writing to it
        with closing(_each(functools.partial(_write_scene, folder, size_hw, seed), jobs, workers)) as drawn:
            for _ in drawn:
                advance()
        if scenes.video_frames:
            _write_video(folder / "video", scenes.video_frames, size_hw, seed, advance)
        arguments = {
            "size_hw": list(size_hw),
            "seed": seed,
            **counts,
            "video_frames": scenes.video_frames,
        }
        write_marker(folder / _MARKER, _FORMAT, arguments)


def scene(split: str, index: int, size_hw: tuple[int, int], seed: int) -> tuple[Picture, Picture]:
    """Draw scene ``index`` of a split: picture (H, W, 3) uint8 BGR and train ids (H, W) uint8."""
    rng = np.random.default_rng([seed, _STREAMS[split], index])
    return render(build_world(rng), size_hw, rng)


def drive(frames: int, size_hw: tuple[int, int], seed: int) -> Iterator[tuple[Picture, Picture]]:
    """Yield the frames of a drive down one street at 8 m/s, each like the result of :func:`scene`."""
    rng = np.random.default_rng([seed, _STREAMS["video"]])
    world = build_world(rng, frames / VIDEO_FPS * _SPEED_MPS + _SIGHT_M, _SPEED_MPS)
    for frame in range(frames):
        time_s = frame / VIDEO_FPS
        yield render(world, size_hw, rng, z_m=time_s * _SPEED_MPS, time_s=time_s)


def _each(
    work: Callable[[tuple[str, int]], None], jobs: list[tuple[str, int]], workers: int
) -> Generator[None]:
    if workers < 2 or len(jobs) < 16:  # starting a process costs as much as a few scenes
        yield from map(work, jobs)
        return
    with holding_signals():  # the tracker of semaphores ignores SIGINT and SIGTERM itself, but not SIGHUP
        resource_tracker.ensure_running()  # its start lets those two through again
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)
    try:
        with holding_signals():  # the processes start as the jobs come in, which is all at once
            results = pool.map(work, jobs)
        yield from results  # one job a time: an interruption waits for those that run
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    """Leave signals to the parent, and end when it does."""
    heed_the_parent_alone()
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _write_scene(folder: Path, size_hw: tuple[int, int], seed: int, job: tuple[str, int]) -> None:
    split, index = job
    picture, train_ids = scene(split, index, size_hw, seed)
    stem = f"{_CITY}_{index:06d}_000019"
    _write_png(folder / "leftImg8bit" / split / _CITY / f"{stem}_leftImg8bit.png", picture)
    _write_png(
        folder / "gtFine" / split / _CITY / f"{stem}_gtFine_labelIds.png", CITYSCAPES.encode(train_ids)
    )


def _write_video(
    folder: Path, frames: int, size_hw: tuple[int, int], seed: int, advance: Callable[[], None]
) -> None:
    labels = folder / "labelIds"
    labels.mkdir(parents=True)
    codec = cv2.VideoWriter.fourcc(*"mp4v")
    # OpenCV ends the process on a name that is no Unicode, which the folder's may be.
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        beside = f"/proc/self/fd/{opened}" if Path("/proc/self/fd").is_dir() else folder
        writer = cv2.VideoWriter(f"{beside}/street.mp4", codec, VIDEO_FPS, (size_hw[1], size_hw[0]))
    finally:
        os.close(opened)
    if not writer.isOpened():
        raise DataError(
            "OpenCV cannot write MP4 here; install opencv-python-headless, or pass --video-frames 0"
        )
    try:
        for index, (picture, train_ids) in enumerate(drive(frames, size_hw, seed)):
            writer.write(picture)
            _write_png(labels / f"{index:06d}.png", CITYSCAPES.encode(train_ids))
            advance()
    finally:
        writer.release()


def _write_png(path: Path, image: Picture) -> None:
    done, data = cv2.imencode(".png", image)
    if not done:
        raise DataError(f"OpenCV cannot encode {path.name} as PNG")
    path.write_bytes(data.tobytes())

from pathlib import Path

import pytest
import torch
from made_once import made_once

REAL_DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)  # the models are tiny, and other tests may run beside


@pytest.fixture
def real_data():
    if not REAL_DATA.is_dir():
        pytest.skip(f"real driving data is not at {REAL_DATA}")
    return REAL_DATA


@pytest.fixture(scope="session")
def synthetic_root(tmp_path_factory):
    from danet_train.synthetic.dataset import Scenes, synthesize_dataset

    scenes = Scenes(train=6, val=3, video_frames=4, size_hw=(64, 128), seed=3)
    return made_once(
        tmp_path_factory, "scenes", lambda folder: synthesize_dataset(folder / "data", scenes, workers=1)
    ).joinpath("data")


@pytest.fixture
def checkpoint(tmp_path):
    """The checkpoint of a tiny network that was not trained, for the classes of :mod:`labelled_folders`."""
    from labelled_folders import CLASSES, plain_folder

    from danet_train.checkpoint import save_checkpoint
    from danet_train.classes import read_classes
    from danet_train.model.config import DANetConfig
    from danet_train.model.danet import DANet

    torch.manual_seed(0)
    config = DANetConfig(
        num_classes=len(CLASSES),
        depth=18,
        base_channels=4,
        stem_channels=4,
        head_channels=8,
        attention_channels=4,
    )
    table = read_classes(plain_folder(tmp_path / "table", ()) / "classes.yaml")
    save_checkpoint(tmp_path / "c.pt", DANet(config).eval(), classes=table)
    return tmp_path / "c.pt"

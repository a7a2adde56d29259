"""Images to calibrate on, drawn here."""

import cv2
import pytest

from danet_export.frames import pattern


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory):
    """Eight different pictures of 64x128."""
    folder = tmp_path_factory.mktemp("images")
    for seed in range(8):
        cv2.imwrite(str(folder / f"{seed:02}.png"), pattern((64, 128), seed))
    return folder

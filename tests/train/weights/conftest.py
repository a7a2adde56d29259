import collections

import mmsegmentation_files as files
import pytest
import torch

from danet_train import build_model


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return build_model(18, **files.SMALL, stem_channels=4, num_classes=2)


@pytest.fixture
def state(network):
    return collections.OrderedDict(network.state_dict())

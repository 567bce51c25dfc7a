"""What a child needs, imported in the process that children are forked from.

Importing this takes seconds, so nobody else does.
"""

from __future__ import annotations

import os

from setproctitle import setproctitle

from app.settings import Settings
from workers.slots import Slots
from workers.training.run import warm_up

setproctitle("workers.training.imported")
# A forked process cannot use CUDA that its parent has asked for devices:
# https://docs.pytorch.org/docs/stable/notes/cuda.html, PYTORCH_NVML_BASED_CUDA_CHECK.
os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"
if Slots(Settings()).device == "cpu":
    warm_up()

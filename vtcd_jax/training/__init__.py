"""Training: tasks, one loop for all of them, optimisers, checkpoints, resuming, devices and augmentation.

``fit(task, settings, folder)`` trains; ``Task`` defines what, ``TrainSettings`` how. ``augment`` changes clips,
``Epochs`` orders finite sets of them, ``losses`` and ``auxiliary`` hold functions for several tasks.
"""

from . import augment, auxiliary, losses
from .checkpoints import read_checkpoint
from .feeding import Workers
from .loop import Diverged, Progress, Trained, fit
from .optimizer import learning_rate
from .order import Epochs, epoch_indices, steps_per_epoch
from .settings import Optimizer, Rate, TrainSettings
from .step import TrainState, initial_state
from .task import Batch, Task

__all__ = [
    "Batch", "Diverged", "Epochs", "Optimizer", "Progress", "Rate", "Task", "TrainSettings", "TrainState", "Trained",
    "Workers", "augment", "auxiliary", "epoch_indices", "fit", "initial_state", "learning_rate", "losses",
    "read_checkpoint", "steps_per_epoch",
]  # fmt: skip

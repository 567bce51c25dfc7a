"""One training step of a population: from a batch's rows to new weights."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from models.members import Member
from models.networks.population import Network
from models.objectives.losses import RowLoss
from models.training.dropout import PopulationNoise
from models.training.gradients import gradients_of
from models.training.optimizers import PopulationOptimizer
from models.training.recorded import Recorded


class Step:
    """Everything that differs from batch to batch is in tensors that stay in place. So a GPU can
    record `differentiate` once, and `move` once for each set of members that move together.

    x : (F, B, inputs) one batch per fold, shared by its members
    y : (K, B) standardised targets
    share : (K, B) weight of a row in its member's mean loss: 1 / rows, or 0 for padding
    losses : (K,) the mean loss of each member, dropout included
    """

    def __init__(
        self,
        network: Network,
        members: Sequence[Member],
        loss: RowLoss,
        fold_of: Tensor,
        batch_size: int,
        inputs: int,
    ) -> None:
        """`fold_of` (K,) is the index of each member's fold."""
        like = next(network.parameters())
        folds = int(fold_of.max()) + 1
        self.x = like.new_empty(folds, batch_size, inputs)
        self.y = like.new_empty(len(members), batch_size)
        self.share = like.new_empty(len(members), batch_size)
        self.losses = like.new_empty(len(members))
        self.optimizer = PopulationOptimizer(network, [member.spec for member in members])
        self.noise = PopulationNoise(members, like.dtype, like.device)
        self.recorded = Recorded(like.device)
        self._gradients = gradients_of(network, loss, fold_of, members[0].spec.precision)

    def fill(self, y: Tensor, share: Tensor, rates: Sequence[float], idle: Sequence[int]) -> None:
        """Set all of a batch except `x`, which is written in place. `rates`: the members' learning
        rates; `idle`: members without rows in this batch."""
        self.y.copy_(y)
        self.share.copy_(share)
        self.optimizer.prepare(rates, idle)

    def differentiate(self) -> None:
        """Compute the losses and the gradients."""
        self.recorded.run("gradients", self._differentiate)

    def move(self) -> None:
        """Take the optimiser's step."""
        self.recorded.run(self.optimizer.moving, self.optimizer.step)

    def _differentiate(self) -> None:
        self.losses.copy_(self._gradients.fill(self.x, self.y, self.share, self.noise))

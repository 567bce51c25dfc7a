"""The architectures by their names in a spec."""

from __future__ import annotations

from collections.abc import Sequence

from models.members import Member
from models.networks.boosted_trees import BoostedTrees
from models.networks.fitted import FittedNetwork
from models.networks.initialization import initialize
from models.networks.kernel import Kernel
from models.networks.linear import LinearNetwork
from models.networks.mlp import Mlp
from models.networks.population import Network, Shape
from models.networks.realmlp import RealMlp
from models.networks.resnet import ResNet
from models.networks.ridge import Ridge
from models.networks.tabm import Tabm

ARCHITECTURES: dict[str, type[Network]] = {
    "linear": LinearNetwork,
    "perceptron": LinearNetwork,
    "mlp": Mlp,
    "resnet": ResNet,
    "realmlp": RealMlp,
    "tabm": Tabm,
    "boosted_trees": BoostedTrees,
    "kernel": Kernel,
    "ridge": Ridge,
}


def build_network(members: Sequence[Member], shape: Shape) -> Network:
    """A population of the members' architecture, initialised by each member's own spec, or zero
    until it is fitted."""
    spec = members[0].spec
    network = ARCHITECTURES[spec.architecture.type](len(members), shape, spec)
    if not isinstance(network, FittedNetwork):
        initialize(network, members)
    return network

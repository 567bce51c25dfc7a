"""The architectures, by the name that a spec calls them."""

from __future__ import annotations

from models.networks.initialization import initialize
from models.networks.linear import LinearNetwork
from models.networks.mlp import Mlp
from models.networks.population import Network
from models.spec import MlpArchitecture, TrainingSpec

ARCHITECTURES: dict[str, type[Network]] = {"linear": LinearNetwork, "mlp": Mlp}


def build_network(spec: TrainingSpec, inputs: int, seeds: list[int]) -> Network:
    """A population of the spec's architecture with one initialised member a seed."""
    architecture = spec.architecture
    network = ARCHITECTURES[architecture.type](len(seeds), inputs, 1, spec)
    activation = (
        architecture.activation if isinstance(architecture, MlpArchitecture) else "identity"
    )
    initialize(network, architecture.initialization, activation, seeds)
    return network

"""Testing what is built on perdure: a whole service and its provider in memory, on trio's clock; see `docs/testing.md`.

    async with perdure.testing.simulation(batch_s=80_000) as simulation, simulation.open() as service: ...

`faults` is what can be told to go wrong. Importing this needs no pytest; its fixtures `perdure_simulation` and
`perdure_simulator` are there wherever both are installed.
"""

from __future__ import annotations

from perdure.adapters.simulator import faults as faults
from perdure.adapters.simulator.account import Account as Account
from perdure.adapters.simulator.account import Purchase as Purchase
from perdure.adapters.simulator.holds import Held as Held
from perdure.adapters.simulator.traffic import Seen as Seen
from perdure.adapters.testing.loopback import LoopbackSimulator as LoopbackSimulator
from perdure.adapters.testing.loopback import loopback_simulator as loopback_simulator
from perdure.adapters.testing.simulation import Simulation as Simulation
from perdure.adapters.testing.simulation import simulation as simulation

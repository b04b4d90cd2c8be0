"""What can be wrong between a gateway and its clients, on purpose: a catalogue of faults to switch on and off.

    handle = gateway.faults.add("delay", seconds=0.5)
    gateway.faults.remove(handle)

Byte-level faults stand between a connection's transport and the gateway, which knows nothing of them; toxiproxy's
toxics are the model. `FAULTS` is the catalogue; `hooks` is what the device SDKs' own test suites ask for.
"""

from gateway.faults.catalogue import FAULTS as FAULTS
from gateway.faults.fault import Fault as Fault
from gateway.faults.fault import FaultError as FaultError
from gateway.faults.registry import Faults as Faults
from gateway.faults.registry import Switched as Switched

__all__ = ["FAULTS", "Fault", "FaultError", "Faults", "Switched"]

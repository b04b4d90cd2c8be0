"""`leafgate check`: what `iotedge check` verifies about certificates and connectivity, and what it leaves out.

    from scenarios.check.registry import run
    from scenarios.check.sources import Inputs, find

    for section, outcomes in run(find(Inputs(address="localhost:8883", trust=Path("root.pem")))): ...

One check is one function that yields what it finds: nothing means OK. docs/check.md lists them. Nothing is imported
here, so that the command line answers `--help` at once.
"""

"""Another Edge Hub speaks for an identity below it: whether it may, and whether it is the one it says.

Rule: first the way from the identity up to here must lead over the actor, then the actor's own $edgeHub must have good
credentials; a device's key counts for nobody but itself here.
Source: DeviceScopeAuthenticator.cs of Azure/iotedge (AuthenticateWithAuthChain).
"""

from __future__ import annotations

from dataclasses import replace

from gateway.hub import authchain
from gateway.hub.identity import Identity
from gateway.hub.rules import Proof
from gateway.hub.scope import ScopeCache


def is_on_behalf(identity: Identity) -> bool:
    """Whether somebody else speaks for this identity."""
    return authchain.actor(identity.auth_chain) is not None


def actor_proof(proof: Proof) -> Proof:
    """The same credentials as those of the Edge Hub that shows them."""
    acting = authchain.actor(proof.identity.auth_chain)
    assert acting is not None
    identity = replace(proof.identity, device_id=acting, module_id=authchain.EDGE_HUB, auth_chain=None)
    return proof._replace(identity=identity, acting=True)


def to_look_up(proof: Proof) -> list[str]:
    """Whom the cloud is asked about when nothing leads to the identity yet: everybody on the way that is claimed."""
    names = authchain.ids(proof.identity.auth_chain)[: authchain.LONGEST]
    device = proof.identity.device_id
    return [device, *names] if device not in names else names[::-1]


def objection(proof: Proof, scope: ScopeCache) -> str:
    """Why the actor may not speak for the identity, as the scope is known now; empty when it may."""
    acting, target = authchain.actor(proof.identity.auth_chain), authchain.target(proof.identity.auth_chain)
    assert acting is not None
    assert target is not None
    chain = scope.auth_chain(target)
    if chain is None:
        return f"{target} is not in the scope of this gateway, or a gateway above it is disabled"
    if not authchain.permits(chain, acting, target):
        return f"{acting} is not authorized to act OnBehalfOf {target}, auth-chain: {chain}"
    return ""

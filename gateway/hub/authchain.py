"""Who speaks for whom between nested gateways: the auth-chain.

Rules: a chain is client ids separated by `;`, from the identity that is spoken for, over the edge devices above it, to
the one that speaks (the actor), which does so with the credentials of its own $edgeHub. What a client says is only what
it wants: whether the actor may is looked up in the device scope, where the same chain goes on up to this gateway.
Sources: AuthChainHelpers.cs and ServiceIdentityTree.cs of Azure/iotedge.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from gateway.hub.service_identity import ServiceIdentity

EDGE_HUB = "$edgeHub"
_MOST_NESTED = 5  # edge devices, one below the other (MaxNestingDepth)
LONGEST = _MOST_NESTED + 2  # ids: a module of a leaf, the leaf, edge devices

Get = Callable[[str], ServiceIdentity | None]


def ids(chain: str | None) -> list[str]:
    """The client ids of a chain, the identity that is spoken for first."""
    return [name for name in (chain or "").split(";") if name]


def actor(chain: str | None) -> str | None:
    """The device id of who speaks for another; None when nobody does (a chain of one id has no actor)."""
    names = ids(chain)
    return names[-1] if len(names) > 1 else None


def target(chain: str | None) -> str | None:
    """The client id of who is spoken for."""
    return next(iter(ids(chain)), None)


def permits(chain: str, actor_id: str, target_id: str) -> bool:
    """Whether a chain from the scope lets the actor speak for the target (ValidateAuthChain)."""
    names = ids(chain)
    return names[:1] == [target_id] and actor_id in names


def edge_hub(device_id: str) -> str:
    """The client id of the Edge Hub of an edge device."""
    return f"{device_id}/{EDGE_HUB}"


class Tree:
    """The identities of a scope as a tree below the edge device `owner`; `get` finds them by client id."""

    def __init__(self, owner: str, get: Get) -> None:
        self._owner = owner
        self._get = get
        self._by_scope: dict[str, str] = {}  # device scope -> the edge device whose own it is

    def learn(self, identity: ServiceIdentity) -> None:
        """An identity is in the scope, or is another now."""
        if identity.edge and identity.scope:
            self._by_scope[identity.scope] = identity.client_id

    def forget(self, identity: ServiceIdentity) -> None:
        """It is in the scope no longer."""
        if identity.edge and identity.scope:
            self._by_scope.pop(identity.scope, None)

    def chain(self, client_id: str) -> str | None:
        """The way from an identity up to the owner.

        None when it does not lead there, is longer than five edge devices, or leads over one that is disabled.
        """
        if client_id == self._owner:
            return client_id
        if client_id == edge_hub(self._owner):
            return f"{client_id};{self._owner}"
        names: list[str] = []
        edges = 0
        for identity in self._upwards(client_id):
            names.append(identity.client_id)
            edges += identity.edge
            if edges > _MOST_NESTED or (identity.edge and not identity.enabled):
                return None
            if identity.client_id == self._owner:
                return ";".join(names)
        return None

    def children(self, device_id: str, known: Iterable[ServiceIdentity]) -> list[ServiceIdentity]:
        """What hangs directly below an edge device: its modules, devices, and the modules of those that are leaves."""
        found = []
        for identity in known:
            device = identity if identity.module_id is None else self._get(identity.device_id)
            if device is None or identity.client_id == device_id:
                continue
            below = self._above(device)
            own = identity.module_id is not None and identity.device_id == device_id
            leaf = not device.edge or identity.module_id is None
            if own or (leaf and below is not None and below.client_id == device_id):
                found.append(identity)
        return found

    def _upwards(self, client_id: str) -> Iterator[ServiceIdentity]:
        identity = self._get(client_id)
        seen: set[str] = set()  # whoever is its own ancestor belongs to nobody
        while identity is not None and identity.client_id not in seen:
            seen.add(identity.client_id)
            yield identity
            identity = self._above(identity)

    def _above(self, identity: ServiceIdentity) -> ServiceIdentity | None:
        if identity.module_id is not None:
            return self._get(identity.device_id)
        own = () if identity.edge or identity.scope is None else (identity.scope,)
        for scope in (*identity.parent_scopes, *own):
            if scope in self._by_scope:
                return self._get(self._by_scope[scope])
        return None

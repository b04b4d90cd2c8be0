"""Which model (IoT Plug and Play) a device connected with.

Source: ModelId in the user name of a CONNECT and in the twin ("IoT Plug and Play conventions"); Edge Hub keeps it with
what it knows of a device and tells IoT Hub when it connects in the device's name (MetadataStore.cs of Azure/iotedge).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.upstream.keeping import Keep, keep_nothing

_KIND = "model"


class Models:
    """The model ids by client id; who connects without one has none any more."""

    def __init__(self, keep: Keep = keep_nothing) -> None:
        self._keep = keep
        self._models: dict[str, str] = {}

    def load(self, documents: Mapping[str, Mapping[str, Any]]) -> None:
        """Take up what was kept, by client id."""
        self._models = {client_id: document["modelId"] for client_id, document in documents.items()}

    def get(self, client_id: str) -> str:
        """The model id, empty when there is none."""
        return self._models.get(client_id, "")

    def learn(self, client_id: str, model_id: str | None) -> None:
        """A client is connected, with a model or without."""
        if (model_id or "") == self.get(client_id):
            return
        if model_id:
            self._models[client_id] = model_id
        else:
            del self._models[client_id]
        self._keep(_KIND, client_id, {"modelId": model_id} if model_id else None)

    def forget(self, client_id: str) -> None:
        """A device or module is deleted."""
        self.learn(client_id, None)

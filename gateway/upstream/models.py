"""Which model (IoT Plug and Play) a device connected with.

Rule: nobody who connects waits for a disk, or hears of one that is full: what has changed is kept by `flush`.
Source: ModelId in the user name of a CONNECT and in the twin ("IoT Plug and Play conventions"); Edge Hub keeps it with
what it knows of a device and tells IoT Hub when it connects in the device's name (MetadataStore.cs of Azure/iotedge).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.upstream.keeping import Keep, keep_nothing

MODEL = "model"


class Models:
    """The model ids by client id; who connects without one has none any more."""

    def __init__(self, keep: Keep = keep_nothing) -> None:
        self._keep = keep
        self._models: dict[str, str] = {}
        self._unsaved: dict[str, None] = {}

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
        self._unsaved[client_id] = None

    def forget(self, client_id: str) -> None:
        """A device or module is deleted, with what was kept for it."""
        self._models.pop(client_id, None)
        self._unsaved.pop(client_id, None)

    def flush(self) -> None:
        """Keep what has changed. Raises StoreError; then it is kept the next time."""
        for client_id in tuple(self._unsaved):
            model_id = self._models.get(client_id)
            self._keep(MODEL, client_id, {"modelId": model_id} if model_id else None)
            del self._unsaved[client_id]

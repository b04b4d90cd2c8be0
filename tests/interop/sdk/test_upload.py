"""File upload with the real Python SDK, which asks the gateway; the Node.js SDK goes past it to the hub."""

import pytest

from tests.interop.sdk.marks import MARKS
from tests.interop.sdk.process import SdkError

pytestmark = MARKS


@pytest.mark.parametrize(
    ("request_", "facts"), [("upload", {"blob": "photo.jpg"}), ("uploaded", {"correlation": "c"})], ids=["ask", "tell"]
)
async def test_file_upload_is_not_available(room, sdks, caplog, request_, facts):
    """Edge Hub has no such path: the SDK says 404, the gateway's log says what was wanted and that it cannot be had."""
    sdk = await sdks.get("python")
    device = await room.open(sdk)
    with pytest.raises(SdkError) as refused:
        await getattr(device, request_)(**facts)
    not_found = ("ServiceError", "HTTP operation returned: 404 Error('Not found')")
    assert refused.value.chain == (("ClientError", "Unexpected failure"), not_found)
    assert "File upload is not available through a gateway: POST /devices/dev1/files" in caplog.text
    await device.send(body="still connected")
    assert (await room.message()).body == b"still connected"
    await sdk.reset()

"""The lines for the service SDKs that `leafgate up` prints, pasted into a shell as they stand."""

import os

import pytest

from tests.interop.sdk.process import HERE as DEVICE_SDKS
from tests.interop.sdk.test_up_lines import pasted
from tests.interop.service_sdk.conftest import node_modules, python_interpreter
from tests.interop.test_up import command_line, up

pytestmark = pytest.mark.interop


def test_printed_python_line_lists_devices(tmp_path):
    """The line lists the gateway's devices; without the root it ends with the certificate."""
    with up(tmp_path) as (_, guide):
        line = command_line(guide, "REQUESTS_CA_BUNDLE=")
        environment = {"PATH": f"{python_interpreter().parent}:{os.environ['PATH']}"}
        assert pasted(line, **environment) == (0, "")
        code, said = pasted(line.partition(" ")[2], **environment)
    assert code == 1
    assert "CERTIFICATE_VERIFY_FAILED" in said


def test_printed_node_line_lists_devices(tmp_path):
    """The same for Node.js, whose connection to port 443 is sent to the free port below the SDK."""
    (tmp_path / "route.js").write_text(
        f"require({str(DEVICE_SDKS / 'redirect.js')!r}); "
        "globalThis.redirect.add('localhost', 443, ['127.0.0.1', Number(process.env.PORT)])"
    )
    with up(tmp_path) as (facts, guide):
        line = command_line(guide, "NODE_EXTRA_CA_CERTS=")
        environment = {
            "NODE_PATH": node_modules(),
            "NODE_OPTIONS": f"--require {tmp_path / 'route.js'}",
            "PORT": facts["hub"]["https_port"],
        }
        assert pasted(line, **environment) == (0, "")
        code, said = pasted(line.partition(" ")[2], **environment)
    assert code == 1
    assert "unable to verify the first certificate" in said

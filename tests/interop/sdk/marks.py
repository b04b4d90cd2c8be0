"""What every module of these tests is marked with: real programs, and one event loop for the SDKs' processes."""

import pytest

MARKS = [pytest.mark.interop, pytest.mark.asyncio(loop_scope="session")]

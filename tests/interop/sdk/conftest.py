"""The SDKs' processes, shared by all tests of a run, and gateways, one for each test that wants one."""

from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from certs import Authority
from gateway import Gateway
from tests.interop.sdk import environments
from tests.interop.sdk.process import SdkProcess
from tests.interop.sdk.proxy import Proxy
from tests.interop.sdk.room import SDKS, TRANSPORTS, Room


class Pool:
    """The running SDK processes; each is started when it is first asked for."""

    def __init__(self):
        self._running = {}

    async def get(self, name):
        """The process with that SDK."""
        if name not in self._running:
            self._running[name] = _process(name)
            await self._running[name].start()
        return self._running[name]

    async def stop(self):
        """End all of them."""
        for process in self._running.values():
            await process.stop()


def _process(name, **environment):
    if name == "python":
        return SdkProcess.python(environments.python_environment(), **environment)
    if reason := environments.missing_programs():
        pytest.skip(reason)
    return SdkProcess.node(environments.node_environment(), **environment)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def sdks():
    """The processes of this run."""
    pool = Pool()
    yield pool
    await pool.stop()


@pytest_asyncio.fixture(loop_scope="session", params=SDKS)
async def sdk(request, sdks):
    """Each SDK in turn; its clients end with the test."""
    process = await sdks.get(request.param)
    yield process
    await process.reset()


@pytest_asyncio.fixture(loop_scope="session")
async def both(sdks):
    """Both SDKs at once."""
    processes = [await sdks.get(name) for name in SDKS]
    yield processes
    for process in processes:
        await process.reset()


@pytest_asyncio.fixture(loop_scope="session")
async def fresh():
    """Starts further SDK processes with other environment variables: `await fresh("python", SSL_CERT_FILE=...)`."""
    async with AsyncExitStack() as stack:

        async def start(name, **environment):
            process = _process(name, **environment)
            await process.start()
            stack.push_async_callback(process.stop)
            return process

        yield start


@pytest.fixture(params=TRANSPORTS)
def transport(request):
    """MQTT on 8883, and MQTT over WebSocket on 443."""
    return request.param


@pytest.fixture(scope="session")
def authority():
    """Who issued the chain that gateways serve unless a test has its own."""
    return Authority(hostname="localhost")


@pytest_asyncio.fixture(loop_scope="session")
async def start(authority):
    """Starts gateways as the test wants them: `await start(tls=["1.3"])`; all end with the test."""
    async with AsyncExitStack() as stack:

        async def start(**options):
            options.setdefault("chain", authority.chain())
            gateway = await stack.enter_async_context(Gateway(**options))
            return Room(gateway)

        yield start


@pytest_asyncio.fixture(loop_scope="session")
async def room(start):
    """A gateway with everything at its default."""
    return await start()


@pytest_asyncio.fixture(loop_scope="session")
async def proxy():
    """A running CONNECT proxy."""
    proxy = Proxy()
    await proxy.start()
    yield proxy
    await proxy.stop()

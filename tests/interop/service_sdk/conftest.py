"""The service SDKs' processes, shared by all tests of a run, and a gateway with the service API for each test."""

import json
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from gateway import Gateway
from tests.interop.sdk import environments
from tests.interop.sdk.conftest import authority, sdks  # noqa: F401 - fixtures
from tests.interop.sdk.process import HERE as DEVICE_SDKS
from tests.interop.sdk.process import SdkProcess
from tests.interop.sdk.room import Room

HERE = Path(__file__).parent
#: azure-iot-hub 2.7.0 imports six and requires it nowhere
PYTHON_PINS = ("azure-iot-hub==2.7.0", "six==1.17.0")
NODE_PINS = {"azure-iothub": "1.16.6"}


class RefusedError(Exception):
    """The hub has refused something: the SDK's own kind of error, the status, and what the body says."""

    def __init__(self, kind, body, status=None):
        self.kind, self.status, self.body = kind, status, body
        super().__init__(f"{kind} {status}: {body}")

    @property
    def code(self):
        """The name that the body begins with."""
        return json.loads(self.body)["Message"].removeprefix("ErrorCode:").partition(";")[0]


class BackEnd:
    """One SDK as a back end of one gateway: the driver's commands are its methods."""

    def __init__(self, process, gateway):
        self.process, self.gateway, self.name = process, gateway, process.name

    async def connect(self, connection_string=None):
        """Use a connection string, by default that of iothubowner."""
        if connection_string is None:
            # The Node.js SDK takes no port in HostName, and connects to port 443.
            connection_string = self.gateway.service_connection_string(named=self.name == "node")
        if self.name == "node":
            for host in ("localhost", self.gateway.hub_hostname):
                await self.route(host=host, port=443, to=[self.gateway.bind, self.gateway.hub_port])
        await self.__getattr__("connect")(connection_string=connection_string)
        return self

    def __getattr__(self, do):
        """Return the operation of that name."""
        if do.startswith("_"):
            raise AttributeError(do)

        async def call(**facts):
            answer = await self.process.call(do, **facts)
            if "refused" in answer:
                raise RefusedError(**answer["refused"])
            return answer.get("value")

        return call


def _install_python(folder):
    environments.run(sys.executable, "-m", "venv", folder)
    pip = (folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    environments.run(*pip, *PYTHON_PINS)


def _install_node(folder):
    (folder / "package.json").write_text(json.dumps({"private": True, "dependencies": NODE_PINS}))
    quiet = ("--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts", "--loglevel=error")
    environments.run("npm", "install", *quiet, "--prefix", folder)


def python_interpreter():
    """The interpreter of a virtual environment with the Python SDK."""
    pins = (*PYTHON_PINS, sys.version, sys.executable)
    folder = environments.made(environments.cache(), "service-python", pins, _install_python)
    return folder / "bin" / "python"


def node_modules():
    """A node_modules folder with the Node.js SDK; skips without Node.js."""
    if reason := environments.missing_programs():
        pytest.skip(reason)
    pins = (json.dumps(NODE_PINS),)
    return environments.made(environments.cache(), "service-node", pins, _install_node) / "node_modules"


def _process(name, root):
    """The SDK in its environment; the root is all that it trusts besides what it always does."""
    if name == "python":
        return SdkProcess(name, (python_interpreter(), "-B", HERE / "driver.py"), {"REQUESTS_CA_BUNDLE": str(root)})
    command = ("node", "--require", DEVICE_SDKS / "redirect.js", HERE / "driver.js")
    return SdkProcess(name, command, {"NODE_PATH": str(node_modules()), "NODE_EXTRA_CA_CERTS": str(root)})


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def services(authority, tmp_path_factory):  # noqa: F811 - a fixture
    """Starts each service SDK when it is first asked for; they trust the authority's root."""
    root = tmp_path_factory.mktemp("trust") / "root.pem"
    root.write_bytes(authority.chain().trust_pem)
    running = {}

    async def get(name):
        if name not in running:
            running[name] = _process(name, root)
            await running[name].start()
        return running[name]

    yield get
    for process in running.values():
        await process.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def start(authority):  # noqa: F811 - a fixture
    """Starts gateways with the service API: `await start(hub_port=0)`; all end with the test."""
    async with AsyncExitStack() as stack:

        async def start(**options):
            options = {"chain": authority.chain(), "hub_port": 0, **options}
            return Room(await stack.enter_async_context(Gateway(**options)))

        yield start


@pytest_asyncio.fixture(loop_scope="session")
async def room(start):
    """A gateway with the service API."""
    return await start()


@pytest_asyncio.fixture(loop_scope="session", params=("python", "node"))
async def back(request, services, room):
    """Each SDK in turn as iothubowner."""
    return await BackEnd(await services(request.param), room.gateway).connect()


@pytest_asyncio.fixture(loop_scope="session")
async def python_back(services, room):
    """The Python SDK as iothubowner, for what it alone can do."""
    return await BackEnd(await services("python"), room.gateway).connect()

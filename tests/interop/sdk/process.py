"""A process with a real SDK in it, and the clients inside."""

import asyncio
import contextlib
import json
import os
import re
from pathlib import Path

HERE = Path(__file__).parent
PATIENCE = 30.0  # a guard against a hanging test, longer than the driver's own deadline
GRACE = 10.0  # what a driver gets on top of its own deadline
# What a user's shell may have set must not change a test.
OURS = ("SSL_CERT_", "NODE_", "PYTHON", "http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY")


class SdkError(Exception):
    """What the SDK raised: the exception and its causes, (class, message) each, the outermost first."""

    def __init__(self, chain):
        # Where in _ssl.c it was said differs from one Python to the next.
        self.chain = tuple((kind, re.sub(r" \(_ssl\.c:\d+\)$", "", message)) for kind, message in chain)
        super().__init__(" <- ".join(f"{kind}: {message}" for kind, message in self.chain))


class SdkProcess:
    """One SDK; several clients may live in it. Events are kept until `reset`."""

    def __init__(self, name, command, environment):
        self.name = name
        self._command, self._environment = command, environment
        self._answers = {}
        self._number = 0
        self._process = self._reader = None
        self._happened = asyncio.Event()
        self.events = []

    @classmethod
    def python(cls, interpreter, **environment):
        """The Python SDK in that virtual environment."""
        return cls("python", (interpreter, "-B", HERE / "client.py"), environment)

    @classmethod
    def node(cls, modules, **environment):
        """The Node.js SDK in that node_modules folder."""
        command = ("node", "--require", HERE / "redirect.js", HERE / "client.js")
        return cls("node", command, {"NODE_PATH": str(modules), **environment})

    async def start(self):
        """Start it and wait until it can be told something."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
        self._process = await asyncio.create_subprocess_exec(
            *map(str, self._command),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**clean, **self._environment},
            limit=1 << 24,
        )
        self._reader = asyncio.ensure_future(self._read())
        await self.event("ready")

    async def stop(self):
        """End it: its standard input ends, and if that does not help it is killed."""
        if self._process is None:
            return
        self._process.stdin.close()
        try:
            async with asyncio.timeout(PATIENCE):
                await self._reader
        except TimeoutError:
            self._process.kill()
            await self._reader
        self._process = None

    async def reset(self):
        """Let go of every client; a process that cannot do that is replaced."""
        try:
            await self.call("reset")
        except (SdkError, TimeoutError, EOFError, OSError):
            await self.stop()
            await self.start()
        self.events.clear()

    async def call(self, do, client=None, *, deadline=20, **facts):
        """Give a command and wait for its answer; SdkError when it is an error. `deadline` is in seconds."""
        self._number += 1
        number = self._number
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        command = {"id": number, "do": do, "client": client, "deadline": deadline, **facts}
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        try:
            async with asyncio.timeout(deadline + GRACE):
                event = await answer
        finally:
            del self._answers[number]
        if event["event"] == "error":
            raise SdkError(event["chain"])
        return event

    async def event(self, kind, client=None, **facts):
        """Take the first event of that kind and client with those facts, waiting for it."""
        wanted = {"event": kind, **({"client": client} if client else {}), **facts}
        async with asyncio.timeout(PATIENCE):
            while True:
                for event in self.events:
                    if wanted.items() <= event.items():
                        self.events.remove(event)
                        return event
                if self._reader.done():
                    raise EOFError(f"the {self.name} process has ended")
                self._happened.clear()
                await self._happened.wait()

    def of(self, kind):
        """The events of that kind that nobody took."""
        return [event for event in self.events if event["event"] == kind]

    async def _read(self):
        words = asyncio.ensure_future(self._process.stderr.read())
        async for line in self._process.stdout:
            event = json.loads(line)
            answer = self._answers.get(event.get("id"))
            if answer is not None and not answer.done():
                answer.set_result(event)
            elif "id" not in event:
                self.events.append(event)
                self._happened.set()
        last_words = (await words).decode(errors="replace")
        await self._process.wait()
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(EOFError(f"the {self.name} process has ended: {last_words}"))
        self._happened.set()


class SdkClient:
    """One client in a process: the SDK's operations by their names in the driver."""

    def __init__(self, process, name, identity):
        self.process, self.name, self._identity = process, name, identity

    async def open(self, *, deadline=20):
        """Make the client and connect it."""
        await self.process.call("open", self.name, deadline=deadline, **self._identity)
        return self

    def __getattr__(self, do):
        """Return the operation of that name."""
        if do.startswith("_"):
            raise AttributeError(do)

        async def call(**facts):
            return await self.process.call(do, self.name, **facts)

        return call

    async def event(self, kind, **facts):
        """Take the next event of that kind."""
        return await self.process.event(kind, self.name, **facts)

    async def closed(self):
        """Forget what is still under way; the process is reset by its fixture."""
        with contextlib.suppress(SdkError):
            await self.process.call("disconnect", self.name)

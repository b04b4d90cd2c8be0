"""Plain HTTPS on the port of the WebSockets: routes, refusals, keep-alive, what is no HTTP, and the listener itself."""

import asyncio
import http.client
import json
import socket

import pytest

from gateway import Gateway, Settings
from gateway.events import ConnectionRefused, HandshakeFailed
from tests.gateway import packets as p
from tests.gateway import webclient as w
from tests.gateway.client import Client

FILES = "/devices/press/files"


# -- requests that go nowhere -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [FILES, f"{FILES}/notifications"])
async def test_file_upload_is_not_there_and_the_log_says_why(hub, path):
    """404 without a body, as the product answers any unknown path; the gateway's log names the reason, no token."""
    body = json.dumps({"blobName": "a"}).encode()
    token = [("Authorization", "SharedAccessSignature sr=hub&sig=SECRET&se=1"), ("Content-Type", "application/json")]
    web = await hub.web()
    web.send(w.request("POST", f"{path}?api-version=2019-10-01&sig=SECRET", body, headers=token))
    status, headers, answer = await web.response()
    assert (status, answer, headers["content-length"]) == (404, b"", "0")
    line = f"[WRN] - File upload is not available through a gateway: POST {path} gets 404 [{web.client.peer}], 00000001"
    assert line in hub.log.getvalue()
    assert "SECRET" not in hub.log.getvalue()


async def test_unknown_path_is_not_taken_for_file_upload(hub):
    """404 as well, with another line."""
    web = await hub.web()
    web.send(w.request("POST", "/devices/press/file", b"{}"))
    assert (await web.response())[0] == 404
    assert "File upload" not in hub.log.getvalue()
    assert "Nothing is at /devices/press/file, so POST gets 404" in hub.log.getvalue()


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "OPTIONS"])
async def test_methods_path_takes_post_alone(hub, method):
    """405 with the method that is allowed, and the connection goes on."""
    web = await hub.web()
    for _ in range(2):
        web.send(w.request(method, "/twins/press/methods"))
        status, headers, body = await web.response()
        assert (status, headers["allow"], body) == (405, "POST", b"")


async def test_connection_is_kept_for_further_requests(hub):
    """As the SDK for Python uses it: both of its calls on one connection, then a WebSocket if one likes."""
    web = await hub.web()
    for path in (FILES, f"{FILES}/notifications"):
        web.send(w.request("POST", path, b"{}"))
        status, headers, _ = await web.response()
        assert (status, headers.get("connection")) == (404, None)
    web.send(w.upgrade())
    assert (await web.response())[0] == 101


async def test_connection_ends_after_an_answer_when_the_client_wants_it(hub):
    """`Connection: close`, and HTTP/1.0."""
    for data in (
        w.request(headers=[("Connection", "close")]),
        w.request().replace(b"HTTP/1.1", b"HTTP/1.0"),
    ):
        web = await hub.web()
        web.send(data)
        assert (await web.response())[0] == 404
        await web.eof()
    assert not hub.of(ConnectionRefused)
    assert not hub.of(HandshakeFailed)


async def test_standard_library_client_gets_its_answers(hub):
    """http.client, twice on one connection, with a chunked body too."""

    def ask():
        client = http.client.HTTPSConnection("localhost", hub.gateway.https_port, context=hub.context)
        client.request("POST", FILES, body=b"{}")
        first = client.getresponse()
        first.read()
        client.request("POST", FILES, body=iter([b"{", b"}"]), encode_chunked=True)
        second = client.getresponse()
        second.read()
        client.close()
        return first.status, second.status, second.getheader("X-Content-Type-Options")

    assert await asyncio.to_thread(ask) == (404, 404, "nosniff")


async def test_expected_100_continue_is_given(hub):
    """A client that waits for it before it sends its body gets it."""
    web = await hub.web()
    web.send(w.request("POST", FILES, length=2, headers=[("Expect", "100-continue")]))
    assert (await web.response())[0] == 100
    web.send(b"{}")
    assert (await web.response())[0] == 404


async def test_requests_in_one_piece_are_answered_in_order(hub):
    """Pipelining."""
    web = await hub.web()
    web.send(w.request("GET", "/twins/press/methods") + w.request() + w.request("GET", "/twins/press/methods"))
    assert [(await web.response())[0] for _ in range(3)] == [405, 404, 405]


# -- what is no request -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "status", "reason"),
    [
        (b"\x10\x0c\0\4MQTT\4\2\0\0\0\0", None, "illegal request line"),
        (b"hello?\r\n\r\n", 400, "illegal request line"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "Missing mandatory Host"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", 400, "illegal header line"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", 400, "bad Content-Length"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "HTTP/2.0, of which only 1.1 is offered"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400, "illegal chunk header"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501, "Only Transfer-Encoding"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"a: b\r\n" * 6000, 431, "Receive buffer too long"),
        (b"GET /" + b"a" * 40_000, 431, "Receive buffer too long"),
        (w.request("POST", "/", length=262_145), 413, "a request body of more than 262144 bytes"),
        (w.request() * 33, 400, "more than 32 requests at once"),
    ],
)
async def test_what_is_no_good_request_is_refused(hub, data, status, reason):
    """An HTTP answer that says what is wrong, and the end; event and log say the same."""
    web = await hub.web()
    web.send(data)
    answers = (await web.rest()).decode()
    refused = await hub.event(ConnectionRefused, client_id=None, code=None)
    assert reason in refused.reason
    assert f"HTTP/1.1 {status or 400} " in answers
    assert reason in answers
    assert f"Closing connection [{web.client.peer}], {refused.reason}" in hub.log.getvalue()


async def test_body_without_a_length_has_the_same_limit(hub):
    """It is counted as it comes."""
    web = await hub.web()
    web.send(w.request("POST", headers=[("Transfer-Encoding", "chunked")]), *[b"8000\r\n%b\r\n" % bytes(0x8000)] * 9)
    await hub.event(ConnectionRefused, reason="a request body of more than 262144 bytes")


async def test_secret_in_a_broken_header_is_not_told(hub):
    """What is wrong is named, not quoted."""
    web = await hub.web()
    web.send(b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization SharedAccessSignature sr=a&sig=SECRET\r\n\r\n")
    answer = await web.rest()
    await hub.event(ConnectionRefused)
    assert b"SECRET" not in answer
    assert "SECRET" not in hub.log.getvalue() + str(hub.events)


async def test_plain_http_is_a_failed_handshake(hub):
    """On a TLS port it never becomes a request."""
    client = hub._keep(await Client.tcp(hub.gateway.https_port))
    client.raw(w.request())
    await client.raw_rest()
    await hub.event(HandshakeFailed, reason="http request")


# -- time -------------------------------------------------------------------------------------------------------------


async def test_idle_connection_ends_quietly(hub):
    """After an answer, 130 seconds of silence end the connection without a warning; a request before that does not."""
    web = await hub.web()
    for _ in range(2):
        web.send(w.request())
        assert (await web.response())[0] == 404
        hub.clock.elapse(129)
    hub.clock.elapse(2)
    await web.eof()
    assert not hub.events


async def test_request_that_never_ends_times_out(hub):
    """The connect timeout applies, however busy the client is with sending pieces."""
    web = await hub.web()
    web.send(b"GET / HTTP/1.1\r\n")
    for _ in range(3):
        hub.clock.elapse(19)
        web.send(b"X: y\r\n")
        await asyncio.sleep(0)
    hub.clock.elapse(4)
    status, _, body = await web.response()
    assert (status, body) == (408, b"Connection timed out on waiting for the rest of a request\n")
    await web.eof()
    await hub.event(ConnectionRefused, reason="Connection timed out on waiting for the rest of a request")


async def test_silent_client_times_out_as_on_8883(hub):
    """Nothing after the handshake."""
    web = await hub.web()
    hub.clock.elapse(61)
    await web.eof()
    await hub.event(ConnectionRefused, reason="Connection timed out on waiting for CONNECT")


# -- the listener -----------------------------------------------------------------------------------------------------


async def test_port_can_be_left_out(chain):
    """None: there is no second listener."""
    async with Gateway(chain=chain, https_port=None) as gateway:
        assert gateway.https_port is None
        assert gateway.mqtt_port


async def test_port_that_is_taken_is_told_and_left_out(hub, start):
    """One warning with the reason and the way out, and 8883 works."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        messages = []
        gateway = Gateway(chain=hub.gateway.chain, https_port=port)
        gateway.log.warning = lambda text, *values: messages.append(text % values)
        async with gateway:
            assert gateway.https_port is None
            client = await Client.tls(gateway.mqtt_port, hub.context)
            client.abort()
    (message,) = [one for one in messages if "HTTPS" in one]
    assert message == (
        f"No HTTPS and no MQTT over WebSocket: cannot listen on 127.0.0.1:{port}: address already in use; "
        "another program has this port: stop it, or take another port (0 means any free one)"
    )


async def test_ports_stay_over_a_restart(chain):
    """Both listeners come back where they were."""
    gateway = Gateway(chain=chain)
    async with gateway:
        before = (gateway.mqtt_port, gateway.https_port)
    async with gateway:
        assert (gateway.mqtt_port, gateway.https_port) == before
    with pytest.raises(ConnectionRefusedError):
        await Client.tcp(before[1])


async def test_new_chain_is_served_on_both_ports(hub, chain):
    """reload changes the HTTPS listener too; open WebSockets stay."""
    from certs import Authority
    from tests.gateway.client import tls_context

    old = await hub.join_web()
    other = Authority(hostname="localhost").chain()
    hub.gateway.reload(other)
    for port in (hub.gateway.mqtt_port, hub.gateway.https_port):
        client = await Client.tls(port, tls_context(other))
        client.abort()
    old.send(w.binary(p.PINGREQ))
    assert await old.packet() == p.PINGRESP


async def test_start_tells_the_heads(hub):
    """Log lines of both listeners."""
    assert f"Initializing TLS endpoint on port {hub.gateway.mqtt_port} for MQTT head." in hub.log.getvalue()
    assert f"Started HTTP head on port {hub.gateway.https_port}" in hub.log.getvalue()


async def test_limits_follow_the_settings(start):
    """The frame limit is twice that of a packet."""
    hub = await start(settings=Settings(max_packet_size=1000))
    web = await hub.websocket()
    web.send(w.frame(w.BINARY, b"x" * 2001))
    assert await web.frame() == (w.CLOSE, b"\x03\xf1frame with 2001 bytes exceeds limit of 2000 bytes")

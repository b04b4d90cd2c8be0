"""What each SDK raises, as (class, message) from the outermost exception to its innermost cause."""

#: what the Node.js SDK puts before everything that goes wrong while it connects for the first time
_FIRST = "Failure on first connection (Not authorized): "
#: paho's and mqtt.js's words for the return codes of CONNACK, MQTT 3.1.1 section 3.2.2.3
_PAHO = {
    2: "Connection Refused: identifier rejected.",
    3: "Connection Refused: broker unavailable.",
    4: "Connection Refused: bad user name or password.",
    5: "Connection Refused: not authorised.",
}
_MQTT_JS = {
    1: "Connection refused: Unacceptable protocol version",
    2: "Connection refused: Identifier rejected",
    3: "Connection refused: Server unavailable",
    4: "Connection refused: Bad username or password",
    5: "Connection refused: Not authorized",
}
_PROTOCOL = (("ClientError", "Error in the IoTHub client"), "ProtocolClientError")
_CREDENTIALS = (("CredentialError", "Credentials invalid, could not connect"), "UnauthorizedError")
_CONNECTION = (("ConnectionFailedError", "Could not connect to IoTHub"), "ConnectionFailedError")
_PYTHON_CONNACK = {2: _PROTOCOL, 3: _CONNECTION, 4: _CREDENTIALS, 5: _CREDENTIALS}


def node_refusal(cause, kind="UnauthorizedError"):
    """The Node.js SDK's error when it cannot connect because of `cause`."""
    return (kind, f"mqtt.js returned {_FIRST}{cause} error"), ("Error", f"{_FIRST}{cause}")


def python_tls(text):
    """The Python SDK's error when OpenSSL refuses the gateway's certificate."""
    verdict = f"[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: {text}"
    outer = ("ClientError", "Error in the IoTHub client due to TLS exchanges.")
    return outer, ("TlsExchangeAuthError", ""), ("SSLCertVerificationError", verdict)


def python_connection(kind, text):
    """The Python SDK's error when it cannot connect because of another exception of the socket or of TLS."""
    return _CONNECTION[0], (_CONNECTION[1], ""), (kind, text)


def connack(sdk, code):
    """What an SDK raises after that CONNACK return code."""
    if sdk.name == "node":
        return node_refusal(_MQTT_JS[code], "NotImplementedError" if code == 1 else "UnauthorizedError")
    outer, inner = _PYTHON_CONNACK[code]
    return outer, (inner, _PAHO[code])

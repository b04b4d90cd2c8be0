"""What gateway.broker.tls uses below pyOpenSSL's public surface: an upgrade that changes it must fail here."""

import ssl

import pytest
from OpenSSL import SSL
from OpenSSL._util import ffi, lib

from certs import Authority
from gateway.broker.tls import TlsContext


@pytest.mark.parametrize("name", ["BIO_read", "BIO_write", "SSL_get_error", "SSL_read", "SSL_write"])
def test_bindings_have_the_function(name):
    """The functions that are called per message exist."""
    assert callable(getattr(lib, name))


def test_connection_has_its_parts():
    """A Connection without a socket has the SSL object and both memory BIOs under the names that are relied on."""
    connection = SSL.Connection(SSL.Context(SSL.TLS_SERVER_METHOD))
    assert ffi.typeof(connection._ssl) is ffi.typeof("SSL *")
    assert ffi.typeof(connection._into_ssl) is ffi.typeof(connection._from_ssl) is ffi.typeof("BIO *")
    assert lib.BIO_write(connection._into_ssl, ffi.from_buffer(memoryview(b"abc")), 3) == 3
    assert lib.SSL_ERROR_WANT_READ == ssl.SSL_ERROR_WANT_READ


def test_error_of_a_read_is_raised_as_public_class():
    """_raise_ssl_error turns the result of a call into the public exception classes."""
    connection = SSL.Connection(SSL.Context(SSL.TLS_SERVER_METHOD))
    connection.set_accept_state()
    result = lib.SSL_read(connection._ssl, ffi.new("char[]", 10), 10)
    assert result < 0
    with pytest.raises(SSL.WantReadError):
        connection._raise_ssl_error(connection._ssl, result)


def test_contexts_do_not_share_their_buffer():
    """Gateways in several threads decrypt into buffers of their own."""
    chain = Authority().chain()
    one, other = (TlsContext(chain.sent, chain.key_pem, ("1.3",)) for _ in range(2))
    assert one.session()._buffer is one.session()._buffer
    assert one.session()._buffer is not other.session()._buffer

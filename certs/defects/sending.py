"""What goes on the wire: certificates left out, sent twice, or in another order."""

from __future__ import annotations

from dataclasses import replace

from certs.chain import Chain, Role
from certs.defects.catalogue import impossible, theme
from certs.rekey import another, other_root

defect = theme("what is sent")


@defect(20)
def missing_intermediate(chain: Chain) -> Chain:
    """The intermediate that signed the device CA is not sent: the device CA file was not the full chain."""
    return chain.without(Role.INTERMEDIATE)


@defect(20)
def missing_device_ca(chain: Chain) -> Chain:
    """The device CA is not sent."""
    return chain.without(Role.DEVICE_CA)


@defect(20)
def missing_workload_ca(chain: Chain) -> Chain:
    """The workload CA is not sent."""
    return chain.without(Role.WORKLOAD_CA)


@defect(20)
def leaf_only(chain: Chain) -> Chain:
    """Only the server certificate is sent."""
    return chain.sending([chain.server.certificate])


@defect(None)
def root_not_sent(chain: Chain) -> Chain:
    """The root is not sent, as TLS allows and the product does."""
    return chain.sending([one for one in chain.sent if one != chain.root.certificate])


@defect(None)
def wrong_order(chain: Chain) -> Chain:
    """What follows the server certificate is sent in reverse order; Mbed TLS, wolfSSL and BearSSL refuse that."""
    first, *rest = chain.sent
    if len(rest) < 2:
        raise impossible(chain, "wrong-order", "fewer than three certificates are sent")
    return chain.sending([first, *reversed(rest)])


@defect(None)
def duplicate_certificate(chain: Chain) -> Chain:
    """The certificate that signed the server's is sent twice in a row."""
    if len(chain.sent) < 2:
        raise impossible(chain, "duplicate-certificate", "only the server certificate is sent")
    return chain.sending([*chain.sent[:2], *chain.sent[1:]])


@defect(None)
def shuffled_order(chain: Chain) -> Chain:
    """Server certificate first and root last, but what stands between them the wrong way round."""
    if len(chain.sent) < 4:
        raise impossible(chain, "shuffled-order", "fewer than four certificates are sent")
    first, *middle, last = chain.sent
    return chain.sending([first, *reversed(middle), last])


@defect(None)
def root_sent(chain: Chain) -> Chain:
    """The root is sent too, which no product since 1.0 does by itself."""
    return chain.sending([one for one in chain.sent if one != chain.root.certificate] + [chain.root.certificate])


@defect(None)
def server_sent_again_last(chain: Chain) -> Chain:
    """The server certificate is sent a second time, at the end."""
    return chain.sending([*chain.sent, chain.server.certificate])


@defect(None)
def unrelated_certificate(chain: Chain) -> Chain:
    """A self-signed certificate that has nothing to do with the others is sent at the end."""
    return chain.sending([*chain.sent, other_root(chain, "Another Company Test CA")])


@defect(None)
def second_server_same_serial(chain: Chain) -> Chain:
    """Another certificate with the server certificate's issuer and serial number is sent; NSS and rustls object."""
    twin = another(chain, chain.server, "second-server")
    twin = twin.reissue(replace(twin.template, serial=chain.server.template.serial))
    first, *rest = chain.sent
    return chain.sending([first, twin.certificate, *rest])

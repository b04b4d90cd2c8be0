"""Which chain `leafgate up` serves: a scenario's, one of a state folder, one made to order, or one that exists already.

Rule: what is read from a customer's files is said where it is not used or not the same: nobody is to wonder on whose
certificates a gateway runs.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509

from certs import CertsError, Chain, apply_defects, existing, files, hostname, layout, loop, pkcs11uri
from certs.existing import DeviceCa
from certs.hostname import alternative_names
from certs.imitation import imitate
from certs.names import common_name
from leafsim.diagnose import bundle
from scenarios.chainplan import ChainPlan
from scenarios.check.configured import configured_in
from scenarios.check.subject import EDGE_CA, TRUST_BUNDLE, Configured, Preloaded
from scenarios.errors import CannotPlayError, ScenariosError
from scenarios.stage import chains_for
from scenarios.upoptions import Options

if TYPE_CHECKING:
    from scenarios.model import Loaded

_EXISTING = ("device_ca_cert", "iotedge_config", "imitate")  # a device CA that is there already
_MADE = ("scenario", "device_ca_cn", "intermediates")  # one that is made to order
_OF_CHAIN = ("generation", "key", "ip_san", "defects", *_EXISTING, *_MADE)
_CONFIGS = (".toml", ".yaml", ".yml")
_NOT_IN_CERTIFICATES = ("D3", "D4", "M", "X")  # rules whose cause is elsewhere, so that no chain shows it again


@dataclass(frozen=True)
class Source:
    """What leaves are configured with, what is served, and which TLS versions its server was seen to speak."""

    configured: Chain
    chain: Chain
    tls: tuple[str, ...] = ()


def check(options: Options) -> None:
    """Refuse options that contradict each other. Raises ScenariosError."""
    given = [name for name in (*_EXISTING, *_MADE) if getattr(options, name) != getattr(Options, name)]
    own = [name for name in given if name in _EXISTING]
    if own and len(given) > 1:
        first, second = map(_written, given[:2])
        raise ScenariosError(f"{first} and {second} each give the device CA", "leave one of them out")
    if (options.device_ca_cert is None) != (options.device_ca_key is None):
        raise ScenariosError("--device-ca-cert and --device-ca-key go together", "give the certificate and its key")
    if options.trust_bundle is not None and not own:
        hint = "give --device-ca-cert and --device-ca-key, --iotedge-config or --imitate"
        raise ScenariosError("--trust-bundle is for certificates of yours", hint)
    if options.at is not None and options.imitate is None:
        raise ScenariosError("--at is for a chain that is imitated", "give --imitate FILE")
    if options.config_root is not None and not {"iotedge_config", "imitate"}.intersection(own):
        raise ScenariosError("--config-root is for a configuration", "give --iotedge-config or --imitate config.toml")
    if options.device_ca_key is not None and pkcs11uri.is_uri(options.device_ca_key):
        pkcs11uri.parse(options.device_ca_key)


def _written(name: str) -> str:
    return "--" + name.replace("_", "-")


def find(options: Options, loaded: Loaded | None) -> Source:
    """The chain of the scenario, of the state folder, or a new one. Raises CannotPlayError."""
    try:
        if options.state is not None and layout.exists(options.state):
            kept = _kept(options, options.state)
            return Source(kept, kept)
        source = _new(options) if loaded is None else Source(*chains_for(loaded.scenario, options.seed))
        if options.state is not None:
            layout.save(source.chain, options.state)
    except CertsError as wrong:
        # Whatever it is, the gateway cannot start: 3, also where `leafgate certs` would call it wrong usage.
        raise CannotPlayError(wrong.message, wrong.hint) from None
    _warn(source.chain)
    return source


def _warn(chain: Chain) -> None:
    """Say what is allowed and yet worth knowing: names that loop, a name in another case than the certificate's."""
    warning = loop.loop_warning(chain)
    if warning is not None:
        _say(warning.message, warning.hint)
    note = hostname.case_note(chain.server.certificate, chain.hostname)
    if note is not None:
        _say(note.message, note.fix)


def _kept(options: Options, state: Path) -> Chain:
    """The chain of an earlier run: it stays as it is, and what it does not fit is said."""
    chain = layout.load(state)
    if options.device_ca_key is not None:
        chain = existing.with_device_ca_key(chain, existing.read_key(options.device_ca_key, options.pkcs11_module))
    existing.check_device_ca_key(chain)
    note = hostname.check_hostname(chain, options.hostname) if options.hostname != Options.hostname else None
    if note is not None:
        _say(note.message, note.fix)
    elif any(getattr(options, name) != getattr(Options, name) for name in _OF_CHAIN):
        _say(f"{state} has a chain already; it is served as it is", "choose another --state to make a new one")
    return chain


def _new(options: Options) -> Source:
    if options.imitate is not None and options.imitate.suffix not in _CONFIGS:
        return _imitated(options, options.imitate)
    plan = _plan(options)
    config = options.iotedge_config or options.imitate
    if config is not None:
        plan = _configured(plan, options, config)
    elif options.device_ca_cert is not None and options.device_ca_key is not None:
        device_ca = DeviceCa.read(
            options.device_ca_cert,
            options.device_ca_key,
            trust_bundle=options.trust_bundle,
            module=options.pkcs11_module,
        )
        plan = replace(plan, device_ca=device_ca)
    chain = plan.build()
    return Source(chain, chain)


def _plan(options: Options) -> ChainPlan:
    return ChainPlan(
        hostname=options.hostname,
        generation=options.generation,
        device_ca_cn=options.device_ca_cn,
        intermediates=options.intermediates,
        key=options.key,
        ip_san=options.ip_san,
        defects=options.defects,
        client_names=options.connect_names,
        allow_cn_loop=options.allow_cn_loop,
        seed=options.seed,
    )


def _configured(plan: ChainPlan, options: Options, path: Path) -> ChainPlan:
    """The plan for what a real gateway's configuration says."""
    config = configured_in(path, options.config_root)
    plan = replace(plan, hostname=_hostname(options, config.hostname or Options.hostname, path))
    if config.parent_hostname and options.parent is None:
        _say(
            f"{path}: parent_hostname {config.parent_hostname} is not followed: this gateway has a hub of its own",
            "to put it below a gateway of that name, give --parent READY.json of that gateway",
        )
    generation = options.generation if options.generation != Options.generation else _generation(config)
    if config.quickstart is not None:
        _say(f"{path}: {config.quickstart} The daemon makes its own, which end after 90 days or less", "as here")
        return replace(plan, generation="quickstart")
    found = next((one for one in config.files if one.id == EDGE_CA), None)
    bundle_file = options.trust_bundle or _file(config, TRUST_BUNDLE)
    assert found is not None  # what is no quickstart has one
    if isinstance(found.certificate, str):
        raise CannotPlayError(
            f"{path}: the device CA cannot be read: {found.certificate}",
            "imitate what is served: leafgate diagnose HOST:8883 --save FILE.zip, then up --imitate FILE.zip",
        )
    if options.imitate is None:
        device_ca = DeviceCa.read(
            found.certificate, _key(found, path), trust_bundle=bundle_file, module=options.pkcs11_module
        )
    else:
        device_ca = _imitated_device_ca(options, found.certificate, bundle_file)
    return replace(plan, generation=generation, device_ca=device_ca)


def configured_parent(options: Options) -> str | None:
    """The parent_hostname of the configuration that is imitated or used; None without one. Raises CannotPlayError."""
    path = options.iotedge_config or options.imitate
    if path is None or path.suffix not in _CONFIGS:
        return None
    try:
        return configured_in(path, options.config_root).parent_hostname
    except CertsError as wrong:
        raise CannotPlayError(wrong.message, wrong.hint) from None


def _generation(config: Configured) -> str:
    return "1.1" if config.workload_ca else "1.5"


def _hostname(options: Options, found: str, path: Path) -> str:
    if options.hostname == Options.hostname:
        return found
    if found != options.hostname:
        _say(f"{path} is for {found}, --hostname is {options.hostname}", "the option counts")
    return options.hostname


def _file(config: Configured, identity: str) -> Path | None:
    return next(
        (one.certificate for one in config.files if one.id == identity and isinstance(one.certificate, Path)), None
    )


def _key(found: Preloaded, config: Path) -> str:
    """The device CA's key: a file or a URI. Without one, the way to go on is said."""
    if found.key_uri is not None:
        return found.key_uri
    if isinstance(found.key, Path) and found.key.exists():
        return str(found.key)
    why = "there is none" if found.key is None else f"{found.key} is not here"
    raise CannotPlayError(
        f"{config}: the device CA's key cannot be used: {why}",
        f"with a new key and all else the same: leafgate up --imitate {config}"
        "; files of another machine are found with --config-root FOLDER",
    )


def _imitated_device_ca(options: Options, full_chain: Path, trust_bundle: Path | None) -> DeviceCa:
    trust = None if trust_bundle is None else files.read_certificates(trust_bundle)
    copy = imitate(files.read_certificates(full_chain), trust, hostname="", moved=_since(options.at), seed=options.seed)
    return DeviceCa(copy.sent, copy.server.key, copy.trust)


def _imitated(options: Options, path: Path) -> Source:
    """What was served somewhere, with keys of our own: out of a bundle, or a PEM file."""
    seen = bundle.load(path) if bundle.is_bundle(path) else None
    served = files.read_certificates(path) if seen is None else list(seen.served)
    trust: Sequence[x509.Certificate] | None = None if seen is None else seen.trusted
    if options.trust_bundle is not None:
        trust = files.read_certificates(options.trust_bundle)
    if trust is None:
        _say("what the leaf trusts is not known; here it trusts the top of the chain", "give it: --trust-bundle FILE")
    chain = imitate(
        served,
        trust,
        hostname=_hostname(options, seen.report.name if seen else _own_name(served[0]), path),
        generation=options.generation,
        moved=_since(options.at or (seen.captured if seen else None)),
        seed=options.seed,
    )
    for finding in seen.report.findings if seen else ():
        if finding.severity == "error" and finding.rule.startswith(_NOT_IN_CERTIFICATES):
            _say(f"not shown again: {finding.rule}, {finding.cause}", "it is no matter of certificates")
    chain = apply_defects(chain, options.defects)
    return Source(chain, chain, seen.tls if seen else ())


def _own_name(certificate: x509.Certificate) -> str:
    """What leaves will have called the gateway: the product's common name is its host name."""
    names = [common_name(certificate.subject), *alternative_names(certificate)[0]]
    return next((name for name in names if name and "*" not in name), Options.hostname)


def _since(time: datetime | None) -> timedelta:
    """How far dates are moved, so that today is to them as that time was."""
    return timedelta() if time is None else datetime.now(UTC) - time


def _say(message: str, hint: str) -> None:
    sys.stderr.write(f"leafgate: {message}\n  hint: {hint}\n")

"""`leafgate certs ...`: the convenience scripts' commands, and a look at what a file or a port holds."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from certs.certgen import WorkingFolder
    from certs.issuers import Issuer

app = typer.Typer(
    name="certs",
    help="Make and look at certificates: the commands of certGen.sh and ca-certs.ps1, and more.\n\n"
    "Start with: leafgate certs create_root_and_intermediate --dir demo",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    add_completion=False,
    # \b keeps click from wrapping inside the names
    epilog="\b\nca-certs.ps1's names work too:\n  New-CACertsCertChain rsa, New-CACertsEdgeDeviceCA NAME,\n"
    "  New-CACertsEdgeDevice, New-CACertsEdgeDeviceIdentity, New-CACertsEdgeServer,\n"
    "  New-CACertsDevice, New-CACertsVerificationCert, Install-RootCACertificate.",
)

Folder = Annotated[
    Path, typer.Option("--dir", envvar="LEAFGATE_CERTS_DIR", help="Working folder of the script commands.")
]

_HERE = Path()


# --- certGen.sh -----------------------------------------------------------------------------------------------------


@app.command("create_root_and_intermediate")
def create_root_and_intermediate(
    folder: Folder = _HERE,
    key: Annotated[
        str, typer.Option("--key", help="rsa (the script's: 4096, others 2048), rsa2048, rsa4096, ec or ec384.")
    ] = "rsa",
) -> None:
    """Make a root and an intermediate CA; an earlier state of the folder is moved aside.

    Settings: DEFAULT_VALIDITY_DAYS (30), ROOT_CA_PASSWORD (1234).

    Example: leafgate certs create_root_and_intermediate --dir demo
    """
    _tell(_working(folder).create_root_and_intermediate(algorithm="" if key == "rsa" else key))


@app.command("install_root_ca_from_files")
def install_root_ca_from_files(
    certificate: Annotated[Path, typer.Argument(metavar="CERT_FILE")],
    key_file: Annotated[Path, typer.Argument(metavar="KEY_FILE")],
    folder: Folder = _HERE,
) -> None:
    """Use your own root: its certificate and key from files, and a new intermediate below it.

    The key's password comes from ROOT_CA_PASSWORD.

    Example: leafgate certs install_root_ca_from_files my-root.pem my-root.key --dir demo
    """
    _tell(_working(folder).install_root(certificate, key_file))


def _product(command: str, alias: str, doc: str) -> None:
    """Offer one create_... command under its name in either script."""

    def run(name: Annotated[str, typer.Argument(metavar="NAME")], folder: Folder = _HERE) -> None:
        _tell(_working(folder).create(command, name))

    run.__doc__ = f"{doc}\n\nExample: leafgate certs {command} mygateway --dir demo"
    app.command(command)(run)
    app.command(alias, hidden=True)(run)


@app.command("create_edge_device_ca_certificate")
@app.command("New-CACertsEdgeDeviceCA", hidden=True)
def create_edge_device_ca_certificate(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    folder: Folder = _HERE,
    key: Annotated[
        str | None,
        typer.Option("--key", metavar="FILE|URI", help="A key of yours: a PEM file, or pkcs11:token=...;object=..."),
    ] = None,
    generate: Annotated[
        str | None,
        typer.Option("--generate", metavar="KIND", help="Make that key in the token: ec, ec384, rsa2048 or rsa4096."),
    ] = None,
    module: Annotated[
        str | None,
        typer.Option("--pkcs11-module", metavar="FILE", envvar="LEAFGATE_PKCS11_MODULE", help="Library of the token."),
    ] = None,
) -> None:
    """Make the device CA of a gateway; .ca is appended to NAME, so that it cannot be the gateway's host name.

    The PIN of a token is in LEAFGATE_PKCS11_PIN or in the file that the URI's pin-source names.

    \b
    Examples:
      leafgate certs create_edge_device_ca_certificate mygateway --dir demo
      leafgate certs create_edge_device_ca_certificate mygateway --dir demo \\
        --key 'pkcs11:token=edge;object=device-ca' --generate ec --pkcs11-module /usr/lib/softhsm/libsofthsm2.so
    """
    from certs.errors import CertsError
    from certs.existing import read_key
    from certs.pkcs11 import token_key
    from certs.pkcs11uri import is_uri, parse

    working = _working(folder)
    if generate:
        if key is None or not is_uri(key):
            raise CertsError("--generate makes a key in a token", "name it: --key 'pkcs11:token=edge;object=device-ca'")
        token_key(parse(key), module).generate(generate)
    _tell(working.create("create_edge_device_ca_certificate", name, read_key(key, module) if key else None))


_product("create_edge_device_certificate", "New-CACertsEdgeDevice", "The same under the older command's file names.")
_product(
    "create_edge_device_identity_certificate",
    "New-CACertsEdgeDeviceIdentity",
    "Make the identity certificate of an Edge device.",
)
_product(
    "create_edge_server_certificate",
    "New-CACertsEdgeServer",
    "Make a server certificate below the intermediate; like the script's it has no subjectAltName.",
)
_product(
    "create_verification_certificate",
    "New-CACertsVerificationCert",
    "Make the certificate that proves to IoT Hub that you own the root's key; NAME is the code it gave.",
)


@app.command("New-CACertsDevice", hidden=True)
@app.command("create_device_certificate")
def create_device_certificate(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    folder: Folder = _HERE,
    issuer: Annotated[
        str,
        typer.Option(
            "--issuer",
            metavar="AUTHORITY",
            help="intermediate, or a gateway's: device-ca, device-ca:GATEWAY or, with --state, workload-ca.",
        ),
    ] = "intermediate",
    state: Annotated[
        Path | None,
        typer.Option(
            "--state", help="State folder of the gateway whose authority signs [the files: in its folder devices]."
        ),
    ] = None,
) -> None:
    """Make a leaf device's identity certificate. The full-chain file is what the device sends, for DPS say.

    \b
    Examples:
      leafgate certs create_device_certificate press-7 --dir demo
      leafgate certs create_device_certificate press-7 --dir demo --issuer device-ca
      leafgate certs create_device_certificate press-7 --state ~/gateway --issuer device-ca
    """
    signer = _signer(issuer, folder, state)
    home = state / "devices" if state is not None and folder == _HERE else folder
    _tell(_working(home).create("create_device_certificate", name, issuer=signer))


# --- ca-certs.ps1 ---------------------------------------------------------------------------------------------------


@app.command("New-CACertsCertChain", hidden=True)
def new_chain(
    algorithm: Annotated[str, typer.Argument(metavar="rsa|ecc")] = "rsa",
    folder: Folder = _HERE,
) -> None:
    """Make a root and an intermediate CA as ca-certs.ps1 names them; all keys are RSA 4096.

    ecc is the curve secp256k1, as in that script, which most TLS stacks do not negotiate.

    Example: leafgate certs New-CACertsCertChain rsa --dir demo
    """
    from certs.scripts import POWERSHELL

    if algorithm.lower() == "ecc":
        _say("ecc is the curve secp256k1 in ca-certs.ps1, which most TLS stacks do not negotiate; IoT Edge wants rsa")
    _tell(_working(folder).create_root_and_intermediate(POWERSHELL, algorithm.lower()))


@app.command("Install-RootCACertificate", hidden=True)
def install_root(
    certificate: Annotated[Path, typer.Argument(metavar="CERT_FILE")],
    key_file: Annotated[Path, typer.Argument(metavar="KEY_FILE")],
    folder: Folder = _HERE,
) -> None:
    """Use your own root, with an intermediate named as ca-certs.ps1 does.

    Example: leafgate certs Install-RootCACertificate my-root.pem my-root.key --dir demo
    """
    from certs.scripts import POWERSHELL

    _tell(_working(folder).install_root(certificate, key_file, POWERSHELL))


# --- looking --------------------------------------------------------------------------------------------------------


@app.command()
def show(
    source: Annotated[str, typer.Argument(metavar="PEM|HOST:PORT")],
    name: Annotated[
        str | None, typer.Option("--name", help="Name that leaves use for the gateway; asked for at HOST:PORT.")
    ] = None,
    trust: Annotated[Path | None, typer.Option("--trust", help="PEM file with the root that leaves trust.")] = None,
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds to wait for HOST:PORT.")] = 10,
) -> None:
    """Show a hierarchy as a tree, and what is wrong with it. Exit code 1 when a leaf on OpenSSL would refuse.

    \b
    Examples:
      leafgate certs show certs/iot-edge-device-ca-mygateway-full-chain.cert.pem
      leafgate certs show localhost:8883 --trust root.pem --name gw.factory.test
    """
    from certs import files, inspect
    from certs.capture import capture, parse_address

    path = Path(source)
    is_file = path.exists() or source.endswith((".pem", ".crt", ".cer"))
    trusted = files.read_certificates(trust) if trust else None
    if is_file:
        certificates = files.read_certificates(path)
    else:
        host, port = parse_address(source)
        certificates = capture(host, port, server_name=name, timeout=timeout)
        name = name or host
    typer.echo(inspect.tree(certificates, name=name, trust=trusted))
    found = inspect.problems(certificates, name=name, trust=trusted)
    for problem in found:
        typer.echo(f"\n{problem.severity} {problem.rule}: {problem.cause}")
        typer.echo(f"   seen: {problem.evidence}\n   fix:  {problem.fix}")
    if any(problem.severity == "error" for problem in found):
        raise typer.Exit(1)


@app.command()
def transfer(
    state: Annotated[Path, typer.Option("--state", envvar="LEAFGATE_STATE", help="State folder of `leafgate up`.")],
    hostname: Annotated[
        str | None, typer.Option("--hostname", help="The new owner's host name, if it changes.")
    ] = None,
) -> None:
    """Hand a gateway over: workload CA and server certificate are made again, device CA and above stay.

    The earlier chain is moved aside, not deleted. Leaves that trust the root go on without a change.

    Example: leafgate certs transfer --state ~/gateway --hostname plant2.test
    """
    from certs import layout
    from certs import transfer as hand_over

    chain = layout.load(state)
    after = hand_over(chain, hostname=hostname)
    aside = layout.save(after, state, replace=True)
    for old, new in zip(chain.levels, after.levels, strict=True):
        typer.echo(
            f"{'made again' if old.certificate != new.certificate else 'kept':<10}  {new.role}: {new.common_name}"
        )
    _say(f"the earlier chain was moved to {aside}")


@app.command()
def defects(
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> None:
    """List the defects that a chain can be given (`leafgate up --defect NAME`), and what OpenSSL 3 answers.

    Example: leafgate certs defects
    """
    from itertools import groupby

    from certs import DEFECTS

    if as_json:
        fields = ("name", "theme", "summary", "verify_code")
        return _json([{field: getattr(defect, field) for field in fields} for defect in DEFECTS.values()])
    width = max(map(len, DEFECTS))
    for theme, found in groupby(DEFECTS.values(), key=lambda defect: defect.theme):
        typer.echo(f"\n{theme}")
        for defect in found:
            answer = "accepted" if defect.verify_code is None else f"refused, {defect.verify_code}"
            typer.echo(f"  {defect.name:<{width}}  {answer:<11}  {defect.summary}")
    return None


@app.command()
def measured(
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, with what every TLS stack answered.")] = False,
) -> None:
    """List the chains that were served to 26 TLS stacks, and how many refused each.

    Example: leafgate certs measured
    """
    from certs.outcomes import outcomes
    from certs.recipes import RECIPES

    if as_json:
        return _json({name: {**row.as_json(), "defects": RECIPES[name].defects} for name, row in outcomes().items()})
    width = max(map(len, RECIPES))
    for name, row in outcomes().items():
        count = f"{len(row.refused)}/{len(row.refused) + len(row.connected)}" if not row.server_refuses else "-"
        typer.echo(f"{name:<{width}}  {count:>5}  {row.summary}")
    return None


# --- helpers --------------------------------------------------------------------------------------------------------


def _json(value: object) -> None:
    import json

    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def _working(folder: Path) -> WorkingFolder:
    from certs.certgen import WorkingFolder

    return WorkingFolder(folder, say=_say)


def _signer(text: str, folder: Path, state: Path | None) -> Issuer | None:
    """Find the authority that --issuer names; None is the script's own, the intermediate."""
    from certs import Role, issuers
    from certs.errors import CertsError

    kind, colon, gateway = text.partition(":")
    if state is not None and not colon and kind in issuers.OF_GATEWAY:
        return issuers.of_state(state, Role(kind))
    if state is None and kind == Role.DEVICE_CA and bool(colon) == bool(gateway):
        return issuers.of_working_folder(folder, gateway)
    if state is None and text == "intermediate":
        return None
    where = f"--state has {', '.join(issuers.OF_GATEWAY)}" if state else "a folder has intermediate and device-ca"
    raise CertsError(f"--issuer {text} is no authority here", where)


def _tell(written: list[Path]) -> None:
    """Print the files, one a line, and the scripts' warning."""
    for path in written:
        typer.echo(path)
    _say("these certificates are for tests only: keys are on disk, and their passwords are published")


def _say(text: str) -> None:
    sys.stderr.write(f"leafgate: {text}\n")

"""What can go wrong with certificates, as data: `message`, `hint` and `exit_code` are what a person is shown."""

from __future__ import annotations


class CertsError(Exception):
    """Base of every error of this package; nothing secret ever gets into `message`."""

    exit_code = 2

    def __init__(self, message: str, hint: str | None = None) -> None:
        self.message = message
        self.hint = hint
        super().__init__(message)


class DeviceCaNameError(CertsError):
    """The device CA is named like the gateway, which the IoT Edge documentation forbids."""

    def __init__(self, device_ca_cn: str, clashes_with: str) -> None:
        self.device_ca_cn = device_ca_cn
        self.clashes_with = clashes_with
        super().__init__(
            f"the device CA's common name {device_ca_cn!r} is a name of the gateway ({clashes_with!r}); "
            "IoT Edge's documentation forbids it, because verification can loop between the two",
            f"give the device CA another name, as the convenience scripts do by appending .ca ({clashes_with}.ca); "
            "--allow-cn-loop builds the wrong chain on purpose",
        )


class UnknownGenerationError(CertsError):
    """No product generation has that name."""

    def __init__(self, generation: str, known: tuple[str, ...]) -> None:
        self.generation = generation
        self.known = known
        super().__init__(f"generation {generation!r} does not exist", f"one of {', '.join(known)}")


class NameRefusedError(CertsError):
    """A host name or a subject that no certificate can carry."""

    def __init__(self, name: str, why: str, hint: str) -> None:
        self.name = name
        super().__init__(f"{name!r} cannot be used: {why}", hint)


class NoSuchLevelError(CertsError):
    """The hierarchy has no certificate of that role."""

    def __init__(self, role: str, generation: str) -> None:
        self.role = role
        self.generation = generation
        super().__init__(
            f"a chain of generation {generation} has no certificate of role {role!r}",
            "choose a generation whose hierarchy has it: `leafgate certs defects` and docs/certificates.md list them",
        )


class UnknownDefectError(CertsError):
    """The catalogue has no defect of that name."""

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        self.name = name
        self.known = known
        super().__init__(f"defect {name!r} does not exist", f"one of {', '.join(known)}")


class FileRefusedError(CertsError):
    """A file or folder with certificates or keys cannot be used as it is."""

    def __init__(self, path: object, why: str, hint: str | None = None) -> None:
        self.path = str(path)
        super().__init__(f"{path}: {why}", hint)


class CaptureError(CertsError):
    """No certificates could be fetched from HOST:PORT. `cause` is a short fixed word for programs."""

    exit_code = 3

    def __init__(self, address: str, cause: str, message: str, hint: str) -> None:
        self.address = address
        self.cause = cause
        super().__init__(f"{address}: {message}", hint)

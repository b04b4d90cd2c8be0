"""Configurations as the hub keeps them: automatic device and module configurations, and IoT Edge deployments.

Rules: an id is taken once; what is updated is named by its ETag. Content cannot be changed: an update has to repeat
it, and what it says there is ignored. Metrics are counted when somebody looks.
Sources: IoT Hub REST API, "Configuration"; "Automatic device management at scale"; IoT Hub error codes 400401 to
400404, 404301 and 409401; the finer points of ETags and of content were tried by mwalser/terraform-provider-iothub
(docs, appendix D).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from gateway.errors import ServiceError
from gateway.observers import Observers
from gateway.upstream.content import EDGE_AGENT, Kind, is_layered, kind_of
from gateway.upstream.keeping import Keep, keep_nothing, utc
from gateway.upstream.query import Query, QueryError, parse_query, parse_target
from gateway.upstream.query.paths import MODULES

_ID = re.compile(r"[a-z0-9\-:+%_#*?!(),=@;']{1,128}\Z")
_CHOSEN = re.compile(r"(?is)^select\b.*?(?=\bfrom\b)")  # what a target condition may have in front of FROM
_DEVICES = re.compile(r"(?is)^(?:select\b.*?\b)?from\s+devices(?:\s+where\b)?")
_MOST_METRICS = 5
_TARGETABLE = (("deviceId",), ("moduleId",), ("tags",), ("properties", "reported"))
CONFIGURATION = "configuration"


@dataclass(frozen=True, slots=True)
class Configuration:
    """One configuration; `created` and `updated` in seconds since 1970, `number` counts its versions."""

    id: str
    kind: Kind
    content: Mapping[str, Any]
    target_condition: str = ""
    priority: int = 0
    labels: Mapping[str, str] | None = None
    metric_queries: Mapping[str, str] | None = None
    schema_version: str = "1.0"
    created: float = 0.0
    updated: float = 0.0
    number: int = 1

    @property
    def etag(self) -> str:
        """The ETag, without quotes."""
        return base64.b64encode(str(self.number).encode()).decode()

    @property
    def section(self) -> Mapping[str, Any]:
        """The content itself."""
        section: Mapping[str, Any] = self.content[self.kind.value]
        return section

    @property
    def layered(self) -> bool:
        """Whether it is an edge deployment that changes parts of what a base one sets."""
        return self.kind is Kind.EDGE and is_layered(self.section)

    def target(self) -> Query | None:
        """Whom it is for; None for nobody."""
        return parse_target(self.target_condition)[0] if self.target_condition.strip() else None

    def system_queries(self) -> dict[str, str]:
        """The queries of its system metrics."""
        applied = f"configurations.[[{self.id}]].status = 'Applied'"
        if self.kind is not Kind.EDGE:
            chosen = "deviceId, moduleId from devices.modules" if self.kind is Kind.MODULE else "deviceId from devices"
            return {"targetedCount": self._targeted(), "appliedCount": f"select {chosen} where {applied}"}
        agents = f"select deviceId from devices.modules where moduleId = '{EDGE_AGENT}' and {applied}"  # noqa: S608
        reported = f"{agents} and properties.desired.$version = properties.reported.lastDesiredVersion"
        return {
            "targetedCount": self._targeted(),
            "appliedCount": agents,
            "reportedSuccessfulCount": f"{reported} and properties.reported.lastDesiredStatus.code = 200",
            "reportedFailedCount": f"{reported} and properties.reported.lastDesiredStatus.code != 200",
        }

    def _targeted(self) -> str:
        condition = self.target_condition.strip()
        if self.kind is Kind.MODULE:
            return f"select deviceId, moduleId {_CHOSEN.sub('', condition)}" if condition else ""
        plain = _DEVICES.sub("", condition).strip()
        parts = ["capabilities.iotEdge = true"] if self.kind is Kind.EDGE else []
        if plain not in {"", "*"}:
            parts.append(f"({plain})" if parts else plain)
        wanted = f" where {' and '.join(parts)}" if parts else ""
        return f"select deviceId from devices{wanted}" if condition else ""  # noqa: S608

    def to_json(self) -> dict[str, Any]:
        """The configuration as it is kept, and as the REST API gives it but for the results of its metrics."""
        return {
            "id": self.id,
            "schemaVersion": self.schema_version,
            "labels": dict(self.labels or {}),
            "content": {self.kind.value: self.section},
            "targetCondition": self.target_condition,
            "createdTimeUtc": utc(self.created),
            "lastUpdatedTimeUtc": utc(self.updated),
            "priority": self.priority,
            "systemMetrics": {"results": {}, "queries": self.system_queries()},
            "metrics": {"results": {}, "queries": dict(self.metric_queries or {})},
            "etag": self.etag,
        }


class Configurations:
    """All configurations; `count` tells how many rows a query has, and observers hear of each change."""

    def __init__(self, now: Callable[[], float], count: Callable[[Query], int], keep: Keep = keep_nothing) -> None:
        self._now = now
        self._count = count
        self._keep = keep
        self._all: dict[str, Configuration] = {}
        self._observers = Observers[[]]("configurations")

    def __iter__(self) -> Any:
        return iter(tuple(self._all.values()))

    def __len__(self) -> int:
        return len(self._all)

    def load(self, documents: Mapping[str, Mapping[str, Any]]) -> None:
        """Take up what was kept, by id."""
        self._all = {config_id: _from_kept(config_id, document) for config_id, document in documents.items()}

    def subscribe(self, observer: Callable[[], None]) -> Callable[[], None]:
        """Call `observer` after each change; the answer ends that."""
        return self._observers.subscribe(observer)

    def find(self, config_id: str) -> Configuration:
        """A configuration. Raises ServiceError (404)."""
        found = self._all.get(config_id)
        if found is None:
            raise ServiceError(404, "ConfigurationNotFound", f"The configuration {config_id!r} does not exist.")
        return found

    def document(self, config_id: str) -> dict[str, Any]:
        """A configuration with the results of its metrics, as the REST API gives it. Raises ServiceError (404)."""
        document = self.find(config_id).to_json()
        for metrics in (document["systemMetrics"], document["metrics"]):
            metrics["results"] = {name: self._result(text) for name, text in metrics["queries"].items()}
        return document

    def documents(self) -> list[dict[str, Any]]:
        """All of them, in the order of their ids."""
        return [self.document(config_id) for config_id in sorted(self._all)]

    def put(self, config_id: str, body: Mapping[str, Any], if_match: str | None = None) -> bool:
        """Create a configuration, or update the one that `if_match` (an If-Match header) names; True when it is new.

        Raises ServiceError: 400 for what it says, 404, 409 and 412 for what there is.
        """
        if not _ID.match(config_id):
            hint = "up to 128 lower-case letters, digits and - : + % _ # * ? ! ( ) , = @ ; '"
            raise ServiceError(400, "ArgumentInvalid", f"{config_id!r} is no id of a configuration: {hint}.")
        wanted = _entity_tag(if_match)
        known = self._all.get(config_id)
        if wanted is None and known is not None:
            unquoted = "; an ETag in If-Match counts only in quotes" if if_match else ""
            message = f"The configuration {config_id!r} exists already{unquoted}."
            raise ServiceError(409, "ConfigurationAlreadyExists", message)
        if wanted is not None:
            known = self._matching(config_id, wanted)
        self._put(_read(config_id, body, known, self._now()))
        return known is None

    def delete(self, config_id: str, if_match: str | None = None) -> None:
        """Delete a configuration. Raises ServiceError (404, 412)."""
        self._matching(config_id, _entity_tag(if_match) or "*")
        self._keep(CONFIGURATION, config_id, None)
        del self._all[config_id]
        self._observers.tell()

    def test(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """What is wrong with a target condition and with metric queries; empty when nothing is."""
        answer: dict[str, Any] = {}
        condition, queries = body.get("targetCondition"), body.get("customMetricQueries")
        if condition:
            try:
                check_target(_text("targetCondition", condition))
            except ServiceError as wrong:
                answer["targetConditionError"] = wrong.message
        errors = {name: _metric_error(text) for name, text in _texts("customMetricQueries", queries).items()}
        if wrong_ones := {name: error for name, error in errors.items() if error}:
            answer["customMetricQueryErrors"] = wrong_ones
        return answer

    def _put(self, configuration: Configuration) -> None:
        self._keep(CONFIGURATION, configuration.id, configuration.to_json() | {"kept": _kept(configuration)})
        self._all[configuration.id] = configuration
        self._observers.tell()

    def _matching(self, config_id: str, wanted: str) -> Configuration:
        known = self.find(config_id)
        if wanted not in {"*", known.etag}:
            raise ServiceError(412, "PreconditionFailed", f"The configuration {config_id!r} has another ETag.")
        return known

    def _result(self, text: str) -> int:
        return self._count(parse_query(text)) if text else 0


def _entity_tag(if_match: str | None) -> str | None:
    """What an If-Match header names; only in quotes it counts, but for `*`."""
    value = (if_match or "").strip()
    if value == "*":
        return value
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else None


# -- reading -----------------------------------------------------------------------------------------------------------


def _read(config_id: str, body: Mapping[str, Any], known: Configuration | None, now: float) -> Configuration:
    if body.get("id", config_id) != config_id:
        _invalid(f"the id in the body is {body['id']!r}, that in the address {config_id!r}")
    content = body.get("content")
    if not isinstance(content, Mapping):
        raise ServiceError(400, "InvalidConfigurationContent", "The configuration has no content.")
    content = {name: section for name, section in content.items() if section is not None}
    kind = kind_of(content)
    condition = _text("targetCondition", body.get("targetCondition") or "")
    if condition.strip():
        check_target(condition, known.kind if known is not None else kind)
    priority = body.get("priority") or 0
    if not isinstance(priority, int) or isinstance(priority, bool) or priority < 0:
        _invalid(f"{priority!r} is no priority")
    queries = _texts("metrics.queries", _object("metrics", body.get("metrics")).get("queries"))
    _check_metrics(queries)
    base = known or Configuration(config_id, kind, content, created=now)
    return replace(
        base,
        target_condition=condition,
        priority=priority,
        labels=_texts("labels", body.get("labels")),
        metric_queries=queries,
        schema_version=_text("schemaVersion", body.get("schemaVersion") or base.schema_version),
        updated=now,
        number=base.number + 1 if known is not None else 1,
    )


def check_target(condition: str, kind: Kind | None = None) -> None:
    """Refuse a target condition that cannot be read, names other properties than it may, or is for another kind."""
    try:
        query, paths = parse_target(condition)
    except QueryError as wrong:
        raise ServiceError(400, "InvalidConfigurationTargetCondition", wrong.message, wrong.hint) from None
    for path, token in paths:
        if not any(path[: len(start)] == start for start in _TARGETABLE):
            message = (
                f"{token!s} cannot be in a target condition: only deviceId, moduleId, tags and properties.reported"
            )
            raise ServiceError(400, "InvalidConfigurationTargetCondition", message)
    if kind is not None and (query.collection == MODULES) is not (kind is Kind.MODULE):
        wanted = "FROM devices.modules WHERE ..." if kind is Kind.MODULE else "a condition on devices"
        message = f"The target condition of {kind.value} has to be {wanted}."
        raise ServiceError(400, "InvalidConfigurationTargetCondition", message)


def _check_metrics(queries: Mapping[str, str]) -> None:
    if len(queries) > _MOST_METRICS:
        code = "InvalidConfigurationCustomMetricsQuery"
        raise ServiceError(400, code, f"A configuration has at most {_MOST_METRICS} custom metrics.")
    for name, text in queries.items():
        if error := _metric_error(text):
            raise ServiceError(400, "InvalidConfigurationCustomMetricsQuery", f"The metric {name!r}: {error}")


def _metric_error(text: str) -> str:
    try:
        parse_query(text)
    except QueryError as wrong:
        return wrong.message
    return ""


def _object(name: str, value: Any) -> Mapping[str, Any]:
    if value is None:
        return {}
    return value if isinstance(value, Mapping) else _invalid(f"{name} must be a JSON object")


def _texts(name: str, value: Any) -> dict[str, str]:
    return {key: _text(f"{name}.{key}", one) for key, one in _object(name, value).items()}


def _text(name: str, value: Any) -> str:
    return value if isinstance(value, str) else _invalid(f"{name} must be a text")


def _invalid(why: str) -> NoReturn:
    raise ServiceError(400, "ArgumentInvalid", f"The configuration is invalid: {why}.")


# -- keeping -----------------------------------------------------------------------------------------------------------


def _kept(configuration: Configuration) -> dict[str, Any]:
    return {"created": configuration.created, "updated": configuration.updated, "number": configuration.number}


def _from_kept(config_id: str, document: Mapping[str, Any]) -> Configuration:
    content = document["content"]
    return Configuration(
        config_id,
        kind_of(content),
        content,
        document["targetCondition"],
        document["priority"],
        document["labels"],
        document["metrics"]["queries"],
        document["schemaVersion"],
        **document["kept"],
    )

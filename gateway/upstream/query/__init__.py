"""The query language of IoT Hub over twins and jobs.

queries = Queries({"devices": devices, "devices.modules": modules, "devices.jobs": jobs})
queries.page("SELECT deviceId FROM devices WHERE tags.site = 'munich'").items
"""

from gateway.upstream.query.errors import QueryError
from gateway.upstream.query.paging import Documents, Page, Queries, Tokens
from gateway.upstream.query.parser import Query, parse_query, parse_target

__all__ = ["Documents", "Page", "Queries", "Query", "QueryError", "Tokens", "parse_query", "parse_target"]

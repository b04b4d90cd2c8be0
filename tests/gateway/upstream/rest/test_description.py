"""The API's own description."""

from openapi_spec_validator import validate

CALLS = {
    "/devices": {"get", "post"},
    "/devices/{device_id}": {"get", "put", "delete"},
    "/devices/{device_id}/modules": {"get"},
    "/devices/{device_id}/modules/{module_id}": {"get", "put", "delete"},
    "/devices/{device_id}/commands": {"delete"},
    "/twins/{device_id}": {"get", "patch", "put"},
    "/twins/{device_id}/modules/{module_id}": {"get", "patch", "put"},
    "/twins/{device_id}/methods": {"post"},
    "/twins/{device_id}/modules/{module_id}/methods": {"post"},
    "/messages/serviceBound/feedback": {"get"},
    "/messages/serviceBound/feedback/{lock_token}": {"delete"},
    "/messages/serviceBound/feedback/{lock_token}/abandon": {"post"},
    "/statistics/devices": {"get"},
    "/statistics/service": {"get"},
    "/devices/query": {"post"},
    "/configurations": {"get"},
    "/configurations/testQueries": {"post"},
    "/configurations/{config_id}": {"get", "put", "delete"},
    "/devices/{device_id}/applyConfigurationContent": {"post"},
    "/jobs/v2/query": {"get"},
    "/jobs/v2/{job_id}": {"get", "put"},
    "/jobs/v2/{job_id}/cancel": {"post"},
    "/jobs/create": {"post"},
    "/jobs": {"get"},
    "/jobs/{job_id}": {"get", "delete"},
    "/digitaltwins/{twin_id}": {"get", "patch"},
    "/digitaltwins/{twin_id}/commands/{command}": {"post"},
    "/digitaltwins/{twin_id}/components/{component}/commands/{command}": {"post"},
}


async def test_description_is_openapi_and_has_every_call(call):
    """It needs no token, is valid, and names each call of the api-version 2021-04-12 that back ends know."""
    answer = await call("GET", "/openapi.json", auth=False, query="")
    assert answer.status == 200
    validate(answer.body)
    assert {path: set(methods) for path, methods in answer.body["paths"].items()} == CALLS


async def test_description_says_what_is_answered(call):
    """Each call wants a token and an api-version, and is refused in IoT Hub's shape; nothing answers 422."""
    document = (await call("GET", "/openapi.json", auth=False, query="")).body
    assert document["security"] == [{"sharedAccessSignature": []}]
    for methods in document["paths"].values():
        for operation in methods.values():
            assert [one["name"] for one in operation["parameters"]].count("api-version") == 1
            assert "422" not in operation["responses"]
            schema = operation["responses"]["default"]["content"]["application/json"]["schema"]
            assert schema == {"$ref": "#/components/schemas/Error"}
    assert set(document["paths"]["/devices/{device_id}"]["delete"]["responses"]) == {"204", "default"}
    assert "HTTPValidationError" not in document["components"]["schemas"]

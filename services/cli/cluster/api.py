"""Requests to the API server of a Kubernetes cluster, with JSON as Python objects."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from motet.core.errors import AccessError, FaultError, Reason, RetryableError

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient

Json = dict[str, Any]

PAGE = 250
"""Number of objects in a response to a list request."""

_TIMEOUT, _FORWARDED_TIMEOUT = 30.0, 5.0
"""Maximum duration of a request, and of one to a pod, which a NetworkPolicy may drop, in seconds."""

_MAX_MESSAGE = 500
"""Maximum number of characters of a server's message in an error."""

_MERGE_PATCH = "application/merge-patch+json"


class ApiStatusError(FaultError):
    """The API server answered with an error status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"the API server answered {status}: {message}")
        self.status = status


class ClusterApi:
    """A client of the API server. `namespace` is the one that the caller or the kubeconfig names.

    Objects are JSON as the server sends it. All methods raise `RetryableError` if the server cannot be reached,
    `AccessError` if it refuses the credentials or the request (status 401 or 403), `ApiStatusError` for other error
    statuses, and `FaultError` for a response that is no JSON object.
    """

    def __init__(self, client: ApiClient, namespace: str, cluster: str) -> None:
        self.namespace = namespace
        self.cluster = cluster
        """The name of the cluster's configuration, for people."""
        self._client = client

    async def get(self, path: str, **query: str) -> Json:
        """Return an object."""
        return _object(await self._request("GET", path, query))

    async def find(self, path: str) -> Json | None:
        """Return an object, or None if it does not exist."""
        try:
            return await self.get(path)
        except ApiStatusError as error:
            if error.status == 404:
                return None
            raise

    async def list(self, path: str, **query: str) -> list[Json]:
        """Return all objects of a list, which is read in pages."""
        found: list[Json] = []
        more: Mapping[str, str] = {}
        while True:
            page = await self.get(path, limit=str(PAGE), **query, **more)
            found += page["items"]
            token = page.get("metadata", {}).get("continue")
            if not token:
                return found
            more = {"continue": token}

    async def text(self, path: str) -> str:
        """Return the response of a pod to which the API server forwards the request."""
        return (await self._request("GET", path, {}, timeout=_FORWARDED_TIMEOUT)).decode("utf-8", "replace")

    async def post(self, path: str, body: Json) -> Json:
        """Create an object, and return the response."""
        return _object(await self._request("POST", path, {}, body))

    async def patch(self, path: str, body: Json) -> Json:
        """Merge a patch into an object, and return the new object."""
        return _object(await self._request("PATCH", path, {}, body))

    async def _request(
        self, method: str, path: str, query: Mapping[str, str], body: Json | None = None, timeout: float = _TIMEOUT
    ) -> bytes:
        import aiohttp

        target = f"{path}?{urlencode(query)}" if query else path
        headers = {"Accept": "application/json"}
        if method == "PATCH":
            headers["Content-Type"] = _MERGE_PATCH
        try:
            arguments = await self._client.param_serialize(
                method, target, header_params=headers, body=body, auth_settings=["BearerToken"]
            )
            response = await self._client.call_api(*arguments, _request_timeout=timeout)
            async with response.response:
                content: bytes = await response.read()
        except (aiohttp.ClientError, OSError) as error:
            raise RetryableError(
                f"the API server of {self.cluster} cannot be reached: {error or type(error).__name__}; correct the "
                "kubeconfig, or check the network, the VPN and the cluster"
            ) from None
        if response.status >= 400:
            raise self._error(response.status, _message_of(content) or str(response.reason))
        return content

    def _error(self, status: int, message: str) -> Exception:
        if status == 401:
            return AccessError(
                f"the API server refuses the credentials of {self.cluster}: log in again, because a token may have "
                "expired",
                Reason.CREDENTIALS_INVALID,
            )
        if status == 403:
            return AccessError(
                f"{message}: ask for a role with the rules of docs/kubernetes.md, Command line", Reason.ROLE_MISSING
            )
        return ApiStatusError(status, message)


def _object(content: bytes) -> Json:
    try:
        parsed = json.loads(content)
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict):
        raise FaultError(
            "the response is no JSON object, so the server may be no API server of Kubernetes: correct the kubeconfig"
        )
    return parsed


def _message_of(content: bytes) -> str:
    """Return the message of a response with an error status, or "" if it has none."""
    try:
        message = json.loads(content)["message"]
    except (ValueError, TypeError, KeyError):
        message = content.decode("utf-8", "replace").strip()
    return str(message)[:_MAX_MESSAGE]

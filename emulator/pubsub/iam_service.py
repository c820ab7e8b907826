"""google.iam.v1.IAMPolicy for Pub/Sub's resources: policies are kept and returned.

DIFFERS: nothing is enforced. Whoever asks may do all, and TestIamPermissions says so.
Source: https://cloud.google.com/pubsub/docs/access-control
"""

import hashlib
from typing import Any

from google.iam.v1 import iam_policy_pb2, policy_pb2

from emulator.errors import Aborted, InvalidArgument, NotFound, Unimplemented
from emulator.pubsub.names import short_name
from emulator.pubsub.runtime import Runtime
from emulator.wire import Context, Rpc, Service


class IamPolicies:
    """The methods, on one runtime."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def _check(self, resource: str) -> None:
        broker = self._runtime.broker
        kind = resource.split("/")[2] if resource.count("/") == 3 else ""
        if kind == "topics":
            broker.topic(resource)
        elif kind == "subscriptions":
            broker.subscription(resource)
        elif kind == "snapshots":
            broker.snapshot(resource, self._runtime.now_us())
        elif kind == "schemas":
            broker.schemas.get(resource)
        else:
            raise InvalidArgument(f"Invalid [resource] name: (name={resource})")

    def set_iam_policy(self, request: Any, _context: Context) -> Any:
        """SetIamPolicy; a stale etag is refused."""
        self._check(request.resource)
        others = set(request.update_mask.paths) - {"bindings", "etag"}
        if others:
            raise Unimplemented(
                f"SetIamPolicyRequest.update_mask is not supported: {sorted(others)[0]} is "
                "always replaced with the rest of the policy"
            )
        present = self._present(request.resource)
        given = request.policy
        if given.etag and given.etag != present.etag:
            raise Aborted(
                "There were concurrent policy changes. Please retry the whole "
                f"read-modify-write with exponential backoff (resource="
                f"{short_name(request.resource)})."
            )
        policy = policy_pb2.Policy()
        policy.CopyFrom(given)
        policy.ClearField("etag")
        self._runtime.broker.policies[request.resource] = policy.SerializeToString(
            deterministic=True
        )
        return self._present(request.resource)

    def get_iam_policy(self, request: Any, _context: Context) -> Any:
        """GetIamPolicy."""
        self._check(request.resource)
        return self._present(request.resource)

    def _present(self, resource: str) -> Any:
        stored = self._runtime.broker.policies.get(resource, b"")
        policy = policy_pb2.Policy.FromString(stored)
        policy.etag = hashlib.sha256(stored).digest()[:8]
        return policy

    def permissions(self, request: Any, _context: Context) -> Any:
        """TestIamPermissions: all of them, or none on a resource that does not exist."""
        try:
            self._check(request.resource)
        except NotFound:
            return iam_policy_pb2.TestIamPermissionsResponse()
        for permission in request.permissions:
            if "*" in permission or not permission.startswith("pubsub."):
                raise InvalidArgument(f"permissions: {permission!r} is none of Pub/Sub's")
        return iam_policy_pb2.TestIamPermissionsResponse(permissions=request.permissions)


def iam_service(runtime: Runtime) -> Service:
    """The table of google.iam.v1.IAMPolicy."""
    policies = IamPolicies(runtime)
    return Service(
        "google.iam.v1.IAMPolicy",
        {
            "SetIamPolicy": Rpc(
                iam_policy_pb2.SetIamPolicyRequest, policy_pb2.Policy, policies.set_iam_policy
            ),
            "GetIamPolicy": Rpc(
                iam_policy_pb2.GetIamPolicyRequest, policy_pb2.Policy, policies.get_iam_policy
            ),
            "TestIamPermissions": Rpc(
                iam_policy_pb2.TestIamPermissionsRequest,
                iam_policy_pb2.TestIamPermissionsResponse,
                policies.permissions,
            ),
        },
    )

"""The message types of google.firestore.v1; ExplainMetrics is in `query_profile` alone."""

from emulator.message_types import import_types

types, query_profile = import_types("google.cloud.firestore_v1", "types", "types.query_profile")

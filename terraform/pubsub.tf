resource "google_pubsub_schema" "schema" {
  for_each = { for name, topic in local.topology.topics : name => topic.schema if topic.schema != null }

  project    = var.project
  name       = each.key
  type       = "PROTOCOL_BUFFER"
  definition = file("${path.module}/../functions/${each.value.definition}")
  depends_on = [time_sleep.services_known]
}

# A topic takes some minutes to go by a new schema or encoding: who writes by it waits for that.
# https://cloud.google.com/pubsub/docs/schemas
resource "time_sleep" "schemas_known" {
  create_duration = "180s"
  triggers = {
    for name, schema in google_pubsub_schema.schema :
    name => "${local.topology.topics[name].schema.encoding} ${sha256(schema.definition)}"
  }
  depends_on = [google_pubsub_topic.topic]
}

resource "google_pubsub_topic" "topic" {
  for_each = local.topology.topics

  project                    = var.project
  name                       = each.key
  message_retention_duration = try("${each.value.retention_seconds}s", null)

  message_storage_policy {
    allowed_persistence_regions = [var.region]
  }

  dynamic "schema_settings" {
    for_each = each.value.schema == null ? [] : [each.value.schema]
    content {
      schema   = google_pubsub_schema.schema[each.key].id
      encoding = schema_settings.value.encoding
    }
  }

  depends_on = [time_sleep.services_known]
}

resource "google_pubsub_subscription" "subscription" {
  for_each = local.topology.subscriptions

  project                    = var.project
  name                       = each.key
  topic                      = google_pubsub_topic.topic[each.value.topic].id
  ack_deadline_seconds       = each.value.ack_deadline_seconds
  enable_message_ordering    = false # an event that fails would hold back those behind it
  message_retention_duration = "${each.value.retention_seconds}s"

  expiration_policy {
    ttl = "" # never: the default deletes it after 31 days without traffic
  }

  retry_policy {
    minimum_backoff = "${each.value.minimum_backoff_seconds}s"
    maximum_backoff = "${each.value.maximum_backoff_seconds}s"
  }

  dynamic "dead_letter_policy" {
    for_each = each.value.dead_letter_topic == null ? [] : [each.value]
    content {
      dead_letter_topic     = google_pubsub_topic.topic[dead_letter_policy.value.dead_letter_topic].id
      max_delivery_attempts = dead_letter_policy.value.max_delivery_attempts
    }
  }

  dynamic "push_config" {
    for_each = compact([each.value.pushes_to])
    content {
      # functions-framework reads the topic from the path and from nowhere else.
      push_endpoint = "${local.uris[push_config.value]}/${google_pubsub_topic.topic[each.value.topic].id}"
      oidc_token {
        service_account_email = google_service_account.caller[push_config.value].email
        audience              = local.uris[push_config.value]
      }
    }
  }
}

# What someone has to look at. docs/deploy.md says what to do about each.

locals {
  services_of_http = join(", ", [for name in keys(local.http) : "\"${name}\""])

  alerts = {
    undelivered = {
      title       = "Messages wait too long"
      explanation = "A function has not taken its messages for 15 minutes: it fails, or what it needs is down. Nothing is lost: they come again, and after the last attempt they are in the dead-letter subscription."
      filter      = "metric.type=\"pubsub.googleapis.com/subscription/oldest_unacked_message_age\" AND resource.type=\"pubsub_subscription\" AND resource.labels.subscription_id=one_of(${join(", ", [for name in keys(local.pushed) : "\"${name}\""])})"
      aligner     = "ALIGN_MAX"
      reducer     = "REDUCE_MAX"
      group_by    = ["resource.label.subscription_id"]
      above       = 900 # seconds
    }
    dead_letters = {
      title       = "Messages were dead-lettered"
      explanation = "Some message failed every attempt. It is kept for 31 days: look at it, mend what failed, and publish it again."
      filter      = "metric.type=\"pubsub.googleapis.com/subscription/num_undelivered_messages\" AND resource.type=\"pubsub_subscription\" AND resource.labels.subscription_id=one_of(${join(", ", [for name, s in local.topology.subscriptions : "\"${name}\"" if contains(local.dead_letter_topics, s.topic)])})"
      aligner     = "ALIGN_MAX"
      reducer     = "REDUCE_MAX"
      group_by    = ["resource.label.subscription_id"]
      above       = 0
    }
    outbox = {
      title       = "Events wait in the outbox"
      explanation = "An event has been pending for 15 minutes: Pub/Sub refuses it or cannot be reached, or the relay cannot do its work. Nothing is lost: it goes out once that is mended."
      filter      = "metric.type=\"logging.googleapis.com/user/${google_logging_metric.outbox_oldest_pending.name}\" AND resource.type=\"cloud_run_revision\""
      aligner     = "ALIGN_PERCENTILE_99"
      reducer     = "REDUCE_MAX"
      group_by    = []
      above       = 900 # seconds
    }
  }
}

resource "google_monitoring_notification_channel" "email" {
  count = var.alert_email == null ? 0 : 1

  project      = var.project
  display_name = "sign-up alerts"
  type         = "email"
  labels       = { email_address = var.alert_email }
  depends_on   = [google_project_service.service]
}

# The relay says in each run how long the oldest event has been waiting, 0 if none is.
resource "google_logging_metric" "outbox_oldest_pending" {
  project         = var.project
  name            = "outbox_oldest_pending_seconds"
  description     = "Age of the oldest pending event at each run of the relay."
  filter          = "resource.type=\"cloud_run_revision\" AND jsonPayload.message=\"relay_run\""
  value_extractor = "EXTRACT(jsonPayload.oldest_pending_seconds)"

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "DISTRIBUTION"
    unit        = "s"
  }

  depends_on = [google_project_service.service]
}

resource "google_monitoring_alert_policy" "above" {
  for_each = local.alerts

  project               = var.project
  display_name          = each.value.title
  combiner              = "OR"
  notification_channels = google_monitoring_notification_channel.email[*].id

  conditions {
    display_name = each.value.title
    condition_threshold {
      filter          = each.value.filter
      comparison      = "COMPARISON_GT"
      threshold_value = each.value.above
      duration        = "0s"
      aggregations {
        alignment_period     = "300s"
        per_series_aligner   = each.value.aligner
        cross_series_reducer = each.value.reducer
        group_by_fields      = each.value.group_by
      }
    }
  }

  documentation {
    content   = each.value.explanation
    mime_type = "text/markdown"
  }

  depends_on = [google_project_service.service]
}

resource "google_monitoring_alert_policy" "failing" {
  count = length(local.http) == 0 ? 0 : 1

  project               = var.project
  display_name          = "Sign-ups fail"
  combiner              = "OR"
  notification_channels = google_monitoring_notification_channel.email[*].id

  conditions {
    display_name = "more than 5 % of the requests are answered 5xx"
    condition_threshold {
      filter             = "metric.type=\"run.googleapis.com/request_count\" AND resource.type=\"cloud_run_revision\" AND metric.labels.response_code_class=\"5xx\" AND resource.labels.service_name=one_of(${local.services_of_http})"
      denominator_filter = "metric.type=\"run.googleapis.com/request_count\" AND resource.type=\"cloud_run_revision\" AND resource.labels.service_name=one_of(${local.services_of_http})"
      comparison         = "COMPARISON_GT"
      threshold_value    = 0.05
      duration           = "300s"
      aggregations {
        alignment_period     = "300s"
        per_series_aligner   = "ALIGN_RATE"
        cross_series_reducer = "REDUCE_SUM"
        group_by_fields      = ["resource.label.service_name"]
      }
      denominator_aggregations {
        alignment_period     = "300s"
        per_series_aligner   = "ALIGN_RATE"
        cross_series_reducer = "REDUCE_SUM"
        group_by_fields      = ["resource.label.service_name"]
      }
    }
  }

  documentation {
    content   = "Look at the function's log for severity ERROR: store_unavailable is Firestore, unexpected_error is ours."
    mime_type = "text/markdown"
  }

  depends_on = [google_project_service.service]
}

resource "google_monitoring_alert_policy" "relay_silent" {
  project               = var.project
  display_name          = "The relay does not run"
  combiner              = "OR"
  notification_channels = google_monitoring_notification_channel.email[*].id

  conditions {
    display_name = "no run of the relay for 15 minutes"
    condition_absent {
      filter   = "metric.type=\"logging.googleapis.com/user/${google_logging_metric.outbox_oldest_pending.name}\" AND resource.type=\"cloud_run_revision\""
      duration = "900s"
      aggregations {
        alignment_period     = "60s"
        per_series_aligner   = "ALIGN_COUNT"
        cross_series_reducer = "REDUCE_SUM"
      }
    }
  }

  documentation {
    content   = "Cloud Scheduler does not reach the relay, or it ends before it says anything. Sign-ups go on; an event that could not be published at once waits."
    mime_type = "text/markdown"
  }

  depends_on = [google_project_service.service]
}

data "google_project" "project" {
  project_id = var.project
}

resource "google_billing_budget" "month" {
  count = var.budget == null ? 0 : 1

  billing_account = var.budget.billing_account
  display_name    = "${var.project}: sign-up"

  budget_filter {
    projects = ["projects/${data.google_project.project.number}"]
  }

  amount {
    specified_amount {
      currency_code = var.budget.currency
      units         = tostring(var.budget.amount)
    }
  }

  dynamic "threshold_rules" {
    for_each = [0.5, 0.9, 1.0]
    content {
      threshold_percent = threshold_rules.value
    }
  }

  all_updates_rule {
    monitoring_notification_channels = google_monitoring_notification_channel.email[*].id
  }

  depends_on = [google_project_service.service]
}

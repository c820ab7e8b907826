# What someone has to look at. docs/deploy.md says what to do about each.

locals {
  names = { # as a Monitoring filter takes them
    for what, names in {
      dead_letters = [for name, s in local.topology.subscriptions : name if contains(local.dead_letter_topics, s.topic)]
      http         = keys(local.http)
      pushed       = keys(local.pushed)
    } : what => "one_of(${join(", ", [for name in names : "\"${name}\""])})"
  }

  alerts = {
    undelivered = {
      title       = "Messages wait too long"
      explanation = "A function has not taken its messages for 15 minutes: it fails, or what it needs is down. Nothing is lost: they come again, and after the last attempt they are in the dead-letter subscription."
      filter      = "metric.type=\"pubsub.googleapis.com/subscription/oldest_unacked_message_age\" AND resource.type=\"pubsub_subscription\" AND resource.labels.subscription_id=${local.names.pushed}"
      aligner     = "ALIGN_MAX"
      reducer     = "REDUCE_MAX"
      group_by    = ["resource.label.subscription_id"]
      above       = 900 # seconds
    }
    dead_letters = {
      title       = "Messages were dead-lettered"
      explanation = "Some message failed every attempt. It is kept for 31 days: look at it, mend what failed, and publish it again."
      filter      = "metric.type=\"pubsub.googleapis.com/subscription/num_undelivered_messages\" AND resource.type=\"pubsub_subscription\" AND resource.labels.subscription_id=${local.names.dead_letters}"
      aligner     = "ALIGN_MAX"
      reducer     = "REDUCE_MAX"
      group_by    = ["resource.label.subscription_id"]
      above       = 0
    }
    outbox = {
      title       = "Events wait in the outbox"
      explanation = "An event has been pending for 15 minutes: Pub/Sub cannot be reached, or the relay cannot do its work. Nothing is lost: it goes out once that is mended."
      filter      = "metric.type=\"logging.googleapis.com/user/${time_sleep.metric_known.triggers.name}\" AND resource.type=\"cloud_run_revision\""
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
  depends_on   = [time_sleep.services_known]

  lifecycle { # whatever names it is changed before it goes: Monitoring keeps one that is in use
    create_before_destroy = true
  }
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

  bucket_options { # a percentile is a guess within its bucket: the alert's bound is a bucket's
    explicit_buckets {
      bounds = [60, 300, 900, 1800, 3600, 21600, 86400]
    }
  }

  depends_on = [time_sleep.services_known]
}

# Monitoring does not know a new metric for some minutes, and refuses a policy that names it.
# https://github.com/hashicorp/terraform-provider-google/issues/11102
resource "time_sleep" "metric_known" {
  create_duration = "300s" # the functions take as long
  triggers        = { name = google_logging_metric.outbox_oldest_pending.name }
}

resource "google_monitoring_alert_policy" "above" {
  for_each = { for name, alert in local.alerts : name => alert if !strcontains(alert.filter, "one_of()") }

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

  depends_on = [time_sleep.services_known]
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
      filter             = "metric.type=\"run.googleapis.com/request_count\" AND resource.type=\"cloud_run_revision\" AND metric.labels.response_code_class=\"5xx\" AND resource.labels.service_name=${local.names.http}"
      denominator_filter = "metric.type=\"run.googleapis.com/request_count\" AND resource.type=\"cloud_run_revision\" AND resource.labels.service_name=${local.names.http}"
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

  depends_on = [time_sleep.services_known]
}

resource "google_monitoring_alert_policy" "relay_silent" {
  project               = var.project
  display_name          = "The relay does not run"
  combiner              = "OR"
  notification_channels = google_monitoring_notification_channel.email[*].id

  conditions {
    display_name = "no run of the relay for 15 minutes"
    condition_absent {
      filter   = "metric.type=\"logging.googleapis.com/user/${time_sleep.metric_known.triggers.name}\" AND resource.type=\"cloud_run_revision\""
      duration = "900s"
      aggregations {
        alignment_period     = "60s"
        per_series_aligner   = "ALIGN_PERCENTILE_99" # of a distribution Monitoring takes no ALIGN_COUNT
        cross_series_reducer = "REDUCE_MAX"
      }
    }
  }

  documentation {
    content   = "Cloud Scheduler does not reach the relay, or the relay cannot ask Firestore what is pending. Sign-ups go on where Firestore does; an event that could not be published at once waits. It watches from the relay's first run on."
    mime_type = "text/markdown"
  }

  depends_on = [time_sleep.services_known]
}

# What no retry can mend is kept, and waits for someone to look at it.
resource "google_monitoring_alert_policy" "set_aside" {
  project               = var.project
  display_name          = "An event was set aside"
  combiner              = "OR"
  notification_channels = google_monitoring_notification_channel.email[*].id

  conditions {
    display_name = "an event that Pub/Sub refuses, or that send-email cannot read"
    condition_matched_log {
      filter = "resource.type=\"cloud_run_revision\" AND jsonPayload.message=(\"outbox_event_refused\" OR \"message_broken\")"
    }
  }

  alert_strategy { # a policy on logs has to have one
    notification_rate_limit {
      period = "3600s"
    }
  }

  documentation {
    content   = "outbox_event_refused: a record of the outbox has the state refused, and its user no mail; mend what Pub/Sub refuses and set the state back to pending. message_broken: the message is in broken_messages."
    mime_type = "text/markdown"
  }

  depends_on = [time_sleep.services_known]
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
      units = tostring(var.budget.amount) # in the billing account's currency
    }
  }

  dynamic "threshold_rules" {
    for_each = [0.5, 0.9, 1.0]
    content {
      threshold_percent = threshold_rules.value
    }
  }

  dynamic "all_updates_rule" {
    for_each = google_monitoring_notification_channel.email
    content {
      monitoring_notification_channels = [all_updates_rule.value.id]
    }
  }

  depends_on = [time_sleep.services_known]
}

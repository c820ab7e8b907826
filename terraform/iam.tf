# Who may do what. Each function runs as an identity of its own, and is called by another one that
# nothing else uses; each right is on one topic, secret or service where the cloud allows it.

resource "google_service_account" "function" {
  for_each = local.functions

  project      = var.project
  account_id   = each.key
  display_name = "runs ${each.key}"
  depends_on   = [time_sleep.services_known]
}

resource "google_service_account" "caller" {
  for_each = { for name, function in local.functions : name => function if !function.trigger.http }

  project      = var.project
  account_id   = "call-${each.key}"
  display_name = "calls ${each.key}"
  depends_on   = [time_sleep.services_known]
}

resource "google_service_account" "build" {
  project      = var.project
  account_id   = "build-functions"
  display_name = "builds the functions"
  depends_on   = [time_sleep.services_known]
}

# --- what a function may do -----------------------------------------------------------------

resource "google_project_iam_member" "firestore" {
  for_each = { for name, function in local.functions : name => function if function.firestore }

  project = var.project
  role    = "roles/datastore.user" # documents; rights on a part of them do not exist
  member  = google_service_account.function[each.key].member
}

resource "google_pubsub_topic_iam_member" "publisher" {
  for_each = local.publishers

  project = var.project
  topic   = google_pubsub_topic.topic[each.value.topic].name
  role    = "roles/pubsub.publisher"
  member  = google_service_account.function[each.value.function].member
}

resource "google_secret_manager_secret_iam_member" "reader" {
  for_each = local.secret_readers

  project   = var.project
  secret_id = google_secret_manager_secret.secret[each.value.secret].secret_id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.function[each.value.function].member
}

# --- who may call it ------------------------------------------------------------------------

# All of this role's members on a service of ours: who is not listed may not call it.
resource "google_cloud_run_v2_service_iam_binding" "invokers" {
  for_each = length(var.invokers) == 0 ? {} : local.http

  project  = var.project
  location = var.region
  name     = google_cloudfunctions2_function.function[each.key].name
  role     = "roles/run.invoker"
  members  = var.invokers

  lifecycle { # a service that was made anew has lost it
    replace_triggered_by = [google_cloudfunctions2_function.function[each.key].id]
  }
}

resource "google_cloud_run_v2_service_iam_member" "caller" {
  for_each = google_service_account.caller

  project  = var.project
  location = var.region
  name     = google_cloudfunctions2_function.function[each.key].name
  role     = "roles/run.invoker"
  member   = each.value.member

  lifecycle {
    replace_triggered_by = [google_cloudfunctions2_function.function[each.key].id]
  }
}

# --- what Pub/Sub itself may do -------------------------------------------------------------
# Without one of these nothing fails and nothing is said: messages are never delivered, or never
# dead-lettered. https://cloud.google.com/pubsub/docs/handling-failures#grant_forwarding_permissions

resource "google_service_account_iam_member" "push_token" {
  for_each = local.pushed

  service_account_id = google_service_account.caller[each.value.pushes_to].name
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = google_project_service_identity.pubsub.member
}

resource "google_pubsub_topic_iam_member" "dead_letter" {
  for_each = local.dead_letter_topics

  project = var.project
  topic   = google_pubsub_topic.topic[each.key].name
  role    = "roles/pubsub.publisher"
  member  = google_project_service_identity.pubsub.member
}

resource "google_pubsub_subscription_iam_member" "dead_letter" {
  for_each = { for name, s in local.topology.subscriptions : name => s if s.dead_letter_topic != null }

  project      = var.project
  subscription = google_pubsub_subscription.subscription[each.key].name
  role         = "roles/pubsub.subscriber"
  member       = google_project_service_identity.pubsub.member
}

# --- what the build may do ------------------------------------------------------------------
# https://cloud.google.com/functions/docs/securing/build-custom-sa

resource "google_project_iam_member" "build_log" {
  project = var.project
  role    = "roles/logging.logWriter"
  member  = google_service_account.build.member
}

resource "google_project_iam_member" "build_source" {
  project = var.project
  role    = "roles/storage.objectViewer"
  member  = google_service_account.build.member

  condition { # a build runs code of whatever is installed: not Terraform's state, nor any other bucket
    title      = "only_function_sources"
    expression = "resource.name.startsWith('projects/_/buckets/gcf-v2-sources-') || resource.name.startsWith('projects/_/buckets/${google_storage_bucket.source.name}/')"
  }
}

resource "google_artifact_registry_repository_iam_member" "build" {
  project    = var.project
  location   = google_artifact_registry_repository.functions.location
  repository = google_artifact_registry_repository.functions.name
  role       = "roles/artifactregistry.writer"
  member     = google_service_account.build.member
}

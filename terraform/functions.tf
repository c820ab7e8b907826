resource "google_storage_bucket" "source" {
  project                     = var.project
  name                        = "${var.project}-function-source"
  location                    = var.region
  force_destroy               = true # all of it can be made again
  public_access_prevention    = "enforced"
  uniform_bucket_level_access = true
  depends_on                  = [time_sleep.services_known]
}

data "archive_file" "source" {
  for_each = module.topology.bundles

  type        = "zip"
  output_path = "${path.module}/.build/${each.key}.zip"

  dynamic "source" {
    for_each = each.value
    content {
      filename = source.key
      content  = source.value
    }
  }
}

resource "google_storage_bucket_object" "source" {
  for_each = data.archive_file.source

  bucket = google_storage_bucket.source.name
  name   = "${each.key}-${each.value.output_sha256}.zip" # another name is what redeploys a function
  source = each.value.output_path
}

resource "google_artifact_registry_repository" "functions" {
  project       = var.project
  location      = var.region
  repository_id = "functions"
  format        = "DOCKER"
  description   = "The functions' images."

  cleanup_policies {
    id     = "keep-ten"
    action = "KEEP"
    most_recent_versions {
      keep_count = 10
    }
  }

  cleanup_policies {
    id     = "delete-old"
    action = "DELETE"
    condition {
      older_than = "2592000s" # 30 d
    }
  }

  depends_on = [time_sleep.services_known]
}

# A new grant takes a minute or so to be known everywhere; a build that comes too early fails.
# https://cloud.google.com/iam/docs/access-change-propagation
resource "time_sleep" "grants_known" {
  create_duration = "180s"
  triggers        = { build = google_service_account.build.unique_id }
  depends_on = [
    google_artifact_registry_repository_iam_member.build,
    google_project_iam_member.build_log,
    google_project_iam_member.build_source,
    google_secret_manager_secret_iam_member.reader,
  ]
}

resource "google_cloudfunctions2_function" "function" {
  for_each = local.functions

  project  = var.project
  location = var.region
  name     = each.key

  build_config {
    runtime           = "python313"
    entry_point       = each.value.entry_point
    service_account   = google_service_account.build.name
    docker_repository = google_artifact_registry_repository.functions.id

    source {
      storage_source {
        bucket = google_storage_bucket.source.name
        object = google_storage_bucket_object.source[each.value.source].name
      }
    }
  }

  service_config {
    all_traffic_on_latest_revision   = true
    available_cpu                    = tostring(each.value.cpu)
    available_memory                 = "${each.value.memory_mib}Mi"
    ingress_settings                 = each.value.trigger.http ? "ALLOW_ALL" : "ALLOW_INTERNAL_ONLY"
    max_instance_count               = each.value.max_instances
    max_instance_request_concurrency = each.value.concurrency
    min_instance_count               = 0 # a message waits for a cold start; a retry covers more
    service_account_email            = google_service_account.function[each.key].email
    timeout_seconds                  = each.value.timeout_seconds

    environment_variables = merge(
      each.value.environment,
      lookup(var.environment, each.key, {}),
      each.value.derived_environment,
      { for variable, secret in each.value.secrets : "${variable}_FILE" => "/secrets/${secret}/value" },
      { GOOGLE_CLOUD_PROJECT = var.project },
    )

    dynamic "secret_volumes" {
      for_each = toset(values(each.value.secrets))
      content {
        project_id = var.project
        secret     = google_secret_manager_secret.secret[secret_volumes.value].secret_id
        mount_path = "/secrets/${secret_volumes.value}"
        versions {
          path    = "value"
          version = lookup(var.secret_versions, secret_volumes.value, "1")
        }
      }
    }
  }

  depends_on = [
    time_sleep.schemas_known, # a topic takes a new schema before anyone writes by it
    google_firestore_database.database,
    google_firestore_index.index, # before the query that needs it
    time_sleep.grants_known,
  ]
}

locals {
  # The address at run.app. The other one, at cloudfunctions.net, is not internal: it refuses calls
  # of Pub/Sub and Cloud Scheduler to a function with ALLOW_INTERNAL_ONLY.
  uris = { for name, function in google_cloudfunctions2_function.function : name => function.service_config[0].uri }
}

resource "google_cloud_scheduler_job" "schedule" {
  for_each = local.scheduled

  project          = var.project
  region           = var.region
  name             = each.key
  schedule         = each.value.trigger.schedule
  time_zone        = "Etc/UTC"
  attempt_deadline = "${max(15, each.value.timeout_seconds)}s"

  http_target {
    http_method = "POST"
    uri         = "${local.uris[each.key]}/"
    oidc_token {
      service_account_email = google_service_account.caller[each.key].email
      audience              = local.uris[each.key]
    }
  }

  retry_config {
    retry_count = 0 # the next minute is the retry
  }
}

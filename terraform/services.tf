locals {
  services = toset([
    "artifactregistry.googleapis.com",
    "cloudbuild.googleapis.com",
    "cloudfunctions.googleapis.com",
    "cloudresourcemanager.googleapis.com",
    "cloudscheduler.googleapis.com",
    "firestore.googleapis.com",
    "iam.googleapis.com",
    "logging.googleapis.com",
    "monitoring.googleapis.com",
    "pubsub.googleapis.com",
    "run.googleapis.com",
    "secretmanager.googleapis.com",
  ])
}

resource "google_project_service" "service" {
  for_each = setunion(local.services, var.budget == null ? [] : ["billingbudgets.googleapis.com"])

  project            = var.project
  service            = each.key
  disable_on_destroy = false # others in the project may use it too
}

# A service that was just enabled may still be refused for a minute.
# https://registry.terraform.io/providers/hashicorp/google/latest/docs/guides/google_project_service
resource "time_sleep" "services_known" {
  create_duration = "60s"
  triggers        = { services = join(" ", sort([for service in google_project_service.service : service.service])) }
}

# The identity that Pub/Sub acts with in this project. It need not exist before it is asked for.
resource "google_project_service_identity" "pubsub" {
  provider = google-beta

  project    = var.project
  service    = "pubsub.googleapis.com"
  depends_on = [time_sleep.services_known]
}

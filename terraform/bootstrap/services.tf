# What this folder uses, and what acting as the deployer needs. The root enables the rest.
resource "google_project_service" "service" {
  for_each = toset([
    "cloudbilling.googleapis.com", # to ask whether the project has billing
    "cloudresourcemanager.googleapis.com",
    "iam.googleapis.com",
    "iamcredentials.googleapis.com",
    "serviceusage.googleapis.com",
    "storage.googleapis.com",
    "sts.googleapis.com",
  ])

  project            = var.project
  service            = each.value
  disable_on_destroy = false # others may use it too
}

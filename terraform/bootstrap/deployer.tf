# The identity that applies the root. It makes and changes what the project is made of, and reads
# nothing that is kept in it: no document, no message, no secret's value.
#
# Permissions by role: https://cloud.google.com/iam/docs/roles-permissions

locals {
  # Services whose ready-made roles can do no more than is needed, or hold nobody's data.
  roles = [
    "roles/artifactregistry.admin",
    "roles/cloudfunctions.developer",
    "roles/cloudscheduler.admin",
    "roles/datastore.backupSchedulesAdmin",
    "roles/datastore.indexAdmin",
    "roles/iam.serviceAccountAdmin",
    "roles/iam.serviceAccountUser", # to run the functions as the accounts it made
    "roles/monitoring.alertPolicyEditor",
    "roles/monitoring.notificationChannelEditor",
    "roles/serviceusage.serviceUsageAdmin",
  ]

  # The other services' administrators may read the data too: here is the part that may not.
  permissions = {
    firestore = [
      "datastore.databases.create",
      "datastore.databases.delete",
      "datastore.databases.getMetadata",
      "datastore.databases.list",
      "datastore.databases.update",
      "datastore.locations.get",
      "datastore.locations.list",
      "datastore.operations.get",
      "datastore.operations.list",
    ]
    logging = [
      "logging.logMetrics.create",
      "logging.logMetrics.delete",
      "logging.logMetrics.get",
      "logging.logMetrics.list",
      "logging.logMetrics.update",
    ]
    project = [
      "resourcemanager.projects.get",
    ]
    pubsub = [
      "pubsub.schemas.attach",
      "pubsub.schemas.commit",
      "pubsub.schemas.create",
      "pubsub.schemas.delete",
      "pubsub.schemas.get",
      "pubsub.schemas.list",
      "pubsub.schemas.listRevisions",
      "pubsub.schemas.rollback",
      "pubsub.schemas.validate",
      "pubsub.subscriptions.create",
      "pubsub.subscriptions.delete",
      "pubsub.subscriptions.get",
      "pubsub.subscriptions.getIamPolicy",
      "pubsub.subscriptions.list",
      "pubsub.subscriptions.setIamPolicy",
      "pubsub.subscriptions.update",
      "pubsub.topics.attachSubscription",
      "pubsub.topics.create",
      "pubsub.topics.delete",
      "pubsub.topics.detachSubscription",
      "pubsub.topics.get",
      "pubsub.topics.getIamPolicy",
      "pubsub.topics.list",
      "pubsub.topics.setIamPolicy",
      "pubsub.topics.update",
    ]
    run = [
      "run.services.get",
      "run.services.getIamPolicy",
      "run.services.setIamPolicy",
    ]
    secrets = [ # it may add a version, and never read one
      "secretmanager.secrets.create",
      "secretmanager.secrets.delete",
      "secretmanager.secrets.get",
      "secretmanager.secrets.getIamPolicy",
      "secretmanager.secrets.list",
      "secretmanager.secrets.setIamPolicy",
      "secretmanager.secrets.update",
      "secretmanager.versions.add",
      "secretmanager.versions.get",
      "secretmanager.versions.list",
    ]
    storage = [ # of a bucket that is yet to be there, no condition can say which
      "storage.buckets.create",
    ]
  }

  # What the root grants on the project, and so all that the deployer may grant there.
  granted = [
    "roles/datastore.user",
    "roles/logging.logWriter",
    "roles/storage.objectViewer",
  ]
  # The root's bucket of function sources, and everything in it.
  sources = "projects/_/buckets/${var.project}-function-source"
}

resource "google_service_account" "deployer" {
  project      = var.project
  account_id   = "deployer"
  display_name = "Applies terraform/"

  depends_on = [google_project_service.service]
}

resource "google_project_iam_custom_role" "deployer" {
  project     = var.project
  role_id     = "signUpDeployer"
  title       = "Sign-up deployer"
  description = "What no ready-made role gives without giving the data as well."
  permissions = sort(flatten(values(local.permissions)))

  depends_on = [google_project_service.service]
}

resource "google_project_iam_member" "deployer" {
  for_each = toset(local.roles)

  project = var.project
  role    = each.value
  member  = google_service_account.deployer.member
}

resource "google_project_iam_member" "deployer_custom" {
  project = var.project
  role    = google_project_iam_custom_role.deployer.name
  member  = google_service_account.deployer.member
}

resource "google_project_iam_member" "deployer_grants" {
  project = var.project
  role    = "roles/resourcemanager.projectIamAdmin"
  member  = google_service_account.deployer.member

  condition {
    title       = "only_what_the_root_grants"
    description = "Without it the deployer could make itself owner."
    expression  = "api.getAttribute('iam.googleapis.com/modifiedGrantsByRole', []).hasOnly(['${join("', '", local.granted)}'])"
  }
}

resource "google_project_iam_member" "deployer_sources" {
  project = var.project
  role    = "roles/storage.admin"
  member  = google_service_account.deployer.member

  condition {
    title       = "only_the_functions_sources"
    description = "Not the bucket of the state, nor any other."
    expression  = "resource.name == '${local.sources}' || resource.name.startsWith('${local.sources}/')"
  }
}

resource "google_billing_account_iam_member" "deployer" {
  count = var.billing_account == null ? 0 : 1

  billing_account_id = var.billing_account
  role               = "roles/billing.costsManager"
  member             = google_service_account.deployer.member
}

# --- who may be the deployer ---------------------------------------------------------------

resource "google_service_account_iam_member" "person" {
  for_each = toset(var.deployers)

  service_account_id = google_service_account.deployer.name
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = each.value
}

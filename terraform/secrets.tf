# The secret, never its value: a version that Terraform made would stand in its state, readable.

resource "google_secret_manager_secret" "secret" {
  for_each = local.topology.secrets

  project             = var.project
  secret_id           = each.key
  deletion_protection = var.protect_data

  replication {
    auto {}
  }

  depends_on = [time_sleep.services_known]
}

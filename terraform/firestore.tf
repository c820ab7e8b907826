resource "google_firestore_database" "database" {
  project                           = var.project
  name                              = "(default)"
  location_id                       = var.region
  type                              = "FIRESTORE_NATIVE"
  point_in_time_recovery_enablement = var.protect_data ? "POINT_IN_TIME_RECOVERY_ENABLED" : "POINT_IN_TIME_RECOVERY_DISABLED"
  delete_protection_state           = var.protect_data ? "DELETE_PROTECTION_ENABLED" : "DELETE_PROTECTION_DISABLED"
  deletion_policy                   = var.protect_data ? "ABANDON" : "DELETE"
  depends_on                        = [time_sleep.services_known]
}

resource "google_firestore_backup_schedule" "daily" {
  count = var.protect_data ? 1 : 0

  project   = var.project
  database  = google_firestore_database.database.name
  retention = "604800s" # 7 d

  daily_recurrence {}
}

resource "google_firestore_backup_schedule" "weekly" {
  count = var.protect_data ? 1 : 0

  project   = var.project
  database  = google_firestore_database.database.name
  retention = "8467200s" # 14 weeks, the longest there is

  weekly_recurrence {
    day = "SUNDAY"
  }
}

locals {
  ttl_fields       = { for one in local.topology.firestore.ttl : "${one.collection} ${one.field}" => one }
  unindexed_fields = { for one in local.topology.firestore.unindexed : "${one.collection} ${one.field}" => one }
}

resource "google_firestore_field" "field" {
  for_each = merge(local.ttl_fields, local.unindexed_fields)

  project    = var.project
  database   = google_firestore_database.database.name
  collection = each.value.collection
  field      = each.value.field

  dynamic "ttl_config" {
    for_each = can(local.ttl_fields[each.key]) ? [1] : []
    content {}
  }

  dynamic "index_config" { # without an index in it: none, not even the automatic ones
    for_each = can(local.unindexed_fields[each.key]) ? [1] : []
    content {}
  }
}

resource "google_firestore_index" "index" {
  for_each = {
    for index in local.topology.firestore.indexes :
    join(" ", concat([index.collection], [for field in index.fields : "${field.field_path} ${field.order}"])) => index
  }

  project     = var.project
  database    = google_firestore_database.database.name
  collection  = each.value.collection
  query_scope = "COLLECTION"

  dynamic "fields" {
    for_each = each.value.fields
    content {
      field_path = fields.value.field_path
      order      = fields.value.order
    }
  }
}

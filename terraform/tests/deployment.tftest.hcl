# What is deployed is what the topology says.

mock_provider "google" {}
mock_provider "google-beta" {}
mock_provider "time" {}

variables {
  alert_email     = "on-call@example.com"
  budget          = { amount = 50, billing_account = "012345-6789AB-CDEF01" }
  project         = "test-project"
  secret_versions = { jwt-keys = "7" }
  environment = {
    create-user = { JWT_ISSUER = "https://accounts.example.com" }
    send-email = {
      MAIL_FROM     = "no-reply@example.com"
      SMTP_HOST     = "smtp.example.com"
      SMTP_USERNAME = "mailer"
      VERIFY_URL    = "https://example.com/verify"
    }
  }
}

run "what_is_made_is_what_the_topology_says" {
  assert {
    condition = alltrue([
      for name, wanted in local.topology.subscriptions : alltrue([
        for made in [google_pubsub_subscription.subscription[name]] :
        made.ack_deadline_seconds == wanted.ack_deadline_seconds &&
        made.message_retention_duration == "${wanted.retention_seconds}s" &&
        made.retry_policy[0].minimum_backoff == "${wanted.minimum_backoff_seconds}s" &&
        made.retry_policy[0].maximum_backoff == "${wanted.maximum_backoff_seconds}s" &&
        made.expiration_policy[0].ttl == "" &&
        made.enable_message_ordering == false
      ])
    ])
    error_message = "A subscription differs from the topology, or expires."
  }

  assert {
    condition = (
      google_pubsub_subscription.subscription["send-email"].dead_letter_policy[0].max_delivery_attempts == 10 &&
      google_pubsub_subscription.subscription["send-email"].dead_letter_policy[0].dead_letter_topic == google_pubsub_topic.topic["user.created.dead-letter"].id
    )
    error_message = "send-email does not dead-letter as described."
  }

  assert {
    condition = alltrue([
      for topic in local.dead_letter_topics : contains(
        [for subscription in google_pubsub_subscription.subscription : subscription.topic],
        google_pubsub_topic.topic[topic].id,
      )
    ])
    error_message = "Nothing keeps what is dead-lettered."
  }

  assert {
    condition = alltrue([
      for name, push in local.pushed :
      google_pubsub_subscription.subscription[name].ack_deadline_seconds >= google_cloudfunctions2_function.function[name].service_config[0].timeout_seconds
    ])
    error_message = "A message comes again while the function is still at it."
  }
  assert {
    condition = alltrue([
      for name, push in local.pushed : alltrue([
        for made in google_pubsub_subscription.subscription[name].push_config :
        made.push_endpoint == "${google_cloudfunctions2_function.function[name].service_config[0].uri}/${google_pubsub_topic.topic[push.topic].id}" &&
        made.oidc_token[0].audience == google_cloudfunctions2_function.function[name].service_config[0].uri
      ])
    ])
    error_message = "A push goes elsewhere, or its token is for someone else."
  }
  assert {
    condition = (
      google_pubsub_topic.topic["user.created"].schema_settings[0].schema == google_pubsub_schema.schema["user.created"].id &&
      google_pubsub_topic.topic["user.created"].schema_settings[0].encoding ==
      google_cloudfunctions2_function.function["create-user"].service_config[0].environment_variables["USER_CREATED_ENCODING"] &&
      google_pubsub_schema.schema["user.created"].type == "PROTOCOL_BUFFER" &&
      google_pubsub_schema.schema["user.created"].definition == file("../functions/shared/user_created.proto")
    )
    error_message = "Topic and functions do not speak the same encoding of the same schema."
  }

  assert {
    condition     = length(google_pubsub_topic.topic["user.created.dead-letter"].schema_settings) == 0
    error_message = "The dead-letter topic refuses what does not fit a schema."
  }

  assert {
    condition = alltrue([
      for topic in google_pubsub_topic.topic : topic.message_storage_policy[0].allowed_persistence_regions == toset([var.region])
    ])
    error_message = "Messages may be stored outside the region."
  }
  assert {
    condition = alltrue([
      for name, wanted in local.functions : alltrue([
        for made in google_cloudfunctions2_function.function[name].service_config :
        made.timeout_seconds == wanted.timeout_seconds &&
        made.available_memory == "${wanted.memory_mib}Mi" &&
        made.available_cpu == tostring(wanted.cpu) &&
        made.max_instance_count == wanted.max_instances &&
        made.max_instance_request_concurrency == wanted.concurrency
      ])
    ])
    error_message = "A function differs from the topology."
  }

  assert {
    condition = alltrue([
      for name, wanted in local.functions :
      google_cloudfunctions2_function.function[name].build_config[0].entry_point == wanted.entry_point &&
      google_cloudfunctions2_function.function[name].build_config[0].source[0].storage_source[0].object == google_storage_bucket_object.source[wanted.source].name &&
      strcontains(google_storage_bucket_object.source[wanted.source].name, data.archive_file.source[wanted.source].output_sha256)
    ])
    error_message = "A function is built from another source, or a change of it would not be deployed."
  }

  assert {
    condition = (
      google_cloudfunctions2_function.function["create-user"].service_config[0].environment_variables["JWT_ISSUER"] == "https://accounts.example.com" &&
      google_cloudfunctions2_function.function["create-user"].service_config[0].environment_variables["JWT_AUDIENCE"] == "users" &&
      google_cloudfunctions2_function.function["create-user"].service_config[0].environment_variables["GOOGLE_CLOUD_PROJECT"] == "test-project" &&
      google_cloudfunctions2_function.function["create-user"].service_config[0].environment_variables["USER_CREATED_TOPIC"] == "user.created"
    )
    error_message = "create-user does not get its variables, this deployment's own before the topology's."
  }

  assert {
    condition = alltrue([
      for name in keys(local.functions) :
      length(setintersection(
        keys(google_cloudfunctions2_function.function[name].service_config[0].environment_variables),
        keys(local.functions[name].local),
        )) == length(setintersection(
        keys(local.functions[name].local),
        concat(keys(lookup(var.environment, name, {})), keys(local.functions[name].environment)),
      ))
    ])
    error_message = "A variable of a developer's machine is deployed."
  }
  assert {
    condition = alltrue(flatten([
      for name, function in local.functions : [
        for variable, secret in function.secrets : anytrue([
          for volume in google_cloudfunctions2_function.function[name].service_config[0].secret_volumes :
          volume.secret == secret &&
          volume.versions[0].version == (secret == "jwt-keys" ? "7" : "1") &&
          google_cloudfunctions2_function.function[name].service_config[0].environment_variables["${variable}_FILE"] ==
          "${volume.mount_path}/${volume.versions[0].path}"
        ])
      ]
    ]))
    error_message = "A function does not find a secret where its variable says, at the version in use."
  }

  assert {
    condition = alltrue([
      for function in google_cloudfunctions2_function.function :
      length(function.service_config[0].secret_environment_variables) == 0
    ])
    error_message = "A secret stands in the environment."
  }

  assert {
    condition     = toset(keys(google_secret_manager_secret.secret)) == toset(keys(local.topology.secrets))
    error_message = "A secret of the topology is not made."
  }
  assert {
    condition = (
      google_firestore_database.database.delete_protection_state == "DELETE_PROTECTION_ENABLED" &&
      google_firestore_database.database.point_in_time_recovery_enablement == "POINT_IN_TIME_RECOVERY_ENABLED" &&
      google_firestore_database.database.deletion_policy == "ABANDON" &&
      length(google_firestore_backup_schedule.daily) == 1 &&
      alltrue([for secret in google_secret_manager_secret.secret : secret.deletion_protection])
    )
    error_message = "A mistake could delete what users gave us."
  }

  assert {
    condition = alltrue([
      for one in local.topology.firestore.ttl :
      length(google_firestore_field.field["${one.collection} ${one.field}"].ttl_config) == 1
    ])
    error_message = "Something that should expire does not."
  }

  assert {
    condition = alltrue([
      for one in local.topology.firestore.unindexed :
      length(google_firestore_field.field["${one.collection} ${one.field}"].index_config) == 1 &&
      length(google_firestore_field.field["${one.collection} ${one.field}"].index_config[0].indexes) == 0
    ])
    error_message = "A field that only grows has an index."
  }

  assert {
    condition     = [for field in google_firestore_index.index["outbox state ASCENDING created_time ASCENDING"].fields : field.field_path] == ["state", "created_time"]
    error_message = "The relay's query has no index."
  }
  assert {
    condition = alltrue([
      for policy in concat(
        values(google_monitoring_alert_policy.above), google_monitoring_alert_policy.failing,
        [google_monitoring_alert_policy.relay_silent, google_monitoring_alert_policy.set_aside],
      ) : policy.notification_channels == tolist([google_monitoring_notification_channel.email[0].id])
    ])
    error_message = "An alert goes nowhere."
  }

  assert {
    condition = (
      strcontains(google_monitoring_alert_policy.above["undelivered"].conditions[0].condition_threshold[0].filter, "one_of(\"send-email\")") &&
      strcontains(google_monitoring_alert_policy.above["dead_letters"].conditions[0].condition_threshold[0].filter, "one_of(\"user.created.dead-letter\")") &&
      google_monitoring_alert_policy.above["dead_letters"].conditions[0].condition_threshold[0].threshold_value == 0
    )
    error_message = "A subscription is not watched."
  }

  assert {
    condition     = length(google_billing_budget.month) == 1 && contains(keys(google_project_service.service), "billingbudgets.googleapis.com")
    error_message = "There is no budget."
  }

  assert {
    condition     = alltrue([for service in google_project_service.service : service.disable_on_destroy == false])
    error_message = "Taking this down would switch a service off for others in the project."
  }
}

run "a_place_to_try_things_can_be_taken_down" {
  variables {
    protect_data = false
  }

  assert {
    condition = (
      google_firestore_database.database.delete_protection_state == "DELETE_PROTECTION_DISABLED" &&
      google_firestore_database.database.deletion_policy == "DELETE" &&
      length(google_firestore_backup_schedule.daily) == 0
    )
    error_message = "make destroy would leave the database."
  }
}

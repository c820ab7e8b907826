# Who may do what. Every grant that fails without a word when it is missing is here.

mock_provider "google" {}
mock_provider "google-beta" {}
mock_provider "time" {}

variables {
  project  = "test-project"
  invokers = ["allUsers"]
  environment = {
    send-email = {
      MAIL_FROM     = "no-reply@example.com"
      SMTP_HOST     = "smtp.example.com"
      SMTP_USERNAME = "mailer"
      VERIFY_URL    = "https://example.com/verify"
    }
  }
}

# One run: each makes everything anew, which takes seconds.
run "every_right_is_granted_and_no_other" {
  assert {
    condition = alltrue([
      for name, subscription in google_pubsub_subscription.subscription :
      google_service_account_iam_member.push_token[name].role == "roles/iam.serviceAccountTokenCreator" &&
      google_service_account_iam_member.push_token[name].member == google_project_service_identity.pubsub.member &&
      google_service_account_iam_member.push_token[name].service_account_id == google_service_account.caller[name].name
      if length(subscription.push_config) > 0
    ])
    error_message = "Pub/Sub cannot make the token of a push: nothing would be delivered."
  }

  assert {
    condition = alltrue([
      for name, subscription in google_pubsub_subscription.subscription :
      google_cloud_run_v2_service_iam_member.caller[name].role == "roles/run.invoker" &&
      google_cloud_run_v2_service_iam_member.caller[name].name == google_cloudfunctions2_function.function[name].name &&
      google_cloud_run_v2_service_iam_member.caller[name].member == google_service_account.caller[name].member &&
      subscription.push_config[0].oidc_token[0].service_account_email == google_service_account.caller[name].email
      if length(subscription.push_config) > 0
    ])
    error_message = "The identity of a push may not call the function: nothing would be delivered."
  }
  assert {
    condition = alltrue([
      for name, subscription in google_pubsub_subscription.subscription :
      google_pubsub_subscription_iam_member.dead_letter[name].role == "roles/pubsub.subscriber" &&
      google_pubsub_subscription_iam_member.dead_letter[name].subscription == subscription.name &&
      google_pubsub_subscription_iam_member.dead_letter[name].member == google_project_service_identity.pubsub.member
      if length(subscription.dead_letter_policy) > 0
    ])
    error_message = "Pub/Sub may not take a message from its subscription: none would be dead-lettered."
  }

  assert {
    condition = length(local.dead_letter_topics) > 0 && alltrue([
      for topic in local.dead_letter_topics :
      google_pubsub_topic_iam_member.dead_letter[topic].role == "roles/pubsub.publisher" &&
      google_pubsub_topic_iam_member.dead_letter[topic].topic == topic &&
      google_pubsub_topic_iam_member.dead_letter[topic].member == google_project_service_identity.pubsub.member
    ])
    error_message = "Pub/Sub may not publish to a dead-letter topic: nothing would be dead-lettered."
  }
  assert {
    condition = (
      google_cloud_scheduler_job.schedule["relay-outbox"].http_target[0].oidc_token[0].service_account_email == google_service_account.caller["relay-outbox"].email &&
      google_cloud_run_v2_service_iam_member.caller["relay-outbox"].member == google_service_account.caller["relay-outbox"].member
    )
    error_message = "The scheduler may not call the relay: what could not be published would wait for ever."
  }
  assert {
    condition = (
      toset([for member in google_pubsub_topic_iam_member.publisher : "${member.topic} ${member.member}"]) ==
      toset([for name in ["create-user", "relay-outbox"] : "user.created ${google_service_account.function[name].member}"])
    )
    error_message = "Someone else, or not everyone who should, may publish user.created."
  }

  assert {
    condition = toset([for member in google_secret_manager_secret_iam_member.reader : "${member.secret_id} ${member.member}"]) == toset(concat(
      [for secret in ["email-claim-key", "jwt-keys", "password-peppers"] : "${secret} ${google_service_account.function["create-user"].member}"],
      [for secret in ["link-keys", "smtp-password"] : "${secret} ${google_service_account.function["send-email"].member}"],
    ))
    error_message = "Someone else, or not everyone who should, may read a secret."
  }

  assert {
    condition     = toset(keys(google_project_iam_member.firestore)) == toset(["create-user", "relay-outbox", "send-email"])
    error_message = "Someone else, or not everyone who should, may use the database."
  }

  assert {
    condition     = alltrue([for member in google_project_iam_member.firestore : member.role == "roles/datastore.user"])
    error_message = "A function may do more with the project than use documents."
  }
  assert {
    condition = (
      length(google_cloudfunctions2_function.function) == length(distinct([
        for function in google_cloudfunctions2_function.function : function.service_config[0].service_account_email
      ])) &&
      alltrue([
        for name, function in google_cloudfunctions2_function.function :
        function.service_config[0].service_account_email == google_service_account.function[name].email
      ])
    )
    error_message = "Two functions share an identity."
  }

  assert {
    condition = length(setintersection(
      toset([for account in google_service_account.caller : account.email]),
      toset(concat(
        [for function in google_cloudfunctions2_function.function : function.service_config[0].service_account_email],
        [google_service_account.build.email],
      )),
    )) == 0
    error_message = "The identity that calls a function runs or builds one too."
  }
  assert {
    condition     = keys(google_cloud_run_v2_service_iam_binding.invokers) == ["create-user"]
    error_message = "invokers may call something else than the HTTP functions."
  }

  assert {
    condition = alltrue([
      for name, member in google_cloud_run_v2_service_iam_member.caller :
      member.member == google_service_account.caller[name].member && member.name == name
    ])
    error_message = "Someone else may call a function that is pushed or scheduled."
  }

  assert { # Of every resource there is, whatever it is called.
    condition = alltrue([
      for name in setsubtract(fileset(path.module, "*.tf"), ["variables.tf"]) :
      !can(regex("allUsers|allAuthenticatedUsers|_iam_policy\"|roles/(owner|editor|viewer)\"", file("${path.module}/${name}")))
    ])
    error_message = "Something is open to everyone, or a right is given wholesale."
  }

  assert {
    condition = alltrue([
      for name in fileset(path.module, "*.tf") :
      !can(regex("secret_manager_secret_version|secret_data|google_service_account_key", file("${path.module}/${name}")))
    ])
    error_message = "The value of a secret would stand in the state."
  }

  assert {
    condition     = strcontains(google_project_iam_member.build_source.condition[0].expression, "buckets/gcf-v2-sources-')")
    error_message = "A build may read every bucket of the project."
  }

  assert {
    condition = alltrue([
      for name, function in google_cloudfunctions2_function.function :
      function.service_config[0].ingress_settings == (name == "create-user" ? "ALLOW_ALL" : "ALLOW_INTERNAL_ONLY")
    ])
    error_message = "A function that only the cloud calls can be reached from the Internet."
  }
}

run "private_unless_said_otherwise" {
  variables {
    invokers = []
  }

  assert {
    condition     = length(google_cloud_run_v2_service_iam_binding.invokers) == 0
    error_message = "Someone may call create-user though nobody was named."
  }
}

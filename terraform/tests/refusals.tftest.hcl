# What cannot be is refused by the plan, before anything is made.

mock_provider "google" {}
mock_provider "google-beta" {}
mock_provider "time" {}

variables {
  project = "test-project"
  environment = {
    send-email = {
      MAIL_FROM     = "no-reply@example.com"
      SMTP_HOST     = "smtp.example.com"
      SMTP_USERNAME = "mailer"
      VERIFY_URL    = "https://example.com/verify"
    }
  }
}

run "an_ack_deadline_below_the_timeout" {
  command = plan

  module {
    source = "./topology"
  }

  variables {
    file      = "tests/topologies/short-ack-deadline.yaml"
    functions = "../functions"
  }

  expect_failures = [output.topology]
}

run "a_dead_letter_topic_that_nothing_keeps" {
  command = plan

  module {
    source = "./topology"
  }

  variables {
    file      = "tests/topologies/lost-dead-letters.yaml"
    functions = "../functions"
  }

  expect_failures = [output.topology]
}

run "a_misspelt_key" {
  command = plan

  module {
    source = "./topology"
  }

  variables {
    file      = "tests/topologies/misspelt.yaml"
    functions = "../functions"
  }

  expect_failures = [output.topology]
}

run "a_source_that_is_not_there" {
  command = plan

  module {
    source = "./topology"
  }

  variables {
    file      = "tests/topologies/no-source.yaml"
    functions = "../functions"
  }

  expect_failures = [output.bundles]
}

run "a_variable_that_this_deployment_has_to_give" {
  command = plan

  variables {
    environment = { send-email = { MAIL_FROM = "no-reply@example.com" } }
  }

  expect_failures = [var.environment]
}

run "a_variable_of_a_function_that_does_not_exist" {
  command = plan

  variables {
    environment = {
      send-mail = { SMTP_PORT = "25" }
      send-email = {
        MAIL_FROM     = "no-reply@example.com"
        SMTP_HOST     = "smtp.example.com"
        SMTP_USERNAME = "mailer"
        VERIFY_URL    = "https://example.com/verify"
      }
    }
  }

  expect_failures = [var.environment]
}

run "a_secret_among_the_variables" {
  command = plan

  variables {
    environment = {
      send-email = {
        MAIL_FROM     = "no-reply@example.com"
        SMTP_HOST     = "smtp.example.com"
        SMTP_PASSWORD = "in the state, for all to read"
        SMTP_USERNAME = "mailer"
        VERIFY_URL    = "https://example.com/verify"
      }
    }
  }

  expect_failures = [var.environment]
}

run "what_no_deployment_may_say" {
  command = plan

  variables {
    alert_email     = "on-call"
    budget          = { amount = 50, billing_account = "mine" }
    invokers        = ["everyone"]
    project         = "your-project-id"
    secret_versions = { jwt-keys = "latest" }
  }

  expect_failures = [var.alert_email, var.budget, var.invokers, var.project, var.secret_versions]
}

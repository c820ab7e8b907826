# Planned only: nothing is asked of Google, and prevent_destroy would stop a test from cleaning up.

mock_provider "google" {}

variables {
  project = "demo-project"
}

run "the_state_is_private_and_keeps_its_past" {
  command = plan

  assert {
    condition     = google_storage_bucket.state.public_access_prevention == "enforced" && google_storage_bucket.state.uniform_bucket_level_access
    error_message = "The bucket of the state can be made public."
  }
  assert {
    condition     = google_storage_bucket.state.versioning[0].enabled && !google_storage_bucket.state.force_destroy
    error_message = "A state that is overwritten or deleted is gone."
  }
  assert {
    condition = alltrue([
      for rule in google_storage_bucket.state.lifecycle_rule :
      one(rule.condition).num_newer_versions >= 10 && one(rule.condition).with_state == "ARCHIVED"
    ]) && length(google_storage_bucket.state.lifecycle_rule) == 1
    error_message = "Old states are kept for ever, or not at all, or the state itself is deleted."
  }
  assert {
    condition     = google_storage_bucket_iam_member.deployer.role == "roles/storage.objectUser"
    error_message = "The deployer may do more with the state's bucket than read and write the state."
  }
}

run "the_deployer_reads_no_data" {
  command = plan

  assert {
    condition = alltrue([
      for permission in google_project_iam_custom_role.deployer.permissions :
      !can(regex("versions\\.(access|destroy)|entities\\.|consume|publish|snapshots|objects|export|\\*", permission))
    ])
    error_message = "The custom role lets the deployer read what is kept: a secret, a document or a message."
  }
  assert {
    condition     = contains(google_project_iam_custom_role.deployer.permissions, "secretmanager.versions.add")
    error_message = "The deployer cannot add a secret's first version."
  }
  assert {
    # Of every grant in this folder, whatever it is called.
    condition = alltrue(flatten([
      for name in fileset(path.module, "*.tf") : [
        for role in ["owner", "editor", "datastore.owner", "pubsub.admin", "secretmanager.admin", "secretmanager.secretAccessor", "iam.securityAdmin"] :
        !strcontains(file("${path.module}/${name}"), "\"roles/${role}\"")
      ]
    ]))
    error_message = "A role is granted here that may do everything, or read the data."
  }
}

run "the_deployer_grants_what_the_root_grants" {
  command = plan

  assert {
    condition = (
      google_project_iam_member.deployer_grants.condition[0].expression ==
      "api.getAttribute('iam.googleapis.com/modifiedGrantsByRole', []).hasOnly(['roles/datastore.user', 'roles/logging.logWriter', 'roles/storage.objectViewer'])"
    )
    error_message = "The deployer may grant another role on the project than these three."
  }
  assert {
    condition = toset(local.granted) == toset(flatten([
      for name in fileset("${path.module}/..", "*.tf") : [
        for block in split("\nresource ", file("${path.module}/../${name}")) :
        regexall("roles/[A-Za-z.]+", block) if startswith(block, "\"google_project_iam_member\"")
      ]
    ]))
    error_message = "The root grants roles on the project that the deployer may not grant, or needs some no more."
  }
  assert {
    condition = (
      !contains(google_project_iam_custom_role.deployer.permissions, "resourcemanager.projects.setIamPolicy") &&
      !anytrue([for grant in google_project_iam_member.deployer : startswith(grant.role, "roles/resourcemanager.")])
    )
    error_message = "The deployer may change the project's grants without the condition."
  }
}

run "the_deployer_has_one_bucket_beside_the_state" {
  command = plan

  assert {
    condition = (
      google_project_iam_member.deployer_sources.condition[0].expression ==
      "resource.name == 'projects/_/buckets/demo-project-function-source' || resource.name.startsWith('projects/_/buckets/demo-project-function-source/')"
    )
    error_message = "The deployer may change buckets that are not its own, the state's perhaps."
  }
  assert {
    condition     = strcontains(file("${path.module}/../functions.tf"), "\"$${var.project}-function-source\"")
    error_message = "The root's bucket has another name."
  }
  assert {
    condition     = !anytrue([for grant in google_project_iam_member.deployer : startswith(grant.role, "roles/storage.")])
    error_message = "The deployer has a storage role without a condition."
  }
}

run "nobody_else_deploys_unless_named" {
  command = plan

  assert {
    condition = (
      length(google_service_account_iam_member.person) == 0 &&
      length(google_service_account_iam_member.github) == 0 &&
      length(google_iam_workload_identity_pool_provider.github) == 0 &&
      output.workload_identity_provider == null
    )
    error_message = "Someone may deploy whom no variable names."
  }
  assert {
    condition     = length(google_billing_account_iam_member.deployer) == 0
    error_message = "The deployer has a right on a billing account that no variable names."
  }
}

run "people_act_as_the_deployer" {
  command = plan

  variables {
    deployers = ["user:ada@example.com", "group:operations@example.com"]
  }

  assert {
    condition = (
      keys(google_service_account_iam_member.person) == ["group:operations@example.com", "user:ada@example.com"] &&
      alltrue([for grant in google_service_account_iam_member.person : grant.role == "roles/iam.serviceAccountTokenCreator"])
    )
    error_message = "Not each of deployers, and they alone, may act as the deployer."
  }
}

run "github_deploys_from_one_branch_of_one_repository" {
  command = plan

  variables {
    github_repository    = "ada/sign-up"
    github_repository_id = "123456"
  }

  assert {
    condition = (
      google_iam_workload_identity_pool_provider.github[0].attribute_condition ==
      "assertion.repository == 'ada/sign-up' && assertion.repository_id == '123456' && assertion.ref == 'refs/heads/main'"
    )
    error_message = "Another repository or another branch may deploy."
  }
  assert {
    condition     = google_iam_workload_identity_pool_provider.github[0].oidc[0].issuer_uri == "https://token.actions.githubusercontent.com"
    error_message = "Someone else than GitHub signs."
  }
  assert {
    condition     = google_service_account_iam_member.github[0].role == "roles/iam.workloadIdentityUser"
    error_message = "A workflow may do more than be the deployer, or cannot be it."
  }
}

run "github_deploys_from_the_ref_that_is_given" {
  command = plan

  variables {
    github_repository    = "ada/sign-up"
    github_repository_id = "123456"
    github_ref           = "refs/heads/release"
  }

  assert {
    condition     = endswith(google_iam_workload_identity_pool_provider.github[0].attribute_condition, "&& assertion.ref == 'refs/heads/release'")
    error_message = "github_ref is not the branch that may deploy."
  }
}

run "budgets_are_made_on_the_account_that_is_given" {
  command = plan

  variables {
    billing_account = "012345-6789AB-CDEF01"
  }

  assert {
    condition     = google_billing_account_iam_member.deployer[0].role == "roles/billing.costsManager"
    error_message = "The deployer may do more with the billing account than make budgets, or cannot make one."
  }
}

run "a_repository_without_its_number_is_refused" {
  command = plan

  variables {
    github_repository = "ada/sign-up"
  }

  expect_failures = [var.github_repository_id]
}

run "apis_stay_on_when_this_is_destroyed" {
  command = plan

  assert {
    condition     = alltrue([for service in google_project_service.service : !service.disable_on_destroy])
    error_message = "Destroying this folder would take an API away from everything else that uses it."
  }
}

run "wrong_variables_are_refused" {
  command = plan

  variables {
    billing_account   = "billingAccounts/012345-6789AB-CDEF01"
    deployers         = ["allUsers"]
    github_ref        = "refs/heads/main' || true || '"
    github_repository = "ada/sign-up' || 'a' == 'a"
    project           = "Demo"
    region            = "Europe"
  }

  expect_failures = [
    var.billing_account,
    var.deployers,
    var.github_ref,
    var.github_repository,
    var.project,
    var.region,
  ]
}

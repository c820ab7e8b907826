# What a project owner makes once, before anything is deployed: the bucket that keeps the state of
# the root (the folder above), the identity that applies the root, and who may be that identity.
# docs/deploy.md has the commands, docs/decisions/0011-who-may-deploy.md the reasons.

terraform {
  required_version = ">= 1.9"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 8.7"
    }
  }

  # The state is a file in this folder, which git ignores: the bucket does not exist yet. Afterwards
  # it can move there. Put a file backend.tf beside this one with
  #
  #   terraform {
  #     backend "gcs" {
  #       prefix = "bootstrap"
  #     }
  #   }
  #
  # and run terraform init -migrate-state -backend-config=bucket=PROJECT-terraform-state.
}

provider "google" {
  project = var.project
  region  = var.region

  # A person's own credentials belong to no project; their calls are counted in this one.
  billing_project       = var.project
  user_project_override = true
}

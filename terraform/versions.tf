terraform {
  required_version = ">= 1.9" # validation of a variable by something else

  required_providers {
    archive = {
      source  = "hashicorp/archive"
      version = "~> 2.8"
    }
    google = {
      source  = "hashicorp/google"
      version = "~> 8.7"
    }
    google-beta = {
      source  = "hashicorp/google-beta"
      version = "~> 8.7"
    }
    time = {
      source  = "hashicorp/time"
      version = "~> 0.13"
    }
  }
}

provider "google" {
  project               = var.project
  region                = var.region
  default_labels        = var.labels
  billing_project       = var.project # the budget API asks whose quota a person uses
  user_project_override = true
}

provider "google-beta" {
  project               = var.project
  region                = var.region
  default_labels        = var.labels
  billing_project       = var.project
  user_project_override = true
}

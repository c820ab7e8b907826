variable "billing_account" {
  description = "Billing account on which the deployer may make budgets. Null: it may not."
  type        = string
  default     = null

  validation {
    condition     = var.billing_account == null || can(regex("^[0-9A-F]{6}-[0-9A-F]{6}-[0-9A-F]{6}$", var.billing_account))
    error_message = "billing_account looks like 012345-6789AB-CDEF01: `gcloud billing accounts list` shows it."
  }
}

variable "deployers" {
  description = "Who may act as the deployer, such as user:ada@example.com."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for member in var.deployers : can(regex("^(user|group|serviceAccount):[^@\\s]+@[^@\\s]+$", member))])
    error_message = "Each of deployers is user:, group: or serviceAccount: and an address, such as user:ada@example.com."
  }
}

variable "github_ref" {
  description = "The one branch or tag of github_repository whose workflows may deploy."
  type        = string
  default     = "refs/heads/main"

  # It becomes part of an expression: no quote gets in.
  validation {
    condition     = can(regex("^refs/(heads|tags)/[A-Za-z0-9._/-]+$", var.github_ref))
    error_message = "github_ref is a full name such as refs/heads/main."
  }
}

variable "github_repository" {
  description = "The GitHub repository whose workflows may deploy, such as ada/sign-up. Null: none."
  type        = string
  default     = null

  validation {
    condition     = var.github_repository == null || can(regex("^[A-Za-z0-9-]+/[A-Za-z0-9._-]+$", var.github_repository))
    error_message = "github_repository is OWNER/NAME, such as ada/sign-up."
  }
}

variable "github_repository_id" {
  description = "The number of github_repository, which its name may outlive: gh api repos/OWNER/NAME --jq .id"
  type        = string
  default     = null

  validation {
    condition     = (var.github_repository_id == null) == (var.github_repository == null) && can(regex("^[0-9]*$", coalesce(var.github_repository_id, "0")))
    error_message = "github_repository and github_repository_id, a number, go together: gh api repos/OWNER/NAME --jq .id"
  }
}

variable "project" {
  description = "Id of the project; it exists and has billing."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project))
    error_message = "project is a project id: 6 to 30 lower-case letters, digits and hyphens, the first a letter."
  }
}

variable "region" {
  description = "Where the state is kept."
  type        = string
  default     = "europe-west1"

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "region is a Google Cloud region, such as europe-west1."
  }
}

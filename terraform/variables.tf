variable "alert_email" {
  description = "Where alerts go; null: they show in the console alone."
  type        = string
  default     = null

  validation {
    condition     = var.alert_email == null || can(regex("^[^@ ]+@[^@ ]+\\.[^@ ]+$", var.alert_email))
    error_message = "alert_email is not an address."
  }
}

variable "budget" {
  description = "A month's budget, in whole units of the billing account's currency; null: none."
  type = object({
    amount          = number
    billing_account = string
  })
  default = null

  validation {
    condition     = var.budget == null || try(can(regex("^[0-9A-F]{6}(-[0-9A-F]{6}){2}$", var.budget.billing_account)) && var.budget.billing_account != "000000-000000-000000" && var.budget.amount == floor(var.budget.amount), false)
    error_message = "budget has a whole amount and a billing_account of yours, such as 012345-6789AB-CDEF01: gcloud billing accounts list."
  }
}

variable "environment" {
  description = "Variables of each function that are this deployment's own: {function = {NAME = value}}."
  type        = map(map(string))
  default     = {}

  validation {
    condition = alltrue([for name in keys(var.environment) : can(local.functions[name])])
    error_message = join(" ", [
      "environment: there is no function ${join(", ", setsubtract(keys(var.environment), keys(local.functions)))};",
      "known: ${join(", ", keys(local.functions))}.",
    ])
  }

  validation {
    condition = alltrue(flatten([
      for name, function in local.functions : [
        for variable in function.per_deployment : try(var.environment[name][variable], "") != ""
      ]
    ]))
    error_message = join(" ", flatten([
      for name, function in local.functions : [
        for variable in function.per_deployment : "environment.${name}.${variable} is missing."
        if try(var.environment[name][variable], "") == ""
      ]
    ]))
  }

  validation {
    condition = alltrue(flatten([
      for name, function in local.functions : [
        for variable in concat(keys(function.secrets), keys(function.derived_environment)) :
        !can(var.environment[name][variable])
      ]
    ]))
    error_message = "environment may not set a secret, which comes from Secret Manager, nor what follows from the topology (THREADS, FUNCTION_TIMEOUT_SECONDS, ...)."
  }
}

variable "invokers" {
  description = "Who may call the HTTP functions; [\"allUsers\"] opens them to the Internet. Default: nobody."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for who in var.invokers : can(regex("^(allUsers|allAuthenticatedUsers|(user|group|serviceAccount|domain|principal|principalSet):.+)$", who))])
    error_message = "invokers are members, such as allUsers or user:ada@example.com."
  }
}

variable "labels" {
  description = "Labels of everything that can have some."
  type        = map(string)
  default     = { application = "sign-up" }
}

variable "project" {
  description = "The project id."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project)) && var.project != "your-project-id"
    error_message = "project is not a project id: put yours into the tfvars file of this environment."
  }
}

variable "protect_data" {
  description = "Keep what users gave us from mistakes: point-in-time recovery, backups, no deletion."
  type        = bool
  default     = true
}

variable "region" {
  description = "The region of everything."
  type        = string
  default     = "europe-west1"

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "region is a Google Cloud region, such as europe-west1."
  }
}

variable "secret_versions" {
  description = "The version of each secret that is in use; \"1\" for one that is not named. Never latest: a version goes live by a deployment, and back by one."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for name, version in var.secret_versions : can(local.topology.secrets[name]) && can(regex("^[1-9][0-9]*$", version))])
    error_message = "secret_versions maps a secret of the topology to a version number: ${join(", ", keys(local.topology.secrets))}."
  }
}

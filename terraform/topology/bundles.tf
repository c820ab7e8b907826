# What is in each function's zip: its folder, shared/ beside its main.py, and the pinned versions.

locals {
  # A source without these two ends the plan below, by its function.
  sources = toset([
    for function in local.functions : function.source if alltrue([
      for file in ["main.py", "requirements.txt"] : fileexists("${var.functions}/${function.source}/${file}")
    ])
  ])
  files = {
    for source in local.sources : source => merge(
      { for path in fileset("${var.functions}/shared", "**") : "shared/${path}" => "${var.functions}/shared/${path}" },
      { for path in fileset("${var.functions}/${source}", "**") : path => "${var.functions}/${source}/${path}" },
    )
  }
  bundles = {
    for source, files in local.files : source => merge(
      {
        for name, path in files : name => file(path)
        if !strcontains(name, "__pycache__") && !startswith(basename(name), ".")
      },
      {
        # Direct requirements name their version; what they bring with them gets its own from here.
        "constraints.txt"  = file("${var.functions}/../constraints.txt")
        "requirements.txt" = "-c constraints.txt\n${file("${var.functions}/${source}/requirements.txt")}"
      },
    )
  }
}

output "bundles" {
  description = "The content of each source's zip: {source = {file name = text}}."
  value       = local.bundles

  precondition {
    condition = alltrue([for function in local.functions : contains(local.sources, function.source)])
    error_message = join("\n", [
      for name, function in local.functions :
      "${var.file}: functions.${name}.source: ${var.functions}/${function.source} has no main.py or no requirements.txt"
      if !contains(local.sources, function.source)
    ])
  }
}

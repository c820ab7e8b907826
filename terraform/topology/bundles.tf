# What is in each function's zip: its folder, shared/ beside its main.py, and the pinned versions.

locals {
  # The same is in emulator/topology.py: Topology.check_files.
  missing_files = concat(
    flatten([
      for name, function in local.functions : [
        for file in ["main.py", "requirements.txt"] :
        "functions.${name}.source: there is no ${var.functions}/${function.source}/${file}"
        if !fileexists("${var.functions}/${function.source}/${file}")
      ]
    ]),
    [
      for name, topic in local.topics :
      "topics.${name}.schema.definition: there is no ${var.functions}/${topic.schema.definition}"
      if topic.schema != null && !try(fileexists("${var.functions}/${topic.schema.definition}"), true)
    ],
  )
  sources = toset([
    for function in local.functions : function.source if length(local.missing_files) == 0
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
        if !can(regex("(^|/)(\\.|__pycache__/)", name))
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
    condition     = length(local.missing_files) == 0
    error_message = join("\n", [for missing in local.missing_files : "${var.file}: ${missing}"])
  }
}

# Reads topology.yaml, refuses what cannot be, and hands out the rest with every default filled in.
#
# It needs no provider, so that a plan of this folder alone checks a topology. Names, types, ranges
# and defaults come from schema.json, which is made from the types that the local cloud reads the
# same file with (emulator/topology.py). What a schema cannot say is in rules.tf.

terraform {
  required_version = ">= 1.9"
}

variable "file" {
  description = "Path of the topology file."
  type        = string
}

variable "functions" {
  description = "Path of the folder that holds each function's folder, and shared/."
  type        = string
}

locals {
  document    = yamldecode(file(var.file))
  definitions = jsondecode(file("${path.module}/schema.json"))["$defs"]
  properties  = { for kind, definition in local.definitions : kind => definition.properties }
  defaults = {
    for kind, properties in local.properties : kind => {
      for key, property in properties : key => property.default if can(property.default)
    }
  }

  # Every table of the file: where it is, which definition it follows, what it says.
  sections = {
    topics        = "Topic"
    subscriptions = "Subscription"
    functions     = "Function"
    secrets       = "Secret"
  }
  entries = flatten([
    for section, kind in local.sections : [
      for name, entry in try(local.document[section], {}) :
      { at = "${section}.${name}", kind = kind, value = entry }
    ]
  ])
  inner = flatten([
    for entry in local.entries : [
      for key, kind in { schema = "Schema", trigger = "Trigger" } :
      { at = "${entry.at}.${key}", kind = kind, value = entry.value[key] }
      if try(entry.value[key], null) != null
    ]
  ])
  pushes = [
    for entry in local.inner :
    { at = "${entry.at}.push", kind = "Subscription", value = entry.value.push }
    if try(entry.value.push, null) != null
  ]
  listed = flatten([
    for key, kind in { ttl = "TtlPolicy", unindexed = "UnindexedField", indexes = "Index" } : [
      for number, entry in try(local.document.firestore[key], []) :
      { at = "firestore.${key}[${number}]", kind = kind, value = entry }
    ]
  ])
  index_fields = flatten([
    for index in local.listed : try([
      for number, entry in index.value.fields :
      { at = "${index.at}.fields[${number}]", kind = "IndexField", value = entry }
    ], [])
  ])
  tables = concat(
    [
      { at = "topology", kind = "Topology", value = local.document },
      { at = "firestore", kind = "Firestore", value = try(local.document.firestore, {}) },
    ],
    local.entries, local.inner, local.pushes, local.listed, local.index_fields,
  )
  values = flatten([
    for table in local.tables : [
      for key in try(keys(table.value), []) : {
        at    = trimprefix("${table.at}.${key}", "topology.")
        value = table.value[key]
        # A value may have several schemas: "a number or null".
        schemas = try(local.properties[table.kind][key].anyOf, [local.properties[table.kind][key]], [])
      }
    ]
  ])

  not_tables = [for table in local.tables : "${table.at}: is not a table" if !can(keys(table.value))]
  misspelt   = [for value in local.values : "${value.at}: there is no such key" if value.schemas == []]
  missing = flatten([
    for table in local.tables : [
      for key in setsubtract(local.definitions[table.kind].required, try(keys(table.value), [])) :
      "${trimprefix("${table.at}.${key}", "topology.")}: is missing"
    ]
  ])
  # `==` is false for values of two types: that tells the text "60" from the number 60.
  unfit = [
    for value in local.values :
    "${value.at}: ${substr(jsonencode(value.value), 0, 60)} is not ${join(" or ", [for s in value.schemas : jsonencode(s)])}"
    if value.schemas != [] && !anytrue([
      for wanted in value.schemas : try(
        can(wanted.enum) ? anytrue([for allowed in wanted.enum : value.value == allowed]) :
        can(wanted["$ref"]) ? can(keys(value.value)) :
        wanted.type == "null" ? value.value == null :
        wanted.type == "boolean" ? value.value == true || value.value == false :
        wanted.type == "string" ? value.value != null && value.value == tostring(value.value) :
        wanted.type == "array" ? !can(keys(value.value)) && alltrue([
          for item in value.value : can(wanted.items["$ref"]) ? true : item == tostring(item)
        ]) :
        wanted.type == "object" ? can(keys(value.value)) && alltrue([
          for item in value.value : can(wanted.additionalProperties["$ref"]) ? true : item == tostring(item)
        ]) :
        value.value == tonumber(value.value) &&
        value.value >= wanted.minimum && value.value <= wanted.maximum &&
        (wanted.type == "number" || value.value == floor(value.value)),
        false,
      )
    ])
  ]
  misshapen = concat(local.not_tables, local.misspelt, local.missing, local.unfit)

  # What follows reads keys that only a file of the right shape has.
  shaped = merge(
    local.defaults.Topology,
    [{ topics = {}, functions = {} }, local.document][length(local.misshapen) == 0 ? 1 : 0],
  )
}

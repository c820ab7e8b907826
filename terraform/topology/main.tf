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

  # What stands in maps and lists that are not of tables.
  items = flatten([
    for value in local.values : [
      for wanted in value.schemas : try([
        for key, item in value.value : {
          at      = can(wanted.items) ? "${value.at}[${key}]" : "${value.at}.${key}"
          value   = item
          schemas = [try(wanted.items, wanted.additionalProperties)]
        } if can(wanted.items.type) || can(wanted.additionalProperties.type)
      ], [])
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
  misnamed = flatten([
    for value in local.values : [
      for wanted in value.schemas : [
        for name in try(keys(value.value), []) : "${value.at}.${name}: is not ${wanted.propertyNames.description}"
        if can(wanted.propertyNames) && !can(regex(wanted.propertyNames.pattern, name))
      ]
    ]
  ])
  # `==` is false for values of two types: that tells the text "60" from the number 60.
  unfit = [
    for value in concat(local.values, local.items) :
    "${value.at}: ${substr(jsonencode(value.value), 0, 60)} is not ${join(" or ", [
      for wanted in value.schemas : try(wanted.description, jsonencode(wanted))
    ])}"
    if value.schemas != [] && !anytrue([
      for wanted in value.schemas : try(
        can(wanted.enum) ? anytrue([for allowed in wanted.enum : value.value == allowed]) :
        try(wanted.type, "object") == "object" ? can(keys(value.value)) : # without a type it is a $ref
        wanted.type == "null" ? value.value == null :
        wanted.type == "boolean" ? value.value == true || value.value == false :
        wanted.type == "string" ? value.value != null && value.value == tostring(value.value) && (
          can(wanted.pattern) ? can(regex(wanted.pattern, value.value)) : true
        ) :
        wanted.type == "array" ? !can(keys(value.value)) &&
        length([for item in value.value : item]) >= try(wanted.minItems, 0) &&
        length(value.value) <= try(wanted.maxItems, length(value.value)) :
        value.value == tonumber(value.value) &&
        value.value >= wanted.minimum && value.value <= wanted.maximum &&
        (wanted.type == "number" || value.value == floor(value.value)),
        false,
      )
    ])
  ]
  misshapen = concat(local.not_tables, local.misspelt, local.missing, local.misnamed, local.unfit)

  # What follows reads keys that only a file of the right shape has.
  shaped = merge(
    local.defaults.Topology,
    [{ topics = {}, functions = {} }, local.document][length(local.misshapen) == 0 ? 1 : 0],
  )
}

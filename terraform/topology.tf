# What to deploy: topology.yaml, checked; a mistake in it ends the plan here.

module "topology" {
  source = "./topology"

  file      = "${path.module}/topology.yaml"
  functions = "${path.module}/../functions"
}

locals {
  topology  = module.topology.topology
  functions = local.topology.functions

  pushed    = { for name, subscription in local.topology.subscriptions : name => subscription if subscription.pushes_to != null }
  scheduled = { for name, function in local.functions : name => function if function.trigger.schedule != null }
  http      = { for name, function in local.functions : name => function if function.trigger.http }
  dead_letter_topics = toset(compact([
    for subscription in local.topology.subscriptions : subscription.dead_letter_topic
  ]))

  # One pair for each right that a function has: {"create-user user.created" = {...}}.
  publishers = merge([
    for name, function in local.functions : {
      for topic in toset(values(function.publishes)) : "${name} ${topic}" => { function = name, topic = topic }
    }
  ]...)
  secret_readers = merge([
    for name, function in local.functions : {
      for secret in toset(values(function.secrets)) : "${name} ${secret}" => { function = name, secret = secret }
    }
  ]...)
}

# What has to hold between the parts of a topology. The same rules are in emulator/topology.py: a
# test compares what both refuse.

locals {
  topics    = { for name, topic in local.shaped.topics : name => merge(local.defaults.Topic, topic) }
  secrets   = local.shaped.secrets
  firestore = merge(local.defaults.Firestore, local.shaped.firestore)
  pulled = {
    for name, subscription in local.shaped.subscriptions :
    name => merge(local.defaults.Subscription, subscription)
  }
  functions = {
    for name, function in local.shaped.functions : name => merge(local.defaults.Function, function, {
      trigger = merge(local.defaults.Trigger, function.trigger, {
        push = try(merge(local.defaults.Subscription, function.trigger.push), null)
      })
    })
  }
  pushed = {
    for name, function in local.functions : name => function.trigger.push if function.trigger.push != null
  }

  all_subscriptions = concat(
    [for name, subscription in local.pulled : merge(subscription, { at = "subscriptions.${name}" })],
    [for name, push in local.pushed : merge(push, { at = "functions.${name}.trigger.push" })],
  )
  kept = [for name, subscription in local.pulled : subscription.topic]
  memory_mib = { # by CPUs: https://cloud.google.com/run/docs/configuring/services/memory-limits
    1 = [256, 4096]
    2 = [256, 8192]
    4 = [2048, 16384]
    8 = [4096, 32768]
  }
  scheduled_seconds = 1800 # the longest attempt_deadline of Cloud Scheduler
  # Parts of a stack, and accounts that Terraform makes beside the functions'.
  taken_names = ["build-functions", "deployer", "firestore", "pubsub"]
  # What a function finds without being told, from us or from Cloud Run.
  # https://cloud.google.com/run/docs/container-contract#env-vars
  given_variables = [
    "ACK_DEADLINE_SECONDS", "FUNCTION_TIMEOUT_SECONDS", "GOOGLE_CLOUD_PROJECT", "THREADS",
    "FUNCTION_SIGNATURE_TYPE", "FUNCTION_TARGET", "K_CONFIGURATION", "K_REVISION", "K_SERVICE",
    "PORT",
  ]

  subscription_problems = flatten([
    for s in local.all_subscriptions : [
      [
        for key in ["topic", "dead_letter_topic"] : "${s.at}.${key}: there is no topic \"${s[key]}\""
        if s[key] != null && !can(local.topics[s[key]])
      ],
      s.dead_letter_topic == null || contains(local.kept, coalesce(s.dead_letter_topic, "-")) ? [] : [
        "${s.at}.dead_letter_topic: no pulled subscription keeps what \"${s.dead_letter_topic}\" is sent: it would be lost"
      ],
      (s.dead_letter_topic == null) == (s.max_delivery_attempts == null) ? [] : [
        "${s.at}: dead_letter_topic and max_delivery_attempts go together"
      ],
      s.minimum_backoff_seconds <= s.maximum_backoff_seconds ? [] : [
        "${s.at}: minimum_backoff_seconds is more than maximum_backoff_seconds"
      ],
    ]
  ])
  function_problems = flatten([
    for name, f in local.functions : [
      contains(local.taken_names, name) || startswith(name, "call-") ? [
        "functions.${name}: this name has something else already: choose another"
      ] : [],
      can(local.pulled[name]) ? ["functions.${name}: there is a subscription of this name"] : [],
      length([for one in [f.trigger.http, f.trigger.push != null, f.trigger.schedule != null] : one if one]) == 1 ? [] : [
        "functions.${name}.trigger: exactly one of http, push, schedule"
      ],
      f.memory_mib >= local.memory_mib[f.cpu][0] && f.memory_mib <= local.memory_mib[f.cpu][1] ? [] : [
        "functions.${name}.memory_mib: ${join(" to ", local.memory_mib[f.cpu])} with ${f.cpu} CPU"
      ],
      try(f.trigger.push.dead_letter_topic, "-") != null ? [] : [
        "functions.${name}.trigger.push: without a dead_letter_topic, what always fails is lost"
      ],
      try(f.trigger.push.ack_deadline_seconds >= f.timeout_seconds, true) ? [] : [
        "functions.${name}.timeout_seconds: longer than the ack deadline of its push"
      ],
      f.trigger.schedule == null || f.timeout_seconds <= local.scheduled_seconds ? [] : [
        "functions.${name}.timeout_seconds: ${local.scheduled_seconds} is the most with a schedule"
      ],
      [
        for prefix, topic in f.publishes : "functions.${name}.publishes.${prefix}: there is no topic \"${topic}\""
        if !can(local.topics[topic])
      ],
      [
        for variable, secret in f.secrets : "functions.${name}.secrets.${variable}: there is no secret \"${secret}\""
        if !can(local.secrets[secret])
      ],
      [
        for variable in f.per_deployment :
        "functions.${name}.per_deployment.${variable}: has no value in `local`" if !can(f.local[variable])
      ],
      [
        for section, variables in local.variables[name] : [
          for variable in variables : "functions.${name}.${section}.${variable}: is given, by what else is said or by Cloud Run"
          if contains(local.given[name], variable)
        ]
      ],
      [
        for section, variables in local.variables[name] : [
          for variable in variables : "functions.${name}.${section}.${variable}: is one of `secrets`"
          if section != "secrets" && (can(f.secrets[variable]) || can(f.secrets[trimsuffix(variable, "_FILE")]))
        ]
      ],
    ]
  ])
  variables = {
    for name, f in local.functions : name => {
      environment    = keys(f.environment)
      local          = keys(f.local)
      per_deployment = f.per_deployment
      secrets        = keys(f.secrets)
    }
  }
  given = {
    for name, f in local.functions : name => concat(
      local.given_variables, flatten([for prefix in keys(f.publishes) : ["${prefix}_TOPIC", "${prefix}_ENCODING"]]),
    )
  }
  name_problems = flatten([
    for section in ["topics", "subscriptions", "functions"] : [
      for name in keys(local.shaped[section]) : "${section}.${name}: names that begin with goog are Google's own"
      if startswith(name, "goog")
    ]
  ])
  firestore_problems = concat(
    [
      for number, policy in local.firestore.ttl : "firestore.ttl[${number}]: a collection's second"
      if index(local.firestore.ttl[*].collection, policy.collection) < number
    ],
    [
      for number, one in local.firestore.unindexed : "firestore.unindexed[${number}]: is there already"
      if index(local.firestore.unindexed, one) < number
    ],
    [
      for number, one in local.firestore.indexes : "firestore.indexes[${number}]: is there already"
      if index(local.firestore.indexes, one) < number
    ],
    [
      for number, one in local.firestore.indexes : "firestore.indexes[${number}].fields: one stands twice"
      if length(distinct(one.fields[*].field_path)) < length(one.fields)
    ],
  )
  problems = concat(
    local.misshapen, local.name_problems, local.subscription_problems, local.function_problems, local.firestore_problems,
  )
}

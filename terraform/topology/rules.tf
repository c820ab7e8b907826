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
  # unix-cron: minute, hour, day of the month, month, day of the week.
  cron_ranges = [
    "[0-5]?[0-9]", "(?:1?[0-9]|2[0-3])", "(?:[12]?[0-9]|3[01])", "(?:1[0-2]|0?[0-9]|[A-Za-z]{3})",
    "(?:[0-7]|[A-Za-z]{3})",
  ]
  cron_fields = [
    for range in local.cron_ranges :
    "(?:\\*|${range}(?:-${range})?)(?:/[0-9]+)?(?:,(?:\\*|${range}(?:-${range})?)(?:/[0-9]+)?)*"
  ]
  memory_mib = { # by CPUs: https://cloud.google.com/run/docs/configuring/services/memory-limits
    1 = [256, 4096]
    2 = [256, 8192]
    4 = [2048, 16384]
    8 = [4096, 32768]
  }
  cron = "^${join(" +", local.cron_fields)}$"

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
      can(regex("^[a-z][a-z0-9-]{4,23}[a-z0-9]$", name)) ? [] : [
        "functions.${name}: a name has 6 to 25 lower-case letters, digits and hyphens: it names accounts"
      ],
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
      f.trigger.schedule == null || can(regex(local.cron, f.trigger.schedule)) ? [] : [
        "functions.${name}.trigger.schedule: \"${f.trigger.schedule}\" is not unix-cron"
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
        for variable in f.per_deployment : "functions.${name}.per_deployment: ${variable} has no value in `local`"
        if !can(f.local[variable])
      ],
    ]
  ])
  problems = concat(local.misshapen, local.subscription_problems, local.function_problems)
}

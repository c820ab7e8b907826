output "topology" {
  description = "What the file says, every default filled in; a pushing subscription is named as its function."
  value = {
    topics    = local.topics
    secrets   = local.secrets
    firestore = local.firestore
    subscriptions = merge(
      { for name, subscription in local.pulled : name => merge(subscription, { pushes_to = null }) },
      { for name, push in local.pushed : name => merge(push, { pushes_to = name }) },
    )
    functions = {
      for name, function in local.functions : name => merge(function, {
        # The same is in emulator/topology.py: Topology.derived_environment.
        derived_environment = merge(
          {
            THREADS                  = tostring(function.concurrency)
            FUNCTION_TIMEOUT_SECONDS = tostring(function.timeout_seconds)
          },
          { for prefix, topic in function.publishes : "${prefix}_TOPIC" => topic },
          {
            for prefix, topic in function.publishes :
            "${prefix}_ENCODING" => try(local.topics[topic].schema.encoding, "JSON")
          },
          function.trigger.push == null ? {} : {
            ACK_DEADLINE_SECONDS = tostring(function.trigger.push.ack_deadline_seconds)
          },
        )
      })
    }
  }

  precondition {
    condition     = length(local.problems) == 0
    error_message = join("\n", [for problem in local.problems : "${var.file}: ${problem}"])
  }
}

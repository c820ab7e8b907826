output "accounts" {
  description = "Who each function runs as."
  value       = { for name, account in google_service_account.function : name => account.email }
}

output "invokers" {
  description = "Who may call the HTTP functions."
  value       = var.invokers
}

output "subscriptions" {
  description = "The full name of each subscription."
  value       = { for name, subscription in google_pubsub_subscription.subscription : name => subscription.id }
}

output "urls" {
  description = "Where each HTTP function answers."
  value       = { for name in keys(local.http) : name => local.uris[name] }
}

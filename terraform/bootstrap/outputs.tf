output "deployer" {
  description = "The identity that applies the root."
  value       = google_service_account.deployer.email
}

output "state_bucket" {
  description = "Where the root's state is."
  value       = google_storage_bucket.state.name
}

output "workload_identity_provider" {
  description = "What a GitHub workflow names to become the deployer; null without github_repository."
  value       = one(google_iam_workload_identity_pool_provider.github[*].name)
}

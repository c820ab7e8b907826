# The bucket is made by bootstrap/ and named when the folder is initialised:
#   terraform init -backend-config=bucket=PROJECT-terraform-state

terraform {
  backend "gcs" {
    prefix = "sign-up"
  }
}

# Where real people sign up. Every line is explained in docs/deploy.md.
project      = "your-project-id"
region       = "europe-west1"
protect_data = true
invokers     = ["allUsers"]
alert_email  = "on-call@example.com"

budget = {
  amount          = 50
  billing_account = "000000-000000-000000"
}

environment = {
  create-user = {
    JWT_AUDIENCE        = "https://api.example.com"
    JWT_ISSUER          = "https://accounts.example.com"
    PASSWORD_MIN_LENGTH = "15" # NIST SP 800-63B-4, where a password is the only factor
  }
  send-email = {
    MAIL_FROM     = "Sign-up <no-reply@example.com>"
    SMTP_HOST     = "smtp.example.com"
    SMTP_USERNAME = "no-reply@example.com"
    VERIFY_URL    = "https://accounts.example.com/verify-email"
  }
}

# The version of each secret that is in use, "1" unless it stands here.
secret_versions = {
  # jwt-keys = "2"
}

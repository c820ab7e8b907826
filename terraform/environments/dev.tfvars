# A place to try things. Every line is explained in docs/deploy.md.
project      = "your-project-id"
region       = "europe-west1"
protect_data = false
invokers     = [] # yourself, ["user:you@example.com"], or ["allUsers"] for curl from anywhere

environment = {
  send-email = {
    MAIL_FROM     = "Sign-up <no-reply@example.com>"
    SMTP_HOST     = "smtp.example.com"
    SMTP_USERNAME = "no-reply@example.com"
    VERIFY_URL    = "https://example.com/verify-email"
  }
}

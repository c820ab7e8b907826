"""Puts the project into a Google Cloud project: `python -m deploy COMMAND --environment NAME`.

    cli -> rollout              plan, apply, destroy, secrets: what each command does
        -> key_set              a key set from standard input, changed, to standard output
        -> redrive              dead-lettered messages, published again
    rollout -> preflight        what must be there first, and how to mend what is not
            -> target           what terraform/environments/NAME.tfvars says
            -> terraform        the calls of terraform
            -> gcloud           the calls of gcloud, and its errors in plain words
            -> terminal         questions and progress
    preflight, terraform, gcloud -> children -> errors

1. What is applied is the plan that was shown, and somebody said yes to it.
2. A secret's value passes through standard input and memory: never through an argument, a file,
   a log or an error.
3. Stopped by a signal that can be caught, it leaves no process and no plan file, and terraform has
   released the lock of its state. After a kill -9 terraform goes on alone to its end, and the plan
   file stays, which holds every variable: the next start removes it once it is a day old.
4. It acts as the deployer that terraform/bootstrap makes, unless told to act `--as-me`.
5. It never imports functions/, and neither functions/ nor emulator/ imports it; from emulator/ it
   takes the topology, the error for the user, and the values that are made up.
"""

"""A local Google Cloud: what the functions need of it, on one machine.

    cli -> commands, mailbox, demo, serve      arguments; what each command does
        -> stack                               the whole: order, readiness, shutdown, faults
        -> topology, provision                 what runs; made in Pub/Sub
            -> topology_texts, typed_yaml      its texts' patterns; files read into types
        -> state, secret_values                its folder; what is made up for it
        -> functions, smtp                     functions-framework processes; the mail catcher
        -> backends -> gcloud                  Google's emulators
                    -> pubsub, firestore       ours: servers -> wire -> PURE core
        -> processes, loglines                 processes that end with us; one log of many

1. `functions/` and `emulator/` never import each other: they meet over HTTP, gRPC and SMTP.
2. The core of pubsub/ and firestore/ imports nothing of the outside world: no gRPC, protobuf,
   event loop, clock or chance. The files that do are listed in tests/repository/test_rules.py.
3. Nothing polls: a domain object says when it changes by itself next, a wait ends by an event.
4. What is not supported is refused by its name, never accepted and ignored.

Sources are at the rule they stand for: a link, or "observed: " and the emulator's version.
"""

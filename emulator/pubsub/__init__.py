"""Pub/Sub, embedded: google.pubsub.v1 on one event loop, without Java, Docker or polling.

    server.py            two ports: gRPC, and http_side.py beside it
    *_service.py         method tables: a request translated (translate.py, pb.py), one call
    streaming.py         one StreamingPull stream
    push.py              takes as any consumer does; push_http.py posts, oidc.py signs
    runtime.py feed.py   the broker with a clock, a loop, a timer, and those who wait

PURE, told the time and given its randomness:
    broker.py            topics, subscriptions, snapshots by name; who hears of what
    subscription.py      one subscription's messages: leases, failures, what comes next
    ordering.py seek.py  ordering keys; snapshots and moving in time
    backoff.py leases.py how long to wait; what ends when
    message.py consumer.py settings.py names.py pages.py dead_letter.py push_request.py
    filters.py schemas.py

From a publish to a callback: publisher_service -> broker -> subscription.enqueue -> (notify)
feed -> streaming.
"""

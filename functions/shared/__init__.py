"""What every function carries: a deployed function's zip holds this folder beside its `main.py`.

settings.py     environment variables: read once, checked once, refused by name
events.py       the `user.created` contract: dataclass <-> Pub/Sub data and attributes
documents.py    Firestore: one client, calls bounded in time, outages told from mistakes
tokens.py       JWTs signed by a rotating key set
strict_json.py  JSON without the surprises: no duplicate keys, NaN or lone surrogates
logs.py         one JSON object a line in Cloud Logging's field names, addresses masked
traces.py       W3C trace context, from the request through the event to the mail
once.py         a value built on first use, once, whatever the threads

None of these knows a function; the functions do not know each other.
"""

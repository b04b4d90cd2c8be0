"""What devices talk to: MQTT over TLS, HTTPS and WebSockets, with amqtt's Broker behind a front end of our own.

Rule: this package alone imports amqtt, OpenSSL, h11 and websockets.
"""

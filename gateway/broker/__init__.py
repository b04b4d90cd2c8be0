"""What devices talk to: the MQTT/TLS listener, with amqtt's Broker behind a front end of our own.

Rule: this package alone imports amqtt and OpenSSL.
"""

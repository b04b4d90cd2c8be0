"""The gateway above this one: IoT Hub as a nested gateway meets it, over real TLS, MQTT and HTTPS.

`hub.ParentHub` is the door; whoever has no parent does not import it, nor paho with it.
"""

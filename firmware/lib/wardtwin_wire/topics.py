"""MQTT topics: wardtwin/1/<tag id>/up carries sealed frames from a tag, …/down the gateway's acks to it.

The broker's access rules give each tag its own two topics (mosquitto: pattern write wardtwin/1/%u/up).
"""

UP_FILTER = "wardtwin/1/+/up"


def up(tag_id):
    return "wardtwin/1/" + tag_id + "/up"


def down(tag_id):
    return "wardtwin/1/" + tag_id + "/down"


def tag_of(topic):
    """Return the tag id of an up topic, or None."""
    parts = topic.split("/")
    return parts[2] if len(parts) == 4 and parts[0] == "wardtwin" and parts[1] == "1" and parts[3] == "up" else None

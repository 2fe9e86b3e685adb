"""`wardtwin tag`: from a bare ESP32 to a tag its gateway and cloud know. Bytes on the air are the tag's business, not ours."""

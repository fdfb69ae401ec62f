"""s5cmd, the engine that moves the bytes: found, fed, listened to and stopped here."""

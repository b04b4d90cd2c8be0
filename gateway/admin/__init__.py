"""HTTP for whoever looks after the emulator itself: is it well, what has arrived, what time is it."""

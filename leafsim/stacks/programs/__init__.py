"""What runs inside the other languages: small clients that make one handshake and say what came of it as JSON."""

"""`leafgate matrix`: a chain against every TLS stack at hand, beside what was measured."""

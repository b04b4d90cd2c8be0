"""What a leaf can find out about a gateway: what is wrong, how one can see it, what to do, and who is affected.

    report = diagnose("gw.factory.test:8883", trust=Path("root.pem"))
    report.verdict, report.headline

Nothing on the other side is changed, and no private key is needed: it works against a real gateway.
"""

from leafsim.diagnose.examine import diagnose, diagnose_files
from leafsim.diagnose.report import Finding, Report, StackAnswer

__all__ = ["Finding", "Report", "StackAnswer", "diagnose", "diagnose_files"]

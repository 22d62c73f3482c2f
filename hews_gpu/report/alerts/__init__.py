"""Pages of warnings in use: a replay that moves through its issue times, and the verification of what was said."""

from hews_gpu.report.alerts.replay import build_replay_page
from hews_gpu.report.alerts.verification import build_verification_page

__all__ = ["build_replay_page", "build_verification_page"]

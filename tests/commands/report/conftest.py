"""What the tests of pages share."""

from tests.commands.report.browser import offline, opened

__all__ = ["offline", "opened"]

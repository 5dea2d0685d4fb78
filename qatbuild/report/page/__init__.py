"""The page of all models, report.html: one file that needs no network, with its data in one block of JSON."""

from qatbuild.report.page.document import document, page, write

__all__ = ["document", "page", "write"]

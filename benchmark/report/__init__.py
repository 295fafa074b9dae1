"""Reports from records: tables, figures and a page.  Never imports torch."""

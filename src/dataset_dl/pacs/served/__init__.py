"""Archives and transfers for the page and for programs: calls, a DICOMweb proxy, and pages."""

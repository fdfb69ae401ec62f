"""The part of XNAT's data model that public clients need to name projects, subjects, sessions and scans.

The names of the types are XNAT's; the client `xnat` builds its classes from them.
"""


def _type(name: str, base: str = "", fields: str = "", attributes: str = "") -> str:
    made = "".join(f'<xs:attribute name="{each}" type="xs:string"/>' for each in attributes.split())
    inside = (f"<xs:sequence>{fields}</xs:sequence>" if fields else "") + made
    if base:
        inside = (
            f'<xs:complexContent><xs:extension base="xnat:{base}">{inside}</xs:extension></xs:complexContent>'
        )
    return f'<xs:complexType name="{name}">{inside}</xs:complexType>'


def _several(name: str, item: str, kind: str) -> str:
    return (
        f'<xs:element name="{name}" minOccurs="0"><xs:complexType><xs:sequence><xs:element name="{item}"'
        f' type="xnat:{kind}" minOccurs="0" maxOccurs="unbounded"/>'
        "</xs:sequence></xs:complexType></xs:element>"
    )


def _text(*names: str) -> str:
    return "".join(f'<xs:element name="{name}" type="xs:string"/>' for name in names)


SCHEMA = (
    '<?xml version="1.0" encoding="UTF-8"?><xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"'
    ' xmlns:xdat="http://nrg.wustl.edu/xdat" xmlns:xnat="http://nrg.wustl.edu/xnat"'
    ' targetNamespace="http://nrg.wustl.edu/xnat">'
    '<xs:element name="Project" type="xnat:projectData"/>'
    '<xs:element name="Subject" type="xnat:subjectData"/>'
    '<xs:element name="CTSession" type="xnat:ctSessionData"/>'
    '<xs:element name="CTScan" type="xnat:ctScanData"/>'
    '<xs:element name="ResourceCatalog" type="xnat:resourceCatalog"/>'
    + _type("projectData", fields=_text("name"), attributes="ID")
    + _type(
        "subjectData",
        fields=_several("experiments", "experiment", "subjectAssessorData"),
        attributes="ID project label",
    )
    + _type("experimentData", attributes="ID project label")
    + _type("subjectAssessorData", "experimentData", _text("subject_ID"))
    + _type("imageSessionData", "subjectAssessorData", _several("scans", "scan", "imageScanData"), "UID")
    + _type("ctSessionData", "imageSessionData")
    + _type("imageScanData", fields=_text("image_session_ID", "series_description"), attributes="ID type UID")
    + _type("ctScanData", "imageScanData")
    + _type("abstractResource", attributes="label")
    + _type("resource", "abstractResource")
    + _type("resourceCatalog", "resource")
    + "</xs:schema>"
)

#!/usr/bin/env python3
"""The bill of materials of one image as SPDX 2.3 JSON.

    sbom.py NAME VERSION SECONDS PACKAGES.tsv CONTEXT WHEEL ...

SECONDS: when, as Unix time. PACKAGES.tsv: dpkg-query's package, version, architecture, source and maintainer, one package a line. CONTEXT:
the folder whose opt/ holds our programs and the libraries beside them. WHEEL: name==version that those libraries came from.
"""
import datetime
import hashlib
import json
import pathlib
import re
import sys


def spdx_id(*parts):
    return "SPDXRef-" + re.sub(r"[^A-Za-z0-9.-]", "-", "-".join(parts))


def package(kind, name, version, purl, supplier="NOASSERTION", source=None):
    found = {"SPDXID": spdx_id(kind, name), "name": name, "versionInfo": version, "downloadLocation": "NOASSERTION", "filesAnalyzed": False,
             "supplier": supplier, "licenseConcluded": "NOASSERTION", "licenseDeclared": "NOASSERTION", "copyrightText": "NOASSERTION"}
    if source:
        found["sourceInfo"] = f"built from Debian source package {source}"
    if purl:
        found["externalRefs"] = [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": purl}]
    return found


def debian_packages(path):
    for line in path.read_text().splitlines():
        name, version, architecture, source, maintainer = line.split("\t")
        name = name.split(":")[0]
        yield package("deb", name, version, f"pkg:deb/debian/{name}@{version}?arch={architecture}&distro=bookworm",
                      f"Organization: {maintainer}", source)


def wheels(names):
    for each in names:
        name, version = each.split("==")
        yield package("pypi", name, version, f"pkg:pypi/{name}@{version}")


def files(context):
    for path in sorted((context / "opt").rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            inside = "./" + str(path.relative_to(context))
            yield {"SPDXID": spdx_id("file", inside), "fileName": inside, "licenseConcluded": "NOASSERTION", "copyrightText": "NOASSERTION",
                   "checksums": [{"algorithm": "SHA1", "checksumValue": hashlib.sha1(content).hexdigest()},
                                 {"algorithm": "SHA256", "checksumValue": hashlib.sha256(content).hexdigest()}]}


def document(name, version, seconds, packages, context, wheel_names):
    image = package("image", name, version, None)
    parts = [*debian_packages(pathlib.Path(packages)), *wheels(wheel_names)]
    own = list(files(pathlib.Path(context)))
    identity = hashlib.sha256(json.dumps([parts, own], sort_keys=True).encode()).hexdigest()
    created = datetime.datetime.fromtimestamp(int(seconds), datetime.timezone.utc)
    return {"spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": f"{name}-{version}",
            "documentNamespace": f"urn:entrain:sbom:{name}:{identity}",
            "creationInfo": {"created": created.strftime("%Y-%m-%dT%H:%M:%SZ"), "creators": ["Tool: entrain-sbom"]},
            "documentDescribes": [image["SPDXID"]], "packages": [image, *parts], "files": own,
            "relationships": [{"spdxElementId": image["SPDXID"], "relationshipType": "CONTAINS", "relatedSpdxElement": part["SPDXID"]}
                              for part in [*parts, *own]]}


if __name__ == "__main__":
    json.dump(document(*sys.argv[1:6], sys.argv[6:]), sys.stdout, indent=1)
    print()

"""Strict checks of Kubernetes objects, offline: built-in kinds against the schemas that kubernetes-validate carries, custom resources
against the openAPIV3Schema of their definitions. A field that no schema names is an error in both."""
import copy
import functools
import os
import pathlib

import jsonschema
import kubernetes_validate
import yaml

TOOLS = pathlib.Path(os.environ["ENTRAIN_K8S_TOOLS"])
# The oldest release that Chart.yaml admits, and the newest that the checker knows.
VERSIONS = ("1.27", "1.37")


class DefinitionLoader(yaml.CSafeLoader):
    """Where a definition says = without quotes it means the text, as for Kubernetes; YAML 1.1 has a type of its own for it."""


DefinitionLoader.add_constructor("tag:yaml.org,2002:value", lambda loader, node: node.value)


def load_all(text, loader=yaml.CSafeLoader):
    return [document for document in yaml.load_all(text, Loader=loader) if document]


def closed(schema):
    """The schema with every object that lists its fields closed to others, as an API server with strict field validation does."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: closed(part) for key, part in schema.items()}
    if "properties" in result and isinstance(result["properties"], dict) and "additionalProperties" not in result \
            and not result.get("x-kubernetes-preserve-unknown-fields"):
        result["additionalProperties"] = False
    if result.get("x-kubernetes-embedded-resource") or schema.get("x-kubernetes-preserve-unknown-fields"):
        result.pop("additionalProperties", None)
    if result.get("x-kubernetes-int-or-string"):
        result.pop("type", None)
        result.setdefault("anyOf", [{"type": "integer"}, {"type": "string"}])
    if result.get("nullable") and isinstance(result.get("type"), str):
        result["type"] = [result["type"], "null"]
    # A pattern beside int-or-string is for strings only; jsonschema reads it so. Formats are not checked.
    result.pop("format", None)
    return result


def custom_resources():
    """Every CustomResourceDefinition."""
    for path in sorted((TOOLS / "crds").glob("*.yaml")):
        # cert-manager's files hold lines of its chart's template language, each on a line of its own.
        text = "\n".join(line for line in path.read_text().splitlines() if not line.lstrip().startswith("{{"))
        yield from load_all(text, DefinitionLoader)


@functools.lru_cache(maxsize=None)
def definitions():
    """(apiVersion, kind) -> validator of a whole object."""
    found = {}
    for crd in custom_resources():
        for version in crd["spec"]["versions"]:
            schema = copy.deepcopy(version["schema"]["openAPIV3Schema"])
            schema["properties"]["metadata"] = {"type": "object"}
            key = (crd["spec"]["group"] + "/" + version["name"], crd["spec"]["names"]["kind"])
            found[key] = jsonschema.Draft7Validator(closed(schema))
    return found


def problems(document):
    """What is wrong with one object; empty when nothing is. A kind that no schema knows is a problem too."""
    key = (document.get("apiVersion"), document.get("kind"))
    name = f"{document.get('kind')}/{document.get('metadata', {}).get('name')}"
    if key in definitions():
        return [f"{name}: {'.'.join(map(str, error.path))}: {error.message[:300]}" for error in definitions()[key].iter_errors(document)]
    found = []
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            found.append(f"{name} ({version}): {'.'.join(map(str, error.path))}: {error.message[:300]}")
        except kubernetes_validate.SchemaNotFoundError as error:
            found.append(f"{name} ({version}): {error}")
    return found

"""What Kubernetes publishes of its API: which paths and verbs there are, with which parameters, and what bodies must look like. From the OpenAPI
documents that client-go carries and from the custom resource definitions; nothing is written down here by hand."""
import functools
import json
import re

import jsonschema

import strict_schema

DOCUMENTS = strict_schema.TOOLS / "openapi"
VERBS = {"post": "create", "put": "update", "patch": "patch"}


class Operation:
    """One verb on one path, as published."""

    def __init__(self, verb, group, resource, subresource, namespace, name, parameters, body):
        self.verb, self.group, self.resource, self.subresource = verb, group, resource, subresource
        self.namespace, self.name, self.parameters, self.body = namespace, name, parameters, body

    def __str__(self):
        return f"{self.verb} {self.resource}" + (f"/{self.subresource}" if self.subresource else "")

    def problems(self, query, body):
        """What is wrong with a request's query (name -> values) and body (None: there is none)."""
        found = [f"{self}: unknown parameter {name}" for name in query if name not in self.parameters]
        for name, values in query.items():
            kind = self.parameters.get(name, "string")
            if len(values) != 1 or (kind == "integer" and not values[0].isdigit()) or (kind == "boolean" and values[0] not in ("true", "false")):
                found.append(f"{self}: parameter {name}={values} is no {kind}")
        if body is not None and self.body is None:
            found.append(f"{self} takes no body")
        elif body is not None:
            found += [f"{self}: {'.'.join(map(str, error.path))}: {error.message[:300]}" for error in self.body.iter_errors(body)]
        elif self.verb in ("create", "update", "patch"):
            found.append(f"{self} needs a body")
        return found


@functools.lru_cache(maxsize=None)
def document(name):
    return json.loads((DOCUMENTS / name).read_text())


@functools.lru_cache(maxsize=None)
def component(name, document_name="apis__apps__v1_openapi.json"):
    """Validator of a named schema; unknown fields are errors, as with fieldValidation=Strict."""
    return jsonschema.Draft7Validator({"$ref": f"#/components/schemas/{name}", "components": closed_components(document_name)})


@functools.lru_cache(maxsize=None)
def closed_components(document_name):
    return {"schemas": {name: strict_schema.closed(schema) for name, schema in document(document_name)["components"]["schemas"].items()}}


def parameters_of(item, operation):
    return {one["name"]: one["schema"].get("type", "string") for one in item.get("parameters", []) + operation.get("parameters", [])
            if one["in"] == "query"}


def body_of(operation, document_name):
    contents = operation.get("requestBody", {}).get("content", {})
    # A patch's schema says no more than that it is one.
    schema = contents.get("*/*", {}).get("schema", {})
    return component(schema["$ref"].rsplit("/", 1)[1], document_name) if "$ref" in schema else None


def verb_of(method, named, query):
    if method == "get":
        return "get" if named else "watch" if query.get("watch") == ["true"] else "list"
    if method == "delete":
        return "delete" if named else "deletecollection"
    return VERBS[method]


def built_in(name, group):
    """(pattern, group, plural, subresource, item, document) of every namespaced path."""
    for path, item in document(name)["paths"].items():
        parts = re.match(r"^/apis?/(?:[^/]+/)?[^/]+/namespaces/\{namespace\}/([a-z]+)(/\{name\}(?:/([a-z]+))?)?$", path)
        if parts:
            pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path)
            yield re.compile("^" + pattern + "$"), group, parts.group(1), parts.group(3), item, name


def custom():
    """The same for custom resources, whose paths follow from their definitions; options and lists are those of the built-in ones."""
    name = "apis__apps__v1_openapi.json"
    shape = document(name)["paths"]
    collection = shape["/apis/apps/v1/namespaces/{namespace}/statefulsets"]
    single = shape["/apis/apps/v1/namespaces/{namespace}/statefulsets/{name}"]
    for crd in strict_schema.custom_resources():
        if crd["spec"]["scope"] != "Namespaced":
            continue
        group, names = crd["spec"]["group"], crd["spec"]["names"]
        for version in crd["spec"]["versions"]:
            if version["served"]:
                root = f"^/apis/{group}/{version['name']}/namespaces/(?P<namespace>[^/]+)/{names['plural']}"
                key = (f"{group}/{version['name']}", names["kind"])
                yield re.compile(root + "$"), group, names["plural"], None, collection, key
                yield re.compile(root + "/(?P<name>[^/]+)$"), group, names["plural"], None, single, key


@functools.lru_cache(maxsize=None)
def paths():
    return [*built_in("api__v1_openapi.json", ""), *built_in("apis__apps__v1_openapi.json", "apps"), *custom()]


def find(method, path, query):
    """The published operation, or None."""
    for pattern, group, resource, subresource, item, source in paths():
        match = pattern.match(path)
        operation = match and item.get(method.lower())
        if not operation:
            continue
        named = match.groupdict().get("name")
        verb = verb_of(method.lower(), named, query)
        if isinstance(source, str):
            body = body_of(operation, source)
        elif verb == "delete":
            body = component("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions")
        else:
            body = strict_schema.definitions()[source] if verb in ("create", "update") else None
        return Operation(verb, group, resource, subresource, match["namespace"], named, parameters_of(item, operation), body)
    return None

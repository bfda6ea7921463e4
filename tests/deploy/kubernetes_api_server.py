"""A recording API server over HTTPS. It admits what Kubernetes' published documents admit, for the accounts and with the rights that the
chart renders, and disturbs on request. It knows nothing of entrain's code: it checks the protocol.

    server.requests     everything that was asked, in order
    server.problems()   every breach of the published API so far; a test ends with none
"""
import copy
import dataclasses
import http.server
import json
import pathlib
import socket
import ssl
import subprocess
import threading
import urllib.parse

import kubernetes_objects
import published_api
from kubernetes_objects import Refused


@dataclasses.dataclass
class Asked:
    method: str
    path: str
    what: str           # "get statefulsets/scale"; empty: no such path
    query: dict
    body: object
    code: int = 0       # 0: never answered


@dataclasses.dataclass
class Fault:
    """`kind`: status (with code, headers, body), drop (before anything happens), lose (after it happened), slow (until `release`), raw (these
    bytes), endless."""
    kind: str
    only: str = ""      # an operation, "update statefulsets/scale"; empty: any
    times: int = 1
    code: int = 0
    headers: dict = dataclasses.field(default_factory=dict)
    body: object = None
    raw: bytes = b""
    release: threading.Event = dataclasses.field(default_factory=threading.Event)


def make_authority(folder):
    """An authority and a certificate for 127.0.0.1: (ca.crt, server.crt, server.key)."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    run = lambda *arguments: subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    run("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=kubernetes")
    (folder / "san").write_text("subjectAltName=IP:127.0.0.1,DNS:kubernetes.default.svc\n")
    run("req", *key, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=kube-apiserver")
    run("x509", "-req", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "san",
        "-out", "server.crt")
    return folder / "ca.crt", folder / "server.crt", folder / "server.key"


class ApiServer:
    """`rendered`: the chart's objects, whose Roles and RoleBindings are the only rights. `tokens`: bearer token -> account's name."""

    def __init__(self, folder, namespace, rendered, tokens, pods=None):
        self.namespace, self.tokens = namespace, dict(tokens)
        self.rights = [item for item in rendered if item["kind"] in ("Role", "RoleBinding")]
        self.objects = kubernetes_objects.Objects(namespace, pods)
        self.requests, self.breaches, self.faults = [], [], []
        self.page_limit = 0             # at most so many items a page, whatever is asked; 0: as asked
        self.lock = self.objects.lock
        self.authority, certificate, key = make_authority(folder)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate, key)
        self.port = 0
        self.start()

    # The listener can go away and come back at the same address.

    def start(self):
        outer = self

        class Handler(RequestHandler):
            server_state = outer

        class Listener(http.server.ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

            def get_request(self):
                connection, address = super().get_request()
                connection.settimeout(60)
                # The handshake happens with the first read, in the connection's own thread.
                wrapped = outer.context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
                outer.connections.add(wrapped)
                return wrapped, address

            def handle_error(self, request, address):
                pass  # a client that does not trust us ends here

        self.connections = set()
        self.listener = Listener(("127.0.0.1", self.port), Handler)
        self.port = self.listener.server_address[1]
        self.thread = threading.Thread(target=self.listener.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()

    def stop(self):
        self.listener.shutdown()
        self.listener.server_close()
        for connection in list(self.connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.thread.join()

    @property
    def address(self):
        return f"https://127.0.0.1:{self.port}"

    def problems(self):
        with self.lock:
            return self.breaches + self.objects.wrong

    def asked(self, what, code=None):
        with self.lock:
            return [one for one in self.requests if one.what == what and code in (None, one.code)]

    def disturb(self, fault):
        with self.lock:
            self.faults.append(fault)
        return fault

    # Who may do what.

    def admits(self, account, operation):
        roles = {binding["roleRef"]["name"] for binding in self.rights if binding["kind"] == "RoleBinding"
                 for subject in binding["subjects"] if (subject["name"], subject["namespace"]) == (account, self.namespace)}
        resource = operation.resource + (f"/{operation.subresource}" if operation.subresource else "")
        return operation.namespace == self.namespace and any(
            operation.group in rule["apiGroups"] and resource in rule["resources"] and operation.verb in rule["verbs"]
            and ("resourceNames" not in rule or operation.name in rule["resourceNames"])
            for role in self.rights if role["kind"] == "Role" and role["metadata"]["name"] in roles for rule in role["rules"])

    def take_fault(self, what):
        for fault in self.faults:
            if fault.times > 0 and fault.only in ("", what):
                fault.times -= 1
                return fault
        return None

    def answer(self, asked, headers):
        """(code, object). The lock is held."""
        token = headers.get("Authorization", "")
        account = self.tokens.get(token.removeprefix("Bearer ")) if token.startswith("Bearer ") else None
        if account is None:
            raise Refused(401, "Unauthorized", "Unauthorized")
        operation = published_api.find(asked.method, asked.path, asked.query)
        if operation is None:
            self.breaches.append(f"{asked.method} {asked.path} is not in the published API")
            raise Refused(404, "NotFound", "the server could not find the requested resource")
        asked.what = str(operation)
        self.breaches += operation.problems(asked.query, asked.body)
        if asked.body is not None and headers.get("Content-Type") != "application/json":
            self.breaches.append(f"{operation}: content type {headers.get('Content-Type')}")
        if "application/json" not in headers.get("Accept", ""):
            self.breaches.append(f"{operation}: accepts {headers.get('Accept')}")
        if not self.admits(account, operation):
            raise Refused(403, "Forbidden", f'{operation.resource} "{operation.name}" is forbidden: User "system:serviceaccount:{self.namespace}:'
                          f'{account}" cannot {operation.verb} resource "{operation.resource}" in API group "{operation.group}"')
        return self.perform(operation, asked)

    def perform(self, operation, asked):
        objects, what = self.objects, str(operation)
        if operation.verb == "list":
            return 200, self.page(operation, asked.query)
        if what == "get statefulsets/scale":
            return 200, objects.scale(operation.name)
        if what == "update statefulsets/scale":
            return 200, objects.set_scale(operation.name, asked.body)
        if what == "create jobsets":
            return 201, objects.add_jobset(asked.body)
        if what == "delete jobsets":
            return 200, objects.delete_jobset(operation.name, asked.body or {})
        raise Refused(405, "MethodNotAllowed", f"this server does not do {what}")

    def page(self, operation, query):
        items = self.objects.of(operation.resource, query.get("labelSelector", [""])[0])
        start = int(query.get("continue", ["0"])[0].rsplit("-", 1)[-1])
        limit = self.page_limit or int(query.get("limit", ["0"])[0]) or len(items)
        metadata = {"resourceVersion": str(self.objects.version)}
        if start + limit < len(items):
            metadata.update({"continue": f"{self.objects.version}-{start + limit}", "remainingItemCount": len(items) - start - limit})
        api, kind = kubernetes_objects.KINDS[operation.resource]
        return {"kind": kind + "List", "apiVersion": api, "metadata": metadata, "items": copy.deepcopy(items[start:start + limit])}


def status(refused):
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": refused.message, "reason": refused.reason,
            "code": refused.code}


class RequestHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_state = None

    def log_message(self, *arguments):
        pass

    def handle_one(self):
        state = self.server_state
        parts = urllib.parse.urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        text = self.rfile.read(length)
        asked = Asked(self.command, parts.path, "", urllib.parse.parse_qs(parts.query, keep_blank_values=True), json.loads(text) if text else None)
        operation = published_api.find(asked.method, asked.path, asked.query)
        asked.what = str(operation) if operation else ""
        with state.lock:
            state.requests.append(asked)
            fault = state.take_fault(asked.what)
        if fault and fault.kind != "lose":
            return self.disturb(fault, asked)
        with state.lock:
            try:
                asked.code, answer = state.answer(asked, self.headers)
                answer = json.dumps(answer)
            except Refused as refused:
                asked.code, answer = refused.code, json.dumps(status(refused))
        if fault:
            asked.code = 0
            self.close_connection = True
            return None
        return self.reply(asked.code, answer.encode())

    do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = handle_one

    def disturb(self, fault, asked):
        if fault.kind == "drop":
            self.close_connection = True
        elif fault.kind == "slow":
            fault.release.wait(60)
            self.close_connection = True
        elif fault.kind == "raw":
            self.wfile.write(fault.raw)
            self.close_connection = True
        elif fault.kind == "endless":
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.close_connection = True
            while True:
                self.wfile.write(b"[" * 65536)
        else:
            asked.code = fault.code
            self.reply(fault.code, json.dumps(fault.body or status(Refused(fault.code, "", "disturbed"))).encode(), fault.headers)

    def reply(self, code, body, headers={}):
        self.send_response(code)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

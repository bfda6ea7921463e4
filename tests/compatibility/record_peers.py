#!/usr/bin/env python3
"""Records what the head of a gang over two hosts says to the other host's worker, and what that worker hears from its coordinator, from the real
programs on the hosts of tests/gangs: record_peers.py BIN_DIR FIXTURE. Called by scripts/record-release; needs root for network namespaces."""
import gzip
import pathlib
import shutil
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "gangs"))
import cluster as clusters
import hosts

# Of the taps, in each host's own namespace: before its coordinator, and before its peer service.
CONTROL_PORT = 7073
PEER_PORT = 7072


def start_tap(cluster, host, port, server, name):
    tls = cluster.authority.folder
    argv = [cluster.programs / "release_tap", f"{cluster.network.address(host)}:{port}", server, tls / "ca.pem", tls / f"{host}.pem", tls / f"{host}.key", cluster.folder / name]
    tap = subprocess.Popen(cluster.network.command(host, argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert tap.stdout.readline() == b"listening\n"
    return tap


def start_worker(cluster, host):
    address = cluster.network.address(host)
    cluster.workers[host] = cluster._start(host, f"worker-{host}", [
        cluster.programs / "entrain-worker", "--coordinator", f"{address}:{CONTROL_PORT}", "--dir", cluster.folder / host, "--artifacts", cluster.folder / "artifacts",
        "--slots", 2, "--slot-kind", "cpu", "--name", host, "--peer-listen", f"{address}:7071", "--peer-address", f"{address}:{PEER_PORT}", *cluster.authority.flags(host)])


def record(programs, folder):
    network = hosts.Network(["a", "b"])
    cluster = None
    taps = []
    try:
        cluster = clusters.Cluster(programs, folder, network)
        for host in network.hosts:
            taps.append(start_tap(cluster, host, CONTROL_PORT, f"{network.router_address(host)}:7070", f"control-{host}"))
            taps.append(start_tap(cluster, host, PEER_PORT, f"{network.address(host)}:7071", f"peers-{host}"))
            start_worker(cluster, host)
        cluster.await_workers(network.hosts)
        run = cluster.submit("release", 40, checkpoint_interval=20)
        hosts.wait_until(lambda: cluster.describe(run)["run"]["state"] == "succeeded", 60, lambda: cluster.describe(run), pause_s=0.2)
    finally:
        for tap in taps:
            tap.communicate()
        if cluster is not None:
            cluster.close()
        network.close()


def main():
    programs, fixture = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2])
    if reason := hosts.permitted():
        sys.exit(f"record_peers: {reason}")
    folder = pathlib.Path(tempfile.gettempdir()) / "entrain-release-peers"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    record(programs, folder)
    # Who heads the gang is the scheduler's affair: the other one was spoken to.
    member, = [host for host in "ab" if (folder / f"peers-{host}").read_text()]
    for what in ("control", "peers"):
        with gzip.GzipFile(fixture / f"{what}_of_member.txt.gz", "wb", mtime=0) as file:
            file.write((folder / f"{what}-{member}").read_bytes())


if __name__ == "__main__":
    main()

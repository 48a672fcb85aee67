"""An OpenStack Swift cluster of one node in one process: run by the Python of `.venv-swift`, never imported.

    .venv-swift/bin/python tests/swift_process.py FOLDER

Serves S3 (s3api, signatures checked, 100 keys a page) and prints the port. Data lies in FOLDER, on a file system with
extended attributes; a second start there finds it again. Access key `test:tester`, secret key `testing`.
"""

import os

os.environ["TZ"] = "UTC+0"  # Swift asks for it; and eventlet must patch before anything else is imported

import eventlet
import eventlet.wsgi

eventlet.monkey_patch()

import getpass  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402

from swift.common.http_protocol import SwiftHttpProtocol  # noqa: E402
from swift.common.ring import RingBuilder  # noqa: E402
from swift.common.wsgi import loadapp  # noqa: E402

SERVICES = ("account", "container", "object")
BACKEND = """[DEFAULT]
swift_dir = {folder}
devices = {folder}/devices
mount_check = false
user = {user}
log_level = ERROR
disable_fallocate = true
recon_cache_path = {folder}/cache
[pipeline:main]
pipeline = {service}-server
[app:{service}-server]
use = egg:swift#{service}
"""
PROXY = """[DEFAULT]
swift_dir = {folder}
user = {user}
log_level = ERROR
[pipeline:main]
pipeline = catch_errors cache listing_formats s3api tempauth bulk copy slo dlo proxy-server
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:1
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
max_bucket_listing = 100
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
[filter:bulk]
use = egg:swift#bulk
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
"""


def main(folder):
    """Serves until it is killed."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "devices" / "d1").mkdir(parents=True, exist_ok=True)
    (folder / "cache").mkdir(exist_ok=True)
    (folder / "swift.conf").write_text("[swift-hash]\nswift_hash_path_suffix = tests\nswift_hash_path_prefix = tests\n")
    import swift.common.utils as utils

    utils.SWIFT_CONF_FILE = str(folder / "swift.conf")
    utils.validate_hash_conf()
    sockets = {service: eventlet.listen(("127.0.0.1", 0), backlog=128) for service in (*SERVICES, "proxy")}
    for service in SERVICES:
        write_ring(folder / service, sockets[service].getsockname()[1])
        start(folder, service, BACKEND, sockets[service])
    proxy = start(folder, "proxy", PROXY, sockets["proxy"])
    print(sockets["proxy"].getsockname()[1], flush=True)
    proxy.wait()


def write_ring(path, port):
    """Where each of Swift's services finds the only device."""
    ring = RingBuilder(2, 1, 0)
    ring.add_dev(
        {"id": 0, "region": 1, "zone": 1, "weight": 1.0, "ip": "127.0.0.1", "port": port, "device": "d1", "meta": ""}
    )
    ring.rebalance(seed=0)
    ring.get_ring().save(f"{path}.ring.gz")


def start(folder, service, template, socket):
    """A green thread that serves one of Swift's services."""
    config = folder / f"{service}.conf"
    config.write_text(template.format(folder=folder, service=service, user=getpass.getuser()))
    app = loadapp(str(config), global_conf={"log_name": service})
    # Clients of S3 want "ETag", not "Etag".
    options = {"protocol": SwiftHttpProtocol, "capitalize_response_headers": False, "log_output": False}
    return eventlet.spawn(eventlet.wsgi.server, socket, app, **options)


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())

"""Kills actors, nodes and the driver of a job, and disturbs its store, for minutes on end: is anything lost or doubled?

    python -m benchmarks.chaos --minutes 10 --json benchmarks/results/chaos.json     # and some five minutes around it

The job: generated images, CAMs by a small network, masks by the dense CRF (many iterations, as of large images), one
item a call. The cluster: a head without work and nodes of one core, all processes of this machine. The store: OpenStack
Swift behind a proxy that answers 503 SlowDown, falls silent, resets connections before, in and after a body, and cuts
answers short. Everything is killed by -9 but for nodes that get notice (SIGTERM); the driver is started again at once,
as one submits again, and nodes are replaced after five seconds. The job is repeated as a new run until the time is
over; a run that has begun ends under fire. Every output is then compared byte by byte with an undisturbed run's.

Exit code 1 if anything was lost or doubled, or more was redone than the killed processes had in hand. Keys of the JSON:

- `faults`: how many, by kind; `overhead`: seconds of a disturbed run over those of a calm one (mean of one before and
  one after), less 1;
- `lost`: outputs missing or with other bytes; `doubled`: outputs that should not be there, and masks listed twice;
- `redone`: how often the work on an image was begun again, from the images that were read (the proxy sees them);
  `redone_limit`: what the killed processes can have had in hand.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import yaml
from rich.table import Table

from benchmarks.chaos_cluster import Cluster, Killer
from benchmarks.chaos_ledger import Comparison, compare, output_digests
from cluster.interruption import sigterm_as_ctrl_c
from tests.faulty_s3 import TRANSIENT, FaultPlan, FaultyS3
from tests.swift_server import swift_server
from wsss_jobs.cli.terminal import make_console
from wsss_jobs.config.recipe import parse_recipe
from wsss_jobs.datasets.synthetic import SyntheticStyle, generate
from wsss_jobs.job import prepare
from wsss_jobs.stage_io import stage_folder
from wsss_jobs.stages.base import StageContext
from wsss_jobs.stages.train_classifier_task import ClassifierTask
from wsss_jobs.storage.object_store import ObjectStore
from wsss_jobs.storage.uris import open_store
from wsss_jobs.worker import CHECKPOINT_KEY

BUCKET = "chaos"
CALM = FaultPlan((), rate=0.0)
MEAN_INTERVALS_S = {"actor": 40.0, "node": 120.0, "node_with_notice": 180.0, "driver": 180.0}
# Made once and copied into each run: the index of the data set, and the classifier.
_SHARED = ("dataset-", "index/", "train_classifier-")
_MAX_FAILURES = 3
_DONE = {0, 3}  # 3: some images failed, which here counts as lost
_AWS = {
    "AWS_ACCESS_KEY_ID": "test:tester",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_REGION": "us-east-1",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}


def recipe(num_iterations: int) -> dict[str, Any]:
    """Returns the job."""
    encoder = {"name": "timm/test_efficientnet", "weights": None, "size_multiple": 32}
    classifier = {"encoder": encoder, "frozen_stages": 0, "train_batch_norm": True}
    one = {"resources": {"batch_size": 1}}
    return {
        "name": "chaos",
        "dataset": {"format": "voc", "root": f"s3://{BUCKET}/voc", "splits": ["train"]},
        "store": {"uri": f"s3://{BUCKET}/runs"},
        "resources": {"device": "cpu"},
        "stages": [
            {"stage": "train_classifier", "classifier": classifier},
            {"stage": "infer_cams", "scales": [1.0], "keep_high_res": False, **one},
            {"stage": "read_cams", **one},
            {"stage": "refine_masks", "unary": "label", "crf": {"num_iterations": num_iterations}, **one},
        ],
    }


class Bench:
    """The job on its cluster and store; runs it under any name, and tells what came of it."""

    def __init__(
        self, folder: Path, cluster: Cluster, proxy: FaultyS3, content: dict[str, Any], say: Callable[[str], None]
    ) -> None:
        self.cluster, self.proxy, self.store = cluster, proxy, open_store(f"s3://{BUCKET}/runs")
        self._folder, self._content, self._say = folder, content, say
        self._environment = cluster.head.environment | _AWS | {"AWS_ENDPOINT_URL": proxy.endpoint}
        self.driver_failures: list[str] = []

    def prepare(self) -> int:
        """Indexes the images, and stores the classifier as it is before training: what it sees is of no matter here.

        Returns the number of images.
        """
        job = prepare(parse_recipe(self._content | {"run": "base"}))
        [stage] = [stage for stage in job.plan.stages if stage.is_training]
        context = StageContext(job.dataset.class_names, job.recipe.seed, "cpu", 1, {})
        task = ClassifierTask(stage.config, context, job.dataset.items, None)
        outputs = stage_folder(stage, job.store).outputs
        task.save(task.build_model(), self._folder / "model.pt")
        outputs.put_file(self._folder / "model.pt", CHECKPOINT_KEY)
        outputs.finalise((), "artifacts")
        return len(job.dataset.items)

    def repeat(self, name: str, killer: Killer | None = None) -> float:
        """Runs the job as a new run; returns its seconds."""
        for info in self.store.child("base").list():
            if info.key.startswith(_SHARED):
                self.store.put(f"{name}/{info.key}", self.store.get(f"base/{info.key}"))
        path = self._folder / "chaos.yaml"
        path.write_text(yaml.safe_dump(self._content | {"run": name}))
        started = time.monotonic()
        self._run(path, name, killer)
        return time.monotonic() - started

    def _run(self, path: Path, name: str, killer: Killer | None) -> None:
        """Runs the job by as many drivers as it takes."""
        num_failures = 0
        while (code := self._drive(path, name, killer)) not in _DONE:
            if code > 0:  # not killed, that is
                num_failures += 1
                self.driver_failures.append((self._folder / f"{name}.log").read_text()[-2000:])
                self._say(f"the driver ended with {code}:\n{self.driver_failures[-1]}")
                if num_failures == _MAX_FAILURES:
                    raise SystemExit(f"the job failed {num_failures} times")

    def _drive(self, path: Path, name: str, killer: Killer | None) -> int:
        command = [sys.executable, "-m", "wsss_jobs", "run", str(path), "--no-report"]
        command += ["--address", self.cluster.head.gcs_address]
        with (self._folder / f"{name}.log").open("ab") as log:
            driver = subprocess.Popen(command, env=self._environment, stdout=log, stderr=log, start_new_session=True)
        try:
            while (code := driver.poll()) is None:
                if killer is not None:
                    killer.strike(driver)
                self.cluster.replace_lost()
                time.sleep(0.1)
        finally:
            driver.kill()
        return code

    def image_reads(self) -> int:
        """Returns how often an image was read so far."""
        reads = self.proxy.answered
        return sum(count for (method, path), count in reads.items() if method == "GET" and "/JPEGImages/" in path)


@contextlib.contextmanager
def bench(num_images: int, num_iterations: int, num_nodes: int, say: Callable[[str], None]) -> Iterator[Bench]:
    """A bench with its images, store, proxy and cluster."""
    with tempfile.TemporaryDirectory(prefix="chaos") as name, swift_server(Path(name)) as upstream:
        os.environ.update(_AWS | {"AWS_ENDPOINT_URL": upstream})
        boto3.session.Session().client("s3", endpoint_url=upstream).create_bucket(Bucket=BUCKET)
        generate(f"s3://{BUCKET}/voc", num_images, style=SyntheticStyle(width_px=80, height_px=64))
        with FaultyS3(upstream, CALM) as proxy, contextlib.closing(Cluster(num_nodes)) as cluster:
            yield Bench(Path(name), cluster, proxy, recipe(num_iterations), say)


def disturbed_runs(
    on: Bench, killer: Killer, seconds: float, calm_s: float, check: Callable[[ObjectStore], Comparison]
) -> tuple[list[float], list[Comparison]]:
    """Runs the job again and again under fire; returns seconds and findings of each run."""
    walls: list[float] = []
    found: list[Comparison] = []
    started = time.monotonic()
    killer.start()
    # A run that could not get half of its way before the end is not begun.
    while not walls or seconds - (time.monotonic() - started) > calm_s / 2:
        name = f"chaos-{len(walls)}"
        walls.append(on.repeat(name, killer))
        found.append(check(on.store.child(name)))
    return walls, found


def measure(on: Bench, arguments: argparse.Namespace, say: Callable[[str], None]) -> dict[str, Any]:
    """Returns the results."""
    num_items = on.prepare()
    say(f"prepared {num_items} images")
    before = on.image_reads()
    calm_s = [on.repeat("calm-0")]
    reads_of_a_run = on.image_reads() - before
    assert reads_of_a_run == 2 * num_items, "for its CAM, and for its mask"
    expected = output_digests(on.store.child("calm-0"))
    say(f"calm run: {calm_s[0]:.1f} s, {len(expected)} outputs")
    killer = Killer(on.cluster, random.Random(arguments.seed), arguments.every_s)
    on.proxy.plan = FaultPlan(TRANSIENT, rate=arguments.store_fault_rate, seed=arguments.seed)
    before = on.image_reads()

    def check(run: ObjectStore) -> Comparison:
        found = compare(run, expected)
        say(f"{run.uri}: {len(found.lost)} lost, {len(found.doubled)} doubled; faults so far: {dict(killer.counts)}")
        return found

    walls, found = disturbed_runs(on, killer, 60 * arguments.minutes, calm_s[0], check)
    redone = on.image_reads() - before - len(walls) * reads_of_a_run
    say(f"disturbed runs: {', '.join(f'{wall:.1f}' for wall in walls)} s; {dict(killer.counts)}")
    on.proxy.plan = CALM
    calm_s.append(on.repeat("calm-1"))
    found.append(check(on.store.child("calm-1")))
    mean_calm_s, mean_s = sum(calm_s) / len(calm_s), sum(walls) / len(walls)
    return {
        "faults": dict(sorted(killer.counts.items())) | {f"store_{k}": n for k, n in sorted(on.proxy.counts.items())},
        "redone": redone,
        "redone_limit": killer.num_in_flight,
        "lost": sum(len(each.lost) for each in found),
        "doubled": sum(len(each.doubled) for each in found),
        "overhead": round(mean_s / mean_calm_s - 1, 3),
        "num_items": num_items,
        "num_outputs": len(expected),
        "num_runs": len(walls),
        "seconds": {"calm": [round(wall, 1) for wall in calm_s], "disturbed": [round(wall, 1) for wall in walls]},
        "mean_seconds_between": arguments.every_s,
        "store_requests": on.proxy.num_requests,
        "driver_failures": on.driver_failures,
        "findings": [text for each in found for text in (*each.lost, *each.doubled)][:20],
        "seed": arguments.seed,
        "num_nodes": arguments.nodes,
    }


def report(results: Mapping[str, Any]) -> Table:
    """Returns the results as a table."""
    table = Table(title=f"{results['num_runs']} disturbed runs of {results['num_items']} items")
    table.add_column("what")
    table.add_column("count", justify="right")
    for kind, count in results["faults"].items():
        table.add_row(f"fault: {kind}", str(count))
    for name in ("redone", "redone_limit", "lost", "doubled"):
        table.add_row(name, str(results[name]))
    table.add_row("overhead", f"{100 * results['overhead']:.1f} %")
    return table


def main() -> None:
    """Runs, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--crf-iterations", type=int, default=3000, help="the work an item is, some 0.1 ms each")
    parser.add_argument("--store-fault-rate", type=float, default=0.01, help="share of the tries of requests")
    for kind, seconds in MEAN_INTERVALS_S.items():
        parser.add_argument(f"--{kind.replace('_', '-')}-every", type=float, default=seconds, help="mean, s")
    arguments = parser.parse_args()
    arguments.every_s = {kind: getattr(arguments, f"{kind}_every") for kind in MEAN_INTERVALS_S}
    console = make_console()
    sigterm_as_ctrl_c()
    with bench(arguments.images, arguments.crf_iterations, arguments.nodes, console.print) as on:
        results = measure(on, arguments, console.print)
    console.print(report(results))
    if arguments.json is not None:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")
    sys.exit(1 if results["lost"] or results["doubled"] or results["redone"] > results["redone_limit"] else 0)


if __name__ == "__main__":
    main()

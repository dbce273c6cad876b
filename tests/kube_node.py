"""A node of the Kubernetes of the tests: it runs each pod of Spark's executors as a process of this machine."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.kube_objects import Objects, Thing
from tests.spark_cluster import end_group, ends_with_me, spark_home

_BACKEND = "org.apache.spark.scheduler.cluster.k8s.KubernetesExecutorBackend"
_TICK = 0.05
"""Seconds between looks at pods and processes."""


@dataclass(frozen=True)
class Container:
    """The one of an executor's pod. address: its own one of this machine's."""

    process: subprocess.Popen[bytes]
    address: str
    folder: Path


class Node(threading.Thread):
    """Starts what is pending, tells what has ended, ends what was deleted. folder: of the containers and their logs."""

    def __init__(self, objects: Objects, folder: Path) -> None:
        super().__init__(name="node", daemon=True)
        self.containers: dict[str, Container] = {}
        self._objects, self._folder = objects, folder
        self._over = threading.Event()

    def run(self) -> None:
        # Here, and not where requests are answered: a process lives as long as the thread that made it.
        while not self._over.wait(_TICK):
            pods = {pod["metadata"]["name"]: pod for pod in self._objects.find("pods")}
            for name, pod in pods.items():
                if pod["status"]["phase"] == "Pending" and name not in self.containers and self._is_ready(pod):
                    self._begin(name, pod)
                elif pod["status"]["phase"] == "Running" and self.containers[name].process.poll() is not None:
                    self._tell_end(name)
            for name in self.containers.keys() - pods.keys():
                self.kill(name)
        for name in self.containers:
            self.kill(name)

    def kill(self, name: str) -> None:
        """As the kernel does for a lack of memory: at once."""
        end_group(self.containers[name].process)

    def stop(self) -> None:
        """With all containers."""
        self._over.set()
        self.join()

    def logs(self) -> str:
        """The last of what each container wrote."""
        logs = sorted(self._folder.glob("*/log"))
        return "\n".join(f"{log.parent.name}\n{log.read_text(errors='replace')[-2000:]}" for log in logs)

    def _is_ready(self, pod: Thing) -> bool:
        """Whether there is what it mounts: Spark makes a pod before its config map."""
        maps = [volume["configMap"]["name"] for volume in pod["spec"]["volumes"] if "configMap" in volume]
        return all(self._objects.get("configmaps", name) is not None for name in maps)

    def _begin(self, name: str, pod: Thing) -> None:
        address = f"127.0.0.{len(self.containers) + 2}"
        folder = self._folder / name
        folder.mkdir(parents=True)
        environment = {**os.environ, **self._environment(pod, address, folder)}
        with (folder / "log").open("wb") as sink:
            process = subprocess.Popen(
                command(environment),
                stdout=sink,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=folder,
                start_new_session=True,
                preexec_fn=ends_with_me,
            )
        self.containers[name] = Container(process, address, folder)
        self._tell(name, "Running", {"running": {"startedAt": "2026-01-01T00:00:00Z"}})

    def _tell_end(self, name: str) -> None:
        code = self.containers[name].process.returncode
        # As a shell counts signals.
        code = code if code >= 0 else 128 - code
        self._tell(name, "Failed" if code else "Succeeded", {"terminated": {"exitCode": code}})

    def _tell(self, name: str, phase: str, state: dict[str, Any]) -> None:
        status = {"name": "spark-kubernetes-executor", "ready": phase == "Running", "restartCount": 0, "state": state}
        found = {"phase": phase, "podIP": self.containers[name].address, "containerStatuses": [status]}
        self._objects.change("pods", name, {"status": found})

    def _environment(self, pod: Thing, address: str, folder: Path) -> dict[str, str]:
        """What the pod says, with its volumes in the container's folder."""
        container = pod["spec"]["containers"][0]
        assert container["args"] == ["executor"]
        fields = {"status.podIP": address, "metadata.name": pod["metadata"]["name"]}
        given = {
            one["name"]: one.get("value", "")
            if "valueFrom" not in one
            else fields[one["valueFrom"]["fieldRef"]["fieldPath"]]
            for one in container["env"]
        }
        volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
        for mount in container["volumeMounts"]:
            place = folder / mount["name"]
            place.mkdir()
            if "configMap" in volumes[mount["name"]]:
                shown = self._objects.get("configmaps", volumes[mount["name"]]["configMap"]["name"]) or {}
                for file, text in shown["data"].items():
                    (place / file).write_text(text)
            given = {key: value.replace(mount["mountPath"], str(place)) for key, value in given.items()}
        return given


def command(environment: dict[str, str]) -> list[str]:
    """What Spark's own image starts for ``executor``."""
    numbered = [
        (int(found[1]), value)
        for key, value in environment.items()
        if (found := re.match(r"SPARK_JAVA_OPT_(\d+)$", key))
    ]
    memory = environment["SPARK_EXECUTOR_MEMORY"]
    java = Path(environment["JAVA_HOME"]) / "bin" / "java" if environment.get("JAVA_HOME") else "java"
    arguments = {
        "driver-url": "SPARK_DRIVER_URL",
        "executor-id": "SPARK_EXECUTOR_ID",
        "cores": "SPARK_EXECUTOR_CORES",
        "app-id": "SPARK_APPLICATION_ID",
        "hostname": "SPARK_EXECUTOR_POD_IP",
        "resourceProfileId": "SPARK_RESOURCE_PROFILE_ID",
        "podName": "SPARK_EXECUTOR_POD_NAME",
    }
    return [
        str(java),
        *(value for _, value in sorted(numbered)),
        f"-Xms{memory}",
        f"-Xmx{memory}",
        "-cp",
        f"{environment['SPARK_CONF_DIR']}:{environment.get('SPARK_CLASSPATH', '')}:{spark_home()}/jars/*",
        _BACKEND,
        *(part for name, key in arguments.items() for part in (f"--{name}", environment[key])),
    ]


@contextmanager
def running_node(objects: Objects, folder: Path) -> Iterator[Node]:
    """A node of these pods until the block ends."""
    node = Node(objects, folder)
    node.start()
    try:
        yield node
    finally:
        node.stop()

"""The jars that work together with the Spark that is pinned in setup.cfg, and which configuration needs which."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

SPARK = "4.1"
"""Line of Spark that the jars are built for; Scala 2.13, Hadoop 3.4.2."""
JAVA = 17
"""The oldest Java that it runs on."""

_SDK = "2.29.52"
"""The AWS SDK that Hadoop 3.4.2 was built with. Its bundle of all services is 641 MB, these modules 20."""


@dataclass(frozen=True, slots=True)
class Package:
    """A Maven artifact. alone: what it asks for is in pyspark already, in itself, or listed beside it.

    classifier: which of its jars, if not the plain one; Spark's own package resolution finds no such.
    """

    group: str
    name: str
    version: str
    alone: bool = False
    classifier: str = ""

    def __str__(self) -> str:
        return ":".join(filter(None, (self.group, self.name, self.version, self.classifier)))


def _sdk(*names: str) -> tuple[Package, ...]:
    return tuple(Package("software.amazon.awssdk", name, _SDK) for name in names)


PACKAGES: dict[str, tuple[Package, ...]] = {
    "delta": (Package("io.delta", "delta-spark_4.1_2.13", "4.4.0"),),
    "iceberg": (Package("org.apache.iceberg", "iceberg-spark-runtime-4.1_2.13", "1.12.0", alone=True),),
    "sqlite": (Package("org.xerial", "sqlite-jdbc", "3.50.3.0", alone=True),),
    "postgresql": (Package("org.postgresql", "postgresql", "42.7.7", alone=True),),
    "s3": (
        Package("org.apache.hadoop", "hadoop-aws", "3.4.2", alone=True),
        # The last one is for Iceberg's own clients: what they take by themselves needs a newer SDK.
        *_sdk("s3", "s3-transfer-manager", "apache-client", "netty-nio-client", "sts", "url-connection-client"),
    ),
    "glue": _sdk("glue", "dynamodb", "kms"),
    "azure": (Package("org.apache.hadoop", "hadoop-azure", "3.4.2"),),
    # Google's own; in its plain jar libraries of other versions than Spark's would follow.
    "gcs": (Package("com.google.cloud.bigdataoss", "gcs-connector", "4.0.0", alone=True, classifier="shaded"),),
}
"""Per need its packages."""
USUAL = ("delta", "iceberg", "sqlite", "postgresql", "s3")
"""What `yummy spark jars` fetches without being asked for more."""

CARRIED = (
    "com.fasterxml.jackson*:*",
    "com.google.code.findbugs:*",
    "com.google.guava:*",
    "org.apache.hadoop:hadoop-client*",
    "org.apache.hadoop:hadoop-common",
    "org.apache.hadoop.thirdparty:*",
    "org.apache.logging.log4j:*",
    "org.apache.parquet:*",
    "org.apache.spark:*",
    "org.scala-lang:*",
    "org.slf4j:*",
    "software.amazon.awssdk:bundle",
    "software.amazon.s3.analyticsaccelerator:*",
)
"""What our packages ask for and pyspark brings, or nobody needs: patterns of group:name, as Ivy has them."""


def packages_for(needs: Iterable[str]) -> tuple[Package, ...]:
    """The packages of these needs, in the order of ``PACKAGES``."""
    wanted = set(needs)
    return tuple(package for need, packages in PACKAGES.items() if need in wanted for package in packages)

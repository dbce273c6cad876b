"""What is known about a flight before it leaves: five feature views over four formats, for one model.

`feast apply` reads this file. Every view carries the moment its row became known as a feature of its own (`*_as_of`,
`arrived_at`), which is what the demo checks for leaks.
"""

from datetime import timedelta

import numpy as np
import pandas as pd
from feast import Entity, FeatureService, FeatureView, Field, Project, PushSource, RequestSource
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64, Int64, String, UnixTimestamp
from feast.value_type import ValueType

from yummy_feast import CsvSource, DeltaSource, IcebergSource, ParquetSource

project = Project(name="flights", description="Which flights leave New York late?")

origin = Entity(name="origin", join_keys=["origin"], value_type=ValueType.STRING, description="Airport of departure")
carrier = Entity(name="carrier", join_keys=["carrier"], value_type=ValueType.STRING, description="Airline")
aircraft = Entity(name="aircraft", join_keys=["tailnum"], value_type=ValueType.STRING, description="Tail number")

weather = FeatureView(
    name="weather",
    description="The last hourly observation at the airport",
    entities=[origin],
    ttl=timedelta(hours=3),
    schema=[
        Field(name="weather_as_of", dtype=UnixTimestamp),
        Field(name="temp", dtype=Float64, description="F"),
        Field(name="dewp", dtype=Float64, description="dew point, F"),
        Field(name="humid", dtype=Float64, description="relative humidity, %"),
        Field(name="wind_dir", dtype=Float64, description="degrees, where the wind comes from"),
        Field(name="wind_speed", dtype=Float64, description="mph"),
        Field(name="wind_gust", dtype=Float64, description="mph"),
        Field(name="precip", dtype=Float64, description="inches in the hour"),
        Field(name="pressure", dtype=Float64, description="millibar"),
        Field(name="visib", dtype=Float64, description="visibility, miles"),
    ],
    source=CsvSource(name="weather_csv", path="data/weather/*.csv", timestamp_field="event_timestamp"),
)

# Live observations are pushed here between two loads of the Delta table; they land in both stores.
gate_delays = PushSource(
    name="gate_delays",
    batch_source=DeltaSource(
        name="carrier_delays_delta",
        path="data/carrier_delays",
        timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",
    ),
)

carrier_delays = FeatureView(
    name="carrier_delays",
    description="Departures of a carrier at an airport in the last three hours, and of the airport as a whole",
    entities=[carrier, origin],
    ttl=timedelta(hours=12),
    schema=[
        Field(name="delays_as_of", dtype=UnixTimestamp),
        Field(name="departures", dtype=Int64),
        Field(name="mean_delay", dtype=Float64, description="minutes"),
        Field(name="late_share", dtype=Float64, description="of the departures, more than 15 minutes late"),
        Field(name="overdue", dtype=Int64, description="should have left, 15 minutes and more ago, and have not"),
        Field(name="airport_overdue", dtype=Int64, description="the same over all carriers"),
        Field(name="airport_late_share", dtype=Float64, description="the same over all carriers"),
    ],
    source=gate_delays,
)

last_arrival = FeatureView(
    name="last_arrival",
    description="Where the aircraft landed last, and how late",
    entities=[aircraft],
    ttl=timedelta(days=2),
    schema=[
        Field(name="arrived_at", dtype=UnixTimestamp),
        Field(name="arrived_in", dtype=String),
        Field(name="last_dep_delay", dtype=Float64, description="minutes"),
        Field(name="last_arr_delay", dtype=Float64, description="minutes"),
    ],
    source=IcebergSource(
        name="arrivals_iceberg",
        table="lake.flights.arrivals",
        timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",
    ),
)

plane = FeatureView(
    name="plane",
    description="Facts about the aircraft, which do not expire",
    entities=[aircraft],
    ttl=timedelta(0),
    schema=[
        Field(name="plane_as_of", dtype=UnixTimestamp),
        Field(name="built", dtype=Int64, description="year"),
        Field(name="manufacturer", dtype=String),
        Field(name="model", dtype=String),
        Field(name="engines", dtype=Int64),
        Field(name="seats", dtype=Int64),
    ],
    source=ParquetSource(name="planes_parquet", path="data/planes.parquet", timestamp_field="event_timestamp"),
)

timetable = RequestSource(name="timetable", schema=[Field(name="scheduled", dtype=UnixTimestamp)])


@on_demand_feature_view(
    sources=[weather, last_arrival, timetable],
    schema=[
        Field(name="crosswind", dtype=Float64),
        Field(name="headwind", dtype=Float64),
        Field(name="hours_since_arrival", dtype=Float64),
    ],
    mode="pandas",
    description="Wind as the runway feels it (mph), and the hours from the aircraft's last landing to its departure",
)
def at_departure(rows: pd.DataFrame) -> pd.DataFrame:
    """Computed when asked for, the same way for a training set and for a live request."""
    # The long runways of all three airports point within a few degrees of 30 and 210 degrees true.
    angle = np.deg2rad(pd.to_numeric(rows["wind_dir"]) - 30.0)
    wind = pd.to_numeric(rows["wind_speed"])
    landed = pd.to_datetime(rows["arrived_at"], utc=True)
    waits = pd.to_datetime(rows["scheduled"], utc=True) - landed
    return pd.DataFrame(
        {
            "crosswind": (wind * np.sin(angle)).abs(),
            "headwind": (wind * np.cos(angle)).abs(),
            "hours_since_arrival": waits.dt.total_seconds() / 3600.0,
        }
    )


late_departure = FeatureService(
    name="late_departure",
    description="Will it leave more than 15 minutes late? Asked two hours before.",
    features=[weather, carrier_delays, last_arrival, plane, at_departure],
)

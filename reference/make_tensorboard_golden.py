"""Prints the records that TensorBoard's own writer gives for three events, in hexadecimal.

They are `GOLDEN` in crates/train/src/tensorboard/event_file.rs. Needs `tensorboard` (written with 2.21.0).
"""

import io

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

scalars = [Summary.Value(tag="loss/total", simple_value=0.5), Summary.Value(tag="dev/score", simple_value=-1.0)]
for event in (
    Event(wall_time=1.5, step=0, file_version="brain.Event:2"),
    Event(wall_time=2.0, step=300, session_log=SessionLog(status=SessionLog.START)),
    Event(wall_time=2.5, step=300, summary=Summary(value=scalars)),
):
    out = io.BytesIO()
    RecordWriter(out).write(event.SerializeToString())
    print(out.getvalue().hex())

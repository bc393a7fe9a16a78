"""Conversion between the nouns of `motet.core` and the messages of the protos: `X_to_proto` and `X_from_proto`.

A round trip returns an equal value. The messages must have passed validation. A contradiction that validation cannot
find, such as a tensor whose shape does not match its data, raises `RequestError`.
"""

from motet.transport.convert.compute_time import CallComputeTimes as CallComputeTimes
from motet.transport.convert.compute_time import compute_times_to_proto as compute_times_to_proto
from motet.transport.convert.event import event_from_proto as event_from_proto
from motet.transport.convert.event import event_to_proto as event_to_proto
from motet.transport.convert.event import heartbeat_to_proto as heartbeat_to_proto
from motet.transport.convert.generation import artifact_from_proto as artifact_from_proto
from motet.transport.convert.generation import artifact_to_proto as artifact_to_proto
from motet.transport.convert.generation import generation_from_proto as generation_from_proto
from motet.transport.convert.generation import generation_to_proto as generation_to_proto
from motet.transport.convert.job import decode_job_from_proto as decode_job_from_proto
from motet.transport.convert.job import decode_job_to_proto as decode_job_to_proto
from motet.transport.convert.job import input_to_proto as input_to_proto
from motet.transport.convert.job import progress_from_proto as progress_from_proto
from motet.transport.convert.job import progress_to_proto as progress_to_proto
from motet.transport.convert.load import load_from_proto as load_from_proto
from motet.transport.convert.load import load_to_proto as load_to_proto
from motet.transport.convert.model import model_from_proto as model_from_proto
from motet.transport.convert.model import model_to_proto as model_to_proto
from motet.transport.convert.prompt import language_event_from_proto as language_event_from_proto
from motet.transport.convert.prompt import language_event_to_proto as language_event_to_proto
from motet.transport.convert.prompt import prompt_from_proto as prompt_from_proto
from motet.transport.convert.prompt import prompt_to_proto as prompt_to_proto
from motet.transport.convert.quota import quota_from_proto as quota_from_proto
from motet.transport.convert.quota import quota_to_proto as quota_to_proto
from motet.transport.convert.request import request_from_proto as request_from_proto
from motet.transport.convert.request import request_to_proto as request_to_proto
from motet.transport.convert.tensor import tensor_from_proto as tensor_from_proto
from motet.transport.convert.tensor import tensor_to_proto as tensor_to_proto
from motet.transport.convert.timestamps import duration_from_proto as duration_from_proto
from motet.transport.convert.timestamps import duration_to_proto as duration_to_proto

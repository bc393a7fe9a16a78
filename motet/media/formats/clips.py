"""The reader of clips. Sounds in the file are ignored."""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import av

# PyAV and Pillow import the next module and ImageFile late. A confined process cannot open files.
import av.subtitles.stream
from av import Packet, VideoFrame, VideoStream
from av.container import InputContainer
from av.sidedata.sidedata import Type
from av.video.reformatter import VideoReformatter
from PIL import Image, ImageFile  # noqa: F401

from motet.media.clip_starts import ends_of_parts
from motet.media.formats.containers import check_boxes, check_segment
from motet.media.kinds import MKV, MOV, MP4, WEBM
from motet.media.reading import DecodeError, Facts, Reading, check_sides

_DEMUXERS = {MP4: "mov", MOV: "mov", WEBM: "matroska", MKV: "matroska"}
_CODECS = {"h264", "hevc", "mpeg4", "vp8", "vp9", "libdav1d", "av1"}

_SECONDS_PER_MEGAPIXEL = 0.004
_MAX_RATE = 1000.0  # frames per second
_TOLERANCE = 0.02
"""Maximum relative difference between the header's rate and the rate of the frames' times."""
_VP8_SHOWN = 0x10  # bit of a packet's first byte

_Turn = Image.Transpose
# The rotations and flips by the first two rows and columns of the display matrix, as signs.
_TURNS = {
    (0, 1, -1, 0): _Turn.ROTATE_270,
    (-1, 0, 0, -1): _Turn.ROTATE_180,
    (0, -1, 1, 0): _Turn.ROTATE_90,
    (-1, 0, 0, 1): _Turn.FLIP_LEFT_RIGHT,
    (1, 0, 0, -1): _Turn.FLIP_TOP_BOTTOM,
    (0, 1, 1, 0): _Turn.TRANSPOSE,
    (0, -1, -1, 0): _Turn.TRANSVERSE,
}
_QUARTER_TURNS = (_Turn.ROTATE_90, _Turn.ROTATE_270, _Turn.TRANSPOSE, _Turn.TRANSVERSE)


def read(data: bytes, reading: Reading) -> tuple[Facts, Sequence[bytes]]:
    """Read a clip. The elements are frames in the order of their times, each as rows of RGB, upright.

    The fact `kept` is the number of these frames, and `frames` the number of all frames that a player shows.
    """
    demuxer = _DEMUXERS[reading.media_type]
    (check_boxes if demuxer == "mov" else check_segment)(data)
    with av.open(io.BytesIO(data), "r", format=demuxer) as container:
        if not container.streams.video:
            raise DecodeError("empty")
        # Files may also have a picture of their cover as a stream.
        stream = next((item for item in container.streams.video if item.codec_context.name in _CODECS), None)
        if stream is None:
            raise DecodeError("unreadable")
        # The confined process cannot start threads.
        stream.codec_context.thread_type, stream.codec_context.thread_count = "NONE", 1
        check_sides(stream.codec_context.width, stream.codec_context.height, reading.limits)
        return _Clip(container, stream, reading).read()


class _Clip:
    """The packets of a clip in the order of their decoding, and the times of its shown frames in units of the stream.

    Only the wanted frames are converted, and only the packets that they need are decoded.
    """

    def __init__(self, container: InputContainer, stream: VideoStream, reading: Reading) -> None:
        self._codec, self._stream, self._reading = stream.codec_context, stream, reading
        self._packets: list[Packet[VideoStream]] = []
        self._times: list[int] = []
        self._reformat = VideoReformatter().reformat
        self._turn: Image.Transpose | None = None
        self._has_turn = False
        for packet in container.demux(stream):
            if packet.size:
                self._append(packet)

    def read(self) -> tuple[Facts, Sequence[bytes]]:
        """Return the facts and the wanted frames."""
        rate = self._rate()
        wanted = self._wanted(rate)
        frames = self._sparing_frames(wanted)
        if len(frames) < len(wanted):
            # Some packets have no frame, or some marks of key frames are wrong. Decode all packets to get all times.
            self._promise(2 * len(self._packets))
            everything = [True] * len(self._packets)
            self._times = [frame.pts for frame in self._decoded(None, everything) if frame.pts is not None]
            rate = self._rate()
            wanted = self._wanted(rate)
            frames = dict(self._frames(wanted, self._decoded(None, everything)))
        width, height = self._sides(len(wanted))
        if self._turn in _QUARTER_TURNS:
            width, height = height, width
        facts = {"width": width, "height": height, "frames": len(self._times), "rate": rate, "kept": len(wanted)}
        return facts, [frames[time] for time in wanted]

    def _append(self, packet: Packet[VideoStream]) -> None:
        if packet.is_corrupt:
            raise DecodeError("truncated")
        if packet.pts is None:
            packet.pts = packet.dts
        self._packets.append(packet)
        # An edit list hides frames that others depend on. VP8 has packets that are not shown, for the same reason.
        is_hidden = packet.is_discard or (self._codec.name == "vp8" and not memoryview(packet)[0] & _VP8_SHOWN)
        if packet.pts is not None and not is_hidden:
            self._times.append(packet.pts)
            if len(self._times) > self._reading.limits.frames:
                raise DecodeError("frames", len(self._times))

    def _rate(self) -> float:
        """Return the frames per second: those of the header, unless the times of the frames contradict them."""
        if not self._times:
            raise DecodeError("empty")
        self._times.sort()
        durations = {packet.pts: packet.duration for packet in self._packets}
        length = self._times[-1] - self._times[0] + (durations.get(self._times[-1]) or 0)
        seconds = length * float(self._stream.time_base or 0)
        if seconds > self._reading.limits.seconds:
            raise DecodeError("seconds", seconds)
        nominal = float(self._stream.average_rate or 0)
        measured = len(self._times) / seconds if seconds > 0 else nominal or 1.0
        rate = nominal if abs(nominal - measured) < _TOLERANCE * measured else measured
        return min(max(rate, 0.01), _MAX_RATE)

    def _wanted(self, rate: float) -> list[int]:
        """Return the times of the frames to output."""
        if self._reading.output == "elements":
            return self._times
        ends = ends_of_parts(len(self._times), rate, self._reading.preprocessing)
        return [self._times[index] for index in sorted({index for pair in ends for index in pair})]

    def _needed(self, wanted: Collection[int]) -> list[bool]:
        """Return for each packet if the decoder needs it: from a key frame to the last wanted frame that follows it."""
        wanted, needed = frozenset(wanted), [False] * len(self._packets)
        earliest = math.inf
        for index in range(len(self._packets) - 1, -1, -1):
            packet = self._packets[index]
            if packet.pts in wanted:
                earliest = min(earliest, packet.pts)
            needed[index] = earliest < math.inf
            # Frames that are shown before the key frame may depend on the frames before the key frame.
            if packet.is_keyframe and packet.pts is not None and packet.pts <= earliest:
                earliest = math.inf
        return needed

    def _promise(self, packets: int) -> None:
        pixels = packets * self._codec.width * self._codec.height
        self._reading.promise(pixels / 1e6 * _SECONDS_PER_MEGAPIXEL)

    def _sides(self, frames: int) -> tuple[int, int]:
        """Return the width and height of a converted frame, scaled down if all would exceed `limits.clip_pixels`."""
        width, height = self._codec.width, self._codec.height
        scale = min(1.0, math.sqrt(self._reading.limits.clip_pixels / (frames * width * height)))
        return max(1, int(width * scale)), max(1, int(height * scale))

    def _sparing_frames(self, wanted: Collection[int]) -> dict[int, bytes]:
        """Return the wanted frames from as few packets as possible. Return fewer if the marks of key frames are wrong.

        A decoder that starts at a wrong mark may output wrong frames without an error.
        """
        needed = self._needed(wanted)
        self._promise(sum(needed))
        starts = {
            packet.pts
            for packet, is_needed, is_decoding in zip(self._packets[1:], needed[1:], needed, strict=False)
            if is_needed and not is_decoding
        }

        def checked(frames: Iterator[VideoFrame]) -> Iterator[VideoFrame]:
            for frame in frames:
                if frame.key_frame:
                    starts.discard(frame.pts)
                yield frame

        try:
            frames = dict(self._frames(wanted, checked(self._decoded(frozenset(wanted), needed))))
        except av.error.InvalidDataError:
            return {}
        return {} if starts else frames

    def _frames(self, wanted: Collection[int], decoded: Iterator[VideoFrame]) -> Iterator[tuple[int, bytes]]:
        """Yield the time and the rows of RGB of each wanted frame. The rows are b"" if only the facts are requested."""
        width, height = self._sides(len(wanted))
        wanted = frozenset(wanted)
        for frame in decoded:
            if frame.pts not in wanted:
                continue
            if frame.is_corrupt:
                raise DecodeError("truncated")
            if not self._has_turn:
                # Side data and their frame refer to each other, so a frame whose side data are read is freed late.
                self._turn, self._has_turn = _turn_of(frame), True
            if self._reading.output == "facts":
                yield frame.pts, b""
                continue
            # The default is one thread per core, but the confined process cannot start threads.
            rows = _rows(self._reformat(frame, width, height, "rgb24", threads=1))
            if self._turn is not None:
                rows = Image.frombytes("RGB", (width, height), rows).transpose(self._turn).tobytes()
            yield frame.pts, rows

    def _decoded(self, wanted: Collection[int] | None, needed: Sequence[bool]) -> Iterator[VideoFrame]:
        """Yield the frames of the needed packets, without those that no wanted frame depends on. None wants all."""
        self._codec.flush_buffers()
        is_decoding = False
        for packet, is_needed in zip(self._packets, needed, strict=True):
            if is_needed:
                self._codec.skip_frame = "DEFAULT" if wanted is None or packet.pts in wanted else "NONREF"
                yield from self._codec.decode(packet)
            elif is_decoding:
                yield from self._end()
            is_decoding = is_needed
        yield from self._end()

    def _end(self) -> Iterator[VideoFrame]:
        """Yield the frames that the decoder still holds, and make it ready for other packets."""
        yield from self._codec.decode(None)
        self._codec.flush_buffers()


def _turn_of(frame: VideoFrame) -> Image.Transpose | None:
    """Return the rotation or flip of a frame's display matrix. Other angles than quarter turns are ignored."""
    side_data: Any = frame.side_data  # The library's types are wrong.
    try:
        matrix = side_data[Type.DISPLAYMATRIX]
    except KeyError:
        return None
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(matrix))
    return _TURNS.get(tuple((number > 0) - (number < 0) for number in (a, b, c, d)))


def _rows(frame: VideoFrame) -> bytes:
    """Return the frame's pixels without the padding at the end of each line."""
    plane = frame.planes[0]
    lines, length = memoryview(plane), frame.width * 3
    if plane.line_size == length:
        return bytes(lines[: length * frame.height])
    return b"".join(
        lines[start : start + length] for start in range(0, plane.line_size * frame.height, plane.line_size)
    )

"""What a service says to each of the SDKs: whole, or piece by piece. An API is known by how its path ends."""
import dataclasses
import json
import re
import typing

STEP = 0.02  # seconds between two events
WANTED = re.compile(rb"events/(\d+)(?:/every/([\d.]+))?")  # in the path, or in a prompt: a stream, with seconds between two


@dataclasses.dataclass
class Api:
    whole: dict             # what "HERE" stands for in it is the service's own address
    piece: typing.Callable = lambda number: {"number": number}
    before: str = ""        # of a stream
    after: str = ""
    event: str = "data: {}\n\n"
    media_type: str = "text/event-stream"
    is_streamed: bool = True  # False: its stream is asked for by a GET


def named(kind, **fields):
    """An event whose name is said beside its data."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n"


def choice(**what):
    return {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m",
            "choices": [{"index": 0, "finish_reason": None, **what}]}


USED = {"input_tokens": 1, "output_tokens": 1}
MESSAGE = {"id": "1", "type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": None,
           "stop_sequence": None, "usage": USED}

CLASSIFY = Api({"label": "bakery"})
APIS = {
    "/chat/completions": Api(  # of OpenAI, and of all that speak as it does
        {"id": "1", "object": "chat.completion", "created": 1, "model": "m",
         "choices": [{"index": 0, "message": {"role": "assistant", "content": "bakery"}, "finish_reason": "stop"}],
         "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}},
        lambda number: choice(delta={"role": "assistant", "content": f"{number} "}), after="data: [DONE]\n\n"),
    "/v1/messages": Api(  # of Anthropic
        {**MESSAGE, "content": [{"type": "text", "text": "bakery"}], "stop_reason": "end_turn"},
        lambda number: {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": f"{number} "}},
        named("message_start", message=MESSAGE) +
        named("content_block_start", index=0, content_block={"type": "text", "text": ""}),
        named("content_block_stop", index=0) +
        named("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage=USED) +
        named("message_stop"), "event: content_block_delta\ndata: {}\n\n"),
    "/v2/chat": Api(  # of Cohere
        {"id": "1", "finish_reason": "COMPLETE",
         "message": {"role": "assistant", "content": [{"type": "text", "text": "bakery"}]}},
        lambda number: {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": f"{number} "}}}}),
    "/api/chat": Api(  # of Ollama
        {"model": "m", "created_at": "2026-01-01T00:00:00Z", "message": {"role": "assistant", "content": "bakery"}, "done": True},
        lambda number: {"model": "m", "message": {"role": "assistant", "content": f"{number} "}, "done": False},
        after='{"model": "m", "message": {"role": "assistant", "content": ""}, "done": true}\n', event="{}\n",
        media_type="application/x-ndjson"),
    ":generateContent": Api({"candidates": [{"content": {"role": "model", "parts": [{"text": "bakery"}]}, "finishReason": "STOP"}]}),
    ":streamGenerateContent": Api({}, lambda number: {
        "candidates": [{"content": {"role": "model", "parts": [{"text": f"{number} "}]}}]}),
    "/predictions": Api(  # of Replicate
        {"id": "1", "status": "succeeded", "output": ["bakery"], "urls": {"stream": "HERE"}}, is_streamed=False),
}


def api_of(path):
    path = path.split("?")[0]
    return next((api for end, api in APIS.items() if path.endswith(end)), CLASSIFY)


def stream_wanted(text):
    """The events that are asked for, the seconds between two, and the words that ask so; None: no stream."""
    match = WANTED.search(text)
    return match and (int(match.group(1)), float(match.group(2) or STEP), match.group(0).decode())

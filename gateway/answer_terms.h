#pragma once

// On which terms an answer comes: whether it is a stream, and what becomes of it when its client
// leaves. Any thread.

#include "admission/route_table.h"
#include "conf/settings.h"
#include "proxy/wire/message.h"

namespace classgate::gateway {

// Of one request, by its route, as of its head: a reload changes them for the next.
struct AnswerTerms {
  conf::Streams streams = conf::Streams::by_type;
  conf::OnClientAbort on_client_abort = conf::OnClientAbort::finish;
  conf::OnClientAbort on_stream_abort = conf::OnClientAbort::cancel;
};

AnswerTerms answer_terms_of(const admission::Route& route, const conf::Settings& settings);

// An answer without a length, and, under "by_type", of a type that is made to be sent piece by
// piece: text/event-stream (WHATWG HTML section 9.2), application/grpc and what begins like it, and
// JSON in records: x-ndjson, ndjson, jsonl, x-jsonlines, json-seq (RFC 7464), stream+json.
bool is_stream(const proxy::wire::Head& answer, proxy::wire::Framing framing,
               conf::Streams streams);

}  // namespace classgate::gateway

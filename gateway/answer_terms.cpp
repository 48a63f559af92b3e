#include "gateway/answer_terms.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "proxy/wire/fields.h"

namespace classgate::gateway {
namespace {

constexpr std::array<std::string_view, 7> streamed_types{
    "text/event-stream",      "application/x-ndjson",    "application/ndjson",
    "application/jsonl",      "application/x-jsonlines", "application/json-seq",
    "application/stream+json"};
constexpr std::string_view grpc = "application/grpc";  // also application/grpc+proto, -web

// The media type without its parameters (RFC 9110 section 8.3.1).
std::string_view bare_type(std::string_view type) {
  type = type.substr(0, type.find(';'));
  while (type.ends_with(' ') || type.ends_with('\t')) type.remove_suffix(1);
  return type;
}

bool is_made_to_be_streamed(std::string_view type) {
  return proxy::wire::equal_names(type.substr(0, grpc.size()), grpc) ||
         std::ranges::any_of(streamed_types, [type](std::string_view streamed) {
           return proxy::wire::equal_names(type, streamed);
         });
}

}  // namespace

AnswerTerms answer_terms_of(const admission::Route& route, const conf::Settings& settings) {
  AnswerTerms terms{settings.upstream.streams, settings.upstream.on_client_abort,
                    settings.upstream.on_stream_abort};
  if (route.index >= settings.routes.size()) return terms;
  const conf::RouteSettings& own = settings.routes[route.index];
  if (own.streams) terms.streams = *own.streams;
  if (own.on_client_abort) terms.on_client_abort = terms.on_stream_abort = *own.on_client_abort;
  return terms;
}

bool is_stream(const proxy::wire::Head& answer, proxy::wire::Framing framing,
               conf::Streams streams) {
  using proxy::wire::Framing;
  if (framing != Framing::chunked && framing != Framing::until_close) return false;
  if (streams != conf::Streams::by_type) return streams == conf::Streams::chunked;
  const auto type = std::ranges::find_if(answer.fields, [](const proxy::wire::Field& field) {
    return proxy::wire::equal_names(field.name, "content-type");
  });
  return type != answer.fields.end() && is_made_to_be_streamed(bare_type(type->value));
}

}  // namespace classgate::gateway

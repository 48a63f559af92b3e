#include "proxy/wire/http2_request.h"

#include "proxy/wire/fields.h"
#include "proxy/wire/serialise.h"
#include "proxy/wire/writer.h"

namespace classgate::proxy::wire {
namespace {

constexpr std::string_view grpc_type = "application/grpc";

}  // namespace

// "POST /v1/classify HTTP/1.1", then lines with a colon and a space: as it was written here.
void Http2Request::take(std::string_view head, const Facts& facts) {
  list_.clear();
  host_ = facts.authority;
  never_indexed_ = facts.never_indexed;
  is_grpc_ = false;
  const std::string_view first = head.substr(0, head.find(crlf));
  const std::size_t method = first.find(' ');
  const std::size_t version = first.rfind(' ');
  list_.push_back({":method", first.substr(0, method)});
  list_.push_back({":scheme", facts.is_encrypted ? "https" : "http"});
  list_.push_back({":path", first.substr(method + 1, version - method - 1)});
  const std::size_t authority = list_.size();
  list_.push_back({":authority", {}});
  head.remove_prefix(std::min(head.size(), first.size() + crlf.size()));
  while (!head.empty()) {
    const std::string_view line = head.substr(0, head.find(crlf));
    take_line(line);
    head.remove_prefix(std::min(head.size(), line.size() + crlf.size()));
  }
  list_[authority].value = host_;
  if (is_grpc_) list_.push_back({"te", "trailers"});
  if (!facts.says_length) return;
  length_.assign(std::string_view(Digits(facts.length, 10)));
  list_.push_back({"content-length", length_});
}

void Http2Request::take_line(std::string_view line) {
  const std::size_t colon = line.find(": ");
  if (colon == std::string_view::npos) return;
  const std::string_view name = line.substr(0, colon);
  const std::string_view value = line.substr(colon + 2);
  const FieldId id = field_id(name);
  if (id == FieldId::host) {
    // RFC 9113 section 8.3.1: an empty one is no authority; whoever was asked is.
    if (!value.empty()) host_ = value;
    return;
  }
  if ((set_of(id) & (hop_by_hop | set_of(FieldId::content_length))) != 0) return;
  if (equal_names(name, "http2-settings")) return;
  if (equal_names(name, "content-type") &&
      equal_names(value.substr(0, grpc_type.size()), grpc_type))
    is_grpc_ = true;
  list_.push_back({name, value, is_never_indexed(name)});
}

// Of few requests any is.
bool Http2Request::is_never_indexed(std::string_view name) const {
  for (std::string_view left = never_indexed_; !left.empty();) {
    const std::string_view one = left.substr(0, left.find('\n'));
    if (equal_names(name, one)) return true;
    left.remove_prefix(one.size() + 1);
  }
  return false;
}

void Http2Request::take_trailers(const std::vector<Parser::Trailer>& trailers) {
  list_.clear();
  for (const Parser::Trailer& trailer : trailers)
    if (may_be_trailer(trailer.name)) list_.push_back({trailer.name, trailer.value});
}

}  // namespace classgate::proxy::wire

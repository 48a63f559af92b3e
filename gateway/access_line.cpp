#include "gateway/access_line.h"

#include <algorithm>
#include <iterator>

#include "conf/format.h"
#include "gateway/quoted.h"

namespace classgate::gateway {
namespace {

class Line {
 public:
  Line(std::string& out, bool as_json) : out_(out), as_json_(as_json) {
    if (as_json_) out_ += '{';
  }
  void word(std::string_view key, std::string_view value) {  // our own: needs no quotes
    begin(key);
    if (as_json_) out_ += '"';
    out_ += value;
    if (as_json_) out_ += '"';
  }
  // Nearly always a word; the path of a socket may be anything.
  void word_or_text(std::string_view key, std::string_view value) {
    const bool is_word = std::ranges::all_of(
        value, [](char c) { return c > ' ' && c < 0x7f && c != '"' && c != '\\'; });
    is_word ? word(key, value) : text(key, value);
  }
  void text(std::string_view key, std::string_view value) {
    begin(key);
    append_quoted(out_, value);
  }
  template <typename Number>
  void number(std::string_view key, Number value) {
    begin(key);
    fmt::format_to(std::back_inserter(out_), "{}", value);
  }
  void milliseconds(std::string_view key, double value) {
    begin(key);
    fmt::format_to(std::back_inserter(out_), "{:.3f}", value);
  }
  void end() { out_ += as_json_ ? "}\n" : "\n"; }

 private:
  void begin(std::string_view key) {
    if (!first_) out_ += as_json_ ? ',' : ' ';
    first_ = false;
    if (as_json_) out_ += '"';
    out_ += key;
    out_ += as_json_ ? "\":" : "=";
  }
  std::string& out_;
  bool as_json_;
  bool first_ = true;
};

}  // namespace

void append_access_line(std::string& out, bool as_json, const AccessFacts& facts) {
  Line line(out, as_json);
  line.word("time", facts.time);
  line.word("id", facts.request_id);
  line.word("client", facts.client);
  line.word("method", facts.method);
  line.text("path", facts.path);
  line.text("route", facts.route);
  line.number("priority", facts.priority);
  line.word("verdict", facts.verdict);
  line.word("reason", facts.reason);
  line.word("observed", facts.observed);
  line.number("cost", facts.cost);
  line.milliseconds("deadline_ms", facts.deadline_ms);
  line.milliseconds("upload_ms", facts.upload_ms);
  line.milliseconds("wait_ms", facts.wait_ms);
  line.milliseconds("upstream_ms", facts.upstream_ms);
  line.milliseconds("total_ms", facts.total_ms);
  line.number("status", facts.status);
  line.number("bytes_in", facts.bytes_in);
  line.number("bytes_out", facts.bytes_out);
  line.word_or_text("upstream", facts.upstream);
  line.number("retries", facts.retries);
  line.word("tls", facts.tls);
  line.end();
}

}  // namespace classgate::gateway
